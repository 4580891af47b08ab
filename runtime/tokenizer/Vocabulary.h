#pragma once
// What a tokenizer file says, as plain data: the loaders fill it, check it, and Tokenizer runs it.

#include "runtime/tokenizer/Components.h"

#include <cstdint>
#include <string>
#include <vector>

namespace lorac::tok {

/// A token that is recognised in the text before anything else.
struct AddedToken {
  int32_t id = -1;
  std::string content;
  bool special = false;    // left out by decode(skipSpecial)
  bool lstrip = false;     // takes the white space before it
  bool rstrip = false;     // and after it
  bool singleWord = false; // only between non-word characters
  bool normalized = false; // sought in the normalized text
};

/// `left` and `right`, side by side, become `result`.
struct Merge {
  int32_t left;
  int32_t right;
  int32_t result;
};

struct VocabularyData {
  std::vector<std::string> tokens; // by id; an empty text is never matched

  /// Whether a token may come out of merges; empty: all may. Added and control tokens of which the
  /// model itself knows nothing may not.
  std::vector<bool> inModel;

  /// By rank: earlier merges go first, of two for one pair the later counts. By scores, as
  /// SentencePiece: any two neighbours whose texts make a token of the model, the best score first.
  bool byScores = false;
  std::vector<Merge> merges;
  std::vector<float> scores; // by id, finite

  int32_t unknown = -1;
  bool fuseUnknown = false;
  bool byteFallback = false;
  bool ignoreMerges = false; // a piece that is a token needs no merges
  std::string subwordPrefix; // of every symbol of a word but the first
  std::string wordSuffix;    // of the last symbol

  std::vector<AddedToken> added;
  /// Added tokens decode to their text as it is, whatever the decoder does with other tokens.
  bool addedAreRaw = false;

  std::vector<Normalizer> normalizers;
  std::vector<PreTokenizer> preTokenizers;
  std::vector<Decoder> decoders;

  int32_t bos = -1;
  int32_t eos = -1;
  bool addBos = false; // what the model expects; encode() adds nothing by itself
  bool addEos = false;
};

} // namespace lorac::tok
