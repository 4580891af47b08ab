#pragma once
// The steps that a tokenizer file lists: normalizers, pre-tokenizers and decoders, as plain data.

#include "runtime/tokenizer/Regex.h"
#include "runtime/tokenizer/TextPieces.h"

#include <optional>
#include <string>
#include <vector>

namespace lorac::tok {

/// A literal or a regex; a literal must not be empty.
struct Pattern {
  std::string literal;
  std::optional<Regex> regex;
};

struct Normalizer {
  enum class Kind {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Lowercase,
    StripAccents,
    Prepend,
    Replace,
    Strip,
    ByteLevel
  };
  Kind kind;
  Pattern pattern;     // Replace
  std::string content; // Replace, Prepend
  bool left = true;    // Strip
  bool right = true;
};

struct PreTokenizer {
  enum class Kind {
    Split,
    Digits,
    ByteLevel,
    Metaspace,
    Whitespace,
    WhitespaceSplit,
    Punctuation,
    Bert
  };
  enum class Prepend { Never, First, Always };
  Kind kind;
  Pattern pattern;                        // Split
  Behavior behavior = Behavior::Isolated; // Split, Punctuation
  bool invert = false;                    // Split
  bool individual = false;                // Digits
  bool addPrefixSpace = false;            // ByteLevel
  bool useRegex = false;                  // ByteLevel: `pattern` holds GPT-2's
  std::string replacement;                // Metaspace
  Prepend prepend = Prepend::Never;       // Metaspace
  bool split = true;                      // Metaspace
};

struct Decoder {
  enum class Kind { ByteLevel, ByteFallback, Fuse, Strip, Replace, Metaspace, WordPiece, Suffix };
  Kind kind;
  Pattern pattern;     // Replace
  std::string content; // Replace; Strip's character; Metaspace's replacement; WordPiece's prefix;
                       // the suffix
  size_t start = 0;    // Strip: how many at most, at each end
  size_t stop = 0;
  bool stripFirst = false; // Metaspace: the first token loses its leading replacement
  bool cleanup = false;    // WordPiece
  bool bytewise = false; // ByteFallback: ill-formed bytes become U+FFFD one by one, the others stay
};

/// GPT-2's split into words, numbers, other characters and white space.
extern const char *const gpt2Pattern;

/// Applies the steps in order. `atStart`: the text begins where the whole input does; false where
/// its beginning has been stripped. Errors: a pattern that exceeds its limits.
Result<std::string> normalize(const std::vector<Normalizer> &steps, std::string_view text,
                              bool &atStart);

/// Cuts `text` into `out`. `atStart`: the text begins where the whole input does.
Result<void> preTokenize(const std::vector<PreTokenizer> &steps, std::string_view text,
                         bool atStart, TextPieces &out);

/// The text of `tokens`. Bytes of the result may be ill-formed; without any step the tokens are
/// joined by spaces, as Hugging Face does.
Result<std::string> decodeTokens(const std::vector<Decoder> &steps,
                                 std::vector<std::string> tokens);

} // namespace lorac::tok
