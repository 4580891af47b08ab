#pragma once
// Samples as tokens: what the files of [[data]] become before they are put into rows.
//
// Rules
// - Files are read as TextDecoder says: line ends are LF, byte order marks left out.
// - A format (runtime/train/data) gives samples: texts, of which some are trained and some are not.
//   Samples of nothing but white space are dropped and counted. bos
//   stands before a sample if the tokenizer adds it by itself, eos always behind it, so that the
//   model learns to end. One that the text brings itself is not set a second time.
// - overlong (more tokens than max_length): split into pieces of max_length, each a segment of its
//   own; truncate keeps the first max_length; error refuses. A piece of one token has nothing to
//   predict and is dropped. What is lost is counted.
// - tokens: safetensors with input_ids and labels [steps, batch, length]; each row is a sample,
//   never split, dropped or moved. Labels stand at the input's position and are shifted here: the
//   target at i is labels[i + 1]. Without `labels` every token is one. Data without any label is
//   refused.
// - eval: round(eval_fraction * samples) of a [[data]] table, chosen by the seed, whole samples.

#include "runtime/Result.h"
#include "runtime/train/RunConfig.h"
#include "runtime/train/TokenList.h"

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::train {

/// What the data needs of a tokenizer.
struct TextEncoder {
  /// Appends the ids of `text`; adds no special token. The error says where in `text`.
  std::function<Result<void>(std::string_view text, std::vector<int32_t> &ids)> encode;
  int32_t bos = -1; ///< set before each sample; -1: none
  int32_t eos = -1; ///< behind each sample; -1: none

  /// Where a text may be cut so that `encode` of what stands before and `encodeMore` of what stands
  /// behind give the ids of the whole; 0: no place is known. Null: samples are encoded whole.
  std::function<size_t(std::string_view text)> cut;
  std::function<Result<void>(std::string_view text, std::vector<int32_t> &ids)> encodeMore;
  /// The text of ids; null: a text's end is taken to be one of a token.
  std::function<Result<std::string>(std::span<const int32_t> ids)> decode;
  uint64_t bytes = 0; ///< that the tokenizer takes in memory
};

/// A text of a sample.
struct Segment {
  std::string text;
  bool isTrained = true;
};

/// A run of tokens with positions from 0 that sees only itself.
struct Piece {
  uint64_t begin = 0;
  uint32_t count = 0;
  uint32_t sample = 0; ///< its sample's number over all tables, in file order
};

/// Behind a file's name: ", line 3" or ", row 3"; a number of 0 is unknown.
std::string placeInFile(uint64_t line, uint64_t row);

/// A sample as it was read, for people.
struct ShownSample {
  std::string path;
  uint64_t line = 0, row = 0; ///< of its file; 0: unknown
  std::vector<Segment> segments;
  uint64_t begin = 0, count = 0; ///< its tokens in the corpus
};

/// What became of one [[data]] table.
struct TableFacts {
  std::string name, format;
  int64_t files = 0, samples = 0, tokens = 0, labels = 0;
  int64_t heldOut = 0;    ///< samples
  int64_t blank = 0;      ///< samples left out for being white space
  int64_t single = 0;     ///< pieces left out for being one token
  int64_t unlabelled = 0; ///< pieces left out for having no label
  int64_t overlong = 0;
  int64_t torn = 0;               ///< samples with an answer that were split
  int64_t cutTokens = 0;          ///< that truncating took away
  int64_t ownBos = 0, ownEos = 0; ///< samples that brought it themselves
  bool carriageReturns = false;   ///< some lines ended with CRLF or CR
  bool utf16 = false;
  std::string start;       ///< the first sample's first characters; tokens: its first ids
  int64_t startTokens = 0; ///< of the first sample
  int64_t startLabels = 0;
  bool startHasBos = false, startHasEos = false;
  std::vector<ShownSample> shown;
};

struct Corpus {
  TokenList ids;
  TokenList targets;         ///< beside ids, shifted already; empty: the next token of the piece
  std::vector<Piece> pieces; ///< in file order
  std::vector<uint32_t> train, eval; ///< pieces, in file order
  int64_t batchRows = 0;             ///< tokens: rows of a batch; 0: batches are ours to make
  int64_t samples = 0;
  std::vector<TableFacts> tables;
  std::vector<std::string> notes;    ///< one line for people a table
  std::vector<std::string> warnings; ///< where the data may not be what is meant
  std::string hash;                  ///< XXH3-128 of ids, targets and cuts
  uint64_t textBytes = 0;            ///< most that text and encoder held while files were read
  uint64_t tokenizerBytes = 0;

  int32_t target(const Piece &piece, uint32_t i) const {
    return targets.empty() ? (i + 1 < piece.count ? ids[piece.begin + i + 1] : -100)
                           : targets[piece.begin + i];
  }
};

struct DataLimits {
  int64_t vocab = 0, maxLength = 0, maxTokens = 0;
  uint64_t seed = 0;
  int64_t shownSamples = 0; ///< of each table, for TableFacts::shown
};

/// Reads all tables. `encoder` may have no `encode` when all of them are `tokens`.
Result<Corpus> loadCorpus(const std::vector<DataConfig> &tables, const TextEncoder &encoder,
                          const DataLimits &limits);

/// The files that `pattern` names, sorted; links to a file that is already there are left out. A
/// file of that very name comes first; `\` before a character of a pattern makes it a plain one.
Result<std::vector<std::string>> expandPattern(const std::string &pattern);

} // namespace lorac::train
