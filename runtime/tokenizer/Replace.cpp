#include "runtime/tokenizer/Replace.h"

namespace lorac::tok {

Result<std::string> replaceAll(const Pattern &pattern, std::string_view content,
                               std::string_view text) {
  std::string out;
  out.reserve(text.size());
  size_t last = 0;
  auto replace = [&](Span span) {
    out += text.substr(last, span.begin - last);
    out += content;
    last = span.end;
  };
  if (pattern.regex) {
    Searcher searcher(*pattern.regex, text.size());
    searcher.start(text);
    for (Span span;;) {
      auto found = searcher.next(span);
      if (!found)
        return found.error();
      if (!*found)
        break;
      replace(span);
    }
  } else {
    for (size_t at; (at = text.find(pattern.literal, last)) != std::string_view::npos;)
      replace({at, at + pattern.literal.size()});
  }
  out += text.substr(last);
  return out;
}

} // namespace lorac::tok
