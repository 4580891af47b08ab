// The window decodes as a whole, so that what a decoder does at the beginning (a stripped space)
// happens to text that was given out before.
#include "runtime/tokenizer/Tokenizer.h"

#include <algorithm>

namespace lorac {
namespace {

constexpr std::string_view replacement = "\xef\xbf\xbd";
constexpr size_t mostHeld = 32; // ids that could still be one character; beyond it they are not

/// What `text` has beyond `prefix`. A decoder may change its mind about bytes already given out;
/// then from the first character that differs.
std::string beyond(const std::string &text, const std::string &prefix) {
  auto [differs, ignored] = std::mismatch(text.begin(), text.end(), prefix.begin(), prefix.end());
  while (differs != text.begin() && differs != text.end() &&
         (static_cast<unsigned char>(*differs) & 0xc0) == 0x80)
    --differs;
  return std::string(differs, text.end());
}

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
  std::string fresh = beyond(*text, prefix);
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
  std::string fresh = beyond(*text, prefix);
  window.clear();
  given = 0;
  prefix.clear();
  return fresh;
}

} // namespace lorac
