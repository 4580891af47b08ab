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

  /// Takes `token`, which outlives this, to be sought by `content`; then `prepare()` once.
  void add(const AddedToken &token, std::string content);
  void prepare();

  /// Cuts all of `text` into parts. An empty text has none. With `specialsAsText` special tokens
  /// are found and left as text, as Hugging Face's `encode_special_tokens` does.
  void split(std::string_view text, bool specialsAsText, std::vector<Part> &parts) const;

private:
  struct Entry {
    std::string content;
    const AddedToken *token;
  };

  const AddedToken *longestAt(std::string_view text, size_t begin, size_t &end) const;

  std::vector<Entry> entries; // by content, so that those with one beginning stand together
  std::vector<bool> beginsOne = std::vector<bool>(256);
};

} // namespace lorac::tok
