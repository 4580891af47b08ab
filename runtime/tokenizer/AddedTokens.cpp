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

int32_t AddedTokenFinder::child(int32_t node, unsigned char byte) const {
  if (node == 0)
    return roots[byte];
  int32_t at = nodes[static_cast<size_t>(node)].firstChild;
  while (at >= 0 && nodes[static_cast<size_t>(at)].byte != byte)
    at = nodes[static_cast<size_t>(at)].nextSibling;
  return at;
}

void AddedTokenFinder::add(const AddedToken &token, std::string_view content) {
  if (content.empty())
    return;
  int32_t node = 0;
  for (char c : content) {
    auto byte = static_cast<unsigned char>(c);
    int32_t next = child(node, byte);
    if (next < 0) {
      next = static_cast<int32_t>(nodes.size());
      Node &parent = nodes[static_cast<size_t>(node)];
      Node added;
      added.byte = byte;
      if (node == 0) {
        roots[byte] = next;
      } else {
        added.nextSibling = parent.firstChild;
        parent.firstChild = next;
      }
      nodes.push_back(added);
    }
    node = next;
  }
  if (!nodes[static_cast<size_t>(node)].token)
    nodes[static_cast<size_t>(node)].token = &token;
}

const AddedToken *AddedTokenFinder::longestAt(std::string_view text, size_t begin,
                                              size_t &end) const {
  const AddedToken *best = nullptr;
  int32_t node = 0;
  for (size_t pos = begin; pos < text.size(); ++pos) {
    node = child(node, static_cast<unsigned char>(text[pos]));
    if (node < 0)
      break;
    if (const AddedToken *token = nodes[static_cast<size_t>(node)].token) {
      best = token;
      end = pos + 1;
    }
  }
  return best;
}

void AddedTokenFinder::split(std::string_view text, std::vector<Part> &parts) const {
  parts.clear();
  size_t last = 0;
  for (size_t pos = 0; pos < text.size() && !empty();) {
    size_t end = pos;
    const AddedToken *token =
        roots[static_cast<unsigned char>(text[pos])] < 0 ? nullptr : longestAt(text, pos, end);
    if (!token) {
      ++pos;
      continue;
    }
    Span span{pos, end};
    pos = end;
    if (token->singleWord && !standsAlone(text, span))
      continue;
    if (token->lstrip)
      span.begin = spaceBefore(text, span.begin, last);
    if (token->rstrip)
      span.end = spaceBehind(text, span.end);
    if (last < span.begin)
      parts.push_back({{last, span.begin}, nullptr});
    parts.push_back({span, token});
    last = span.end;
    pos = std::max(pos, last);
  }
  if (last < text.size())
    parts.push_back({{last, text.size()}, nullptr});
}

} // namespace lorac::tok
