#pragma once
// Text to ids and back, as the model's own tokenizer does it.

#include "runtime/Result.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorac {

namespace tok {
struct VocabularyData;
}

/// What a special token that stands in a text is: itself, as in a rendered template, or letters
/// like all others, as in text that comes from outside.
enum class Specials { AsTokens, AsText };

/// Byte-level BPE and SentencePiece-type BPE with byte fallback. Immutable, cheap to copy, and
/// usable from several threads.
class Tokenizer {
public:
  /// From a GGUF file (vocabulary-only ones too), a tokenizer.json, or a Hugging Face directory
  /// with one. Beside a tokenizer.json, tokenizer_config.json gives bos, eos and whether they are
  /// added. Errors name the file: missing (Exit::Failed), corrupt or of a kind not read
  /// (ForeignFile).
  static Result<Tokenizer> load(const std::string &path);

  /// From data that a loader has checked.
  static Tokenizer fromData(tok::VocabularyData data);

  /// The ids of a text. Special tokens in it are recognised unless `specials` says that they are
  /// text (added tokens that are not special always are); nothing is added. Error: the text is not
  /// UTF-8 (the message has the byte offset), has 2^31 bytes or more, or runs into the limit of a
  /// pattern of the file.
  /// `continues`: the text goes on behind a cut.
  Result<std::vector<int32_t>> encode(std::string_view utf8, Specials specials = Specials::AsTokens,
                                      bool continues = false) const;

  /// The last place where `utf8` may be cut: the ids of what stands before, and those of what
  /// stands behind as a text that continues, are the ids of the whole. 0: no place is known.
  size_t lastCut(std::string_view utf8) const;

  /// The text of ids, well-formed UTF-8: bytes that are none become U+FFFD. `skipSpecial` leaves
  /// special tokens out. Error: an id that is none of this vocabulary (names it and its place).
  Result<std::string> decode(std::span<const int32_t> ids, bool skipSpecial = false) const;

  size_t vocabularySize() const;
  /// The token as the file writes it; error: no such id.
  Result<std::string> tokenText(int32_t id) const;
  /// The id of a token as the file writes it, or -1.
  int32_t idOf(std::string_view token) const;

  /// -1 where the file names none.
  int32_t bos() const;
  int32_t eos() const;
  /// Whether the model expects bos (eos) around a text; encode() leaves that to the caller.
  bool addBos() const;
  bool addEos() const;

private:
  struct Parts;
  explicit Tokenizer(std::shared_ptr<const Parts> parts) : parts(std::move(parts)) {}
  Result<void> encodeText(std::string_view text, bool atStart, bool continues, bool specialsAsText,
                          struct EncodeScratch &scratch) const;
  std::shared_ptr<const Parts> parts;
};

/// Decodes id by id; holds text back while it ends in an incomplete character. All pieces together
/// are what Tokenizer::decode makes of all ids, except where a tokenizer.json's ByteFallback voids
/// bytes because of ill-formed ones behind them: what was given out stays.
class StreamDecoder {
public:
  explicit StreamDecoder(Tokenizer tokenizer, bool skipSpecial = false)
      : tokenizer(std::move(tokenizer)), skipSpecial(skipSpecial) {}

  /// The text that `id` completes, possibly none. Error: no such id; the state stays as it was.
  Result<std::string> push(int32_t id);
  /// What was held back, with U+FFFD for what is incomplete; the decoder may then begin anew.
  Result<std::string> finish();

private:
  Tokenizer tokenizer;
  bool skipSpecial;
  std::vector<int32_t> window; // the ids of the last text given out, then those held back
  size_t given = 0;            // how many of them
  std::string prefix;          // their text
};

} // namespace lorac
