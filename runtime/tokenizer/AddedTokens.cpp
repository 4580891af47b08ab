#include "runtime/tokenizer/AddedTokens.h"

#include "runtime/tokenizer/CharacterClasses.h"
#include "runtime/tokenizer/Utf8.h"

#include <algorithm>

namespace lorac::tok {
namespace {

/// Begin of the white space that ends at `end`, not before `least`.
size_t spaceBefore(std::string_view text, size_t end, size_t least) {
  while (end > least && isSpace(lastCodePoint(text, end)))
    do
      --end;
    while ((static_cast<unsigned char>(text[end]) & 0xc0) == 0x80);
  return end;
}

size_t spaceBehind(std::string_view text, size_t begin) {
  for (size_t pos = begin; pos < text.size(); begin = pos)
    if (!isSpace(nextCodePoint(text, pos)))
      break;
  return begin;
}

bool standsAlone(std::string_view text, Span span) {
  size_t behind = span.end;
  return (span.begin == 0 || !isWord(lastCodePoint(text, span.begin))) &&
         (span.end == text.size() || !isWord(nextCodePoint(text, behind)));
}

} // namespace

void AddedTokenFinder::add(const AddedToken &token, std::string content) {
  if (content.empty())
    return;
  beginsOne[static_cast<unsigned char>(content[0])] = true;
  entries.push_back({std::move(content), &token});
}

void AddedTokenFinder::prepare() {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry &a, const Entry &b) { return a.content < b.content; });
}

/// Narrows the entries that agree with the text so far, byte by byte.
const AddedToken *AddedTokenFinder::longestAt(std::string_view text, size_t begin,
                                              size_t &end) const {
  const AddedToken *best = nullptr;
  auto low = entries.begin();
  auto high = entries.end();
  for (size_t length = 0; low != high; ++length) {
    if (low->content.size() == length) {
      best = low->token;
      end = begin + length;
      while (low != high && low->content.size() == length)
        ++low;
    }
    if (begin + length == text.size())
      break;
    auto byte = static_cast<unsigned char>(text[begin + length]);
    auto byteOf = [length](const Entry &entry) {
      return static_cast<unsigned char>(entry.content[length]);
    };
    low = std::partition_point(low, high, [&](const Entry &entry) { return byteOf(entry) < byte; });
    high =
        std::partition_point(low, high, [&](const Entry &entry) { return byteOf(entry) == byte; });
  }
  return best;
}

void AddedTokenFinder::split(std::string_view text, bool specialsAsText,
                             std::vector<Part> &parts) const {
  parts.clear();
  size_t last = 0;
  for (size_t pos = 0; pos < text.size() && !entries.empty();) {
    size_t end = pos;
    const AddedToken *token =
        beginsOne[static_cast<unsigned char>(text[pos])] ? longestAt(text, pos, end) : nullptr;
    if (!token) {
      ++pos;
      continue;
    }
    Span span{pos, end};
    pos = end;
    if (specialsAsText && token->special)
      continue;
    if (token->singleWord && !standsAlone(text, span))
      continue;
    if (token->lstrip)
      span.begin = std::max(last, spaceBefore(text, span.begin, last));
    if (token->rstrip)
      span.end = spaceBehind(text, span.end);
    if (last < span.begin)
      parts.push_back({{last, span.begin}, nullptr});
    if (span.begin < span.end) // otherwise the white space before it has taken it
      parts.push_back({span, token});
    last = span.end; // a match inside the white space that this one took counts all the same
  }
  if (last < text.size())
    parts.push_back({{last, text.size()}, nullptr});
}

} // namespace lorac::tok
