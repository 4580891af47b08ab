// The window decodes as a whole, so that what a decoder does at the beginning (a stripped space)
// happens to text that was given out before.
#include "runtime/tokenizer/Tokenizer.h"

namespace lorac {
namespace {

constexpr std::string_view replacement = "\xef\xbf\xbd";
constexpr size_t mostHeld = 32; // ids that could still be one character; beyond it they are not

bool mayBeIncomplete(std::string_view text) {
  return text.size() >= replacement.size() &&
         text.substr(text.size() - replacement.size()) == replacement;
}

} // namespace

Result<std::string> StreamDecoder::push(int32_t id) {
  window.push_back(id);
  auto text = tokenizer.decode(window, skipSpecial);
  if (!text) {
    window.pop_back();
    return text.error();
  }
  bool hold = mayBeIncomplete(*text) && window.size() - given < mostHeld;
  if (hold || text->size() <= prefix.size())
    return std::string();
  std::string fresh = text->substr(prefix.size());
  window.erase(window.begin(), window.begin() + static_cast<long>(given));
  given = window.size();
  auto last = tokenizer.decode(window, skipSpecial);
  if (!last)
    return last.error();
  prefix = std::move(*last);
  return fresh;
}

Result<std::string> StreamDecoder::finish() {
  auto text = tokenizer.decode(window, skipSpecial);
  if (!text)
    return text.error();
  std::string fresh = text->size() > prefix.size() ? text->substr(prefix.size()) : "";
  window.clear();
  given = 0;
  prefix.clear();
  return fresh;
}

} // namespace lorac
