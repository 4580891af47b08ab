#pragma once
// Finds added tokens in a text.

#include "runtime/tokenizer/Vocabulary.h"

#include <string_view>
#include <vector>

namespace lorac::tok {

/// Leftmost matches, the longest at each place, without overlap.
class AddedTokenFinder {
public:
  /// A stretch of text, or an added token with the white space that it takes.
  struct Part {
    Span span;
    const AddedToken *token = nullptr; // null: text
  };

  AddedTokenFinder() = default;

  /// Seeks `token`, which outlives this, by `content`.
  void add(const AddedToken &token, std::string_view content);

  bool empty() const { return nodes.size() == 1; }

  /// Cuts all of `text` into parts. An empty text has none.
  void split(std::string_view text, std::vector<Part> &parts) const;

private:
  struct Node {
    int32_t firstChild = -1;
    int32_t nextSibling = -1;
    const AddedToken *token = nullptr;
    unsigned char byte = 0;
  };

  int32_t child(int32_t node, unsigned char byte) const;
  const AddedToken *longestAt(std::string_view text, size_t begin, size_t &end) const;

  std::vector<Node> nodes = std::vector<Node>(1); // [0]: the root
  std::vector<int32_t> roots = std::vector<int32_t>(256, -1);
};

} // namespace lorac::tok
