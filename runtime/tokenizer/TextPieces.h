#pragma once
// A text cut into pieces, and the ways in which matches cut it.

#include "runtime/tokenizer/Regex.h"

#include <string>
#include <string_view>
#include <vector>

namespace lorac::tok {

/// Consecutive, non-empty pieces of one buffer.
class TextPieces {
public:
  void clear() {
    text.clear();
    ends.clear();
  }
  /// Appends a piece; empty ones vanish.
  void add(std::string_view piece) {
    text += piece;
    close();
  }
  /// Text may also be appended to `buffer()` directly, then `close()`d as one piece.
  std::string &buffer() { return text; }
  void close() {
    if (text.size() > (ends.empty() ? 0 : ends.back()))
      ends.push_back(text.size());
  }
  size_t size() const { return ends.size(); }
  size_t bytes() const { return text.size(); }
  std::string_view operator[](size_t i) const {
    size_t begin = i == 0 ? 0 : ends[i - 1];
    return std::string_view(text).substr(begin, ends[i] - begin);
  }

private:
  std::string text;
  std::vector<size_t> ends;
};

/// What becomes of the matches of a splitting pattern.
enum class Behavior { Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous };

/// A part of a text: a match, or what lies between two.
struct Part {
  Span span;
  bool isMatch;
};

/// Adds to `out` what `behavior` makes of `piece`, whose `parts` follow one another without gap.
void addParts(TextPieces &out, std::string_view piece, const std::vector<Part> &parts,
              Behavior behavior);

/// Fills gaps between matches and inverts, where asked: `parts` of a text of `size` bytes.
class PartsBuilder {
public:
  PartsBuilder(std::vector<Part> &parts, bool invert) : parts(parts), invert(invert) {
    parts.clear();
  }
  void match(Span span) {
    if (span.begin > last)
      parts.push_back({{last, span.begin}, invert});
    parts.push_back({span, !invert});
    last = span.end;
  }
  void finish(size_t size) {
    if (last < size)
      parts.push_back({{last, size}, invert});
  }

private:
  std::vector<Part> &parts;
  bool invert;
  size_t last = 0;
};

} // namespace lorac::tok
