#pragma once
// Takes the samples of one [[data]] table as its format reads them, and makes them tokens, labels
// and pieces of the corpus.

#include "runtime/train/Data.h"
#include "runtime/train/SampleReader.h"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::train {

inline Error refused(const std::string &message) { return Error{message, Exit::Refused}; }

/// Where a sample stands, for messages.
struct Place {
  const std::string &path;
  uint64_t line = 0; ///< 0: `row` counts
  uint64_t row = 0;

  std::string text() const { return "data file '" + path + "'" + placeInFile(line, row) + ": "; }
};

class SampleSink {
public:
  SampleSink(const DataConfig &table, const TextEncoder &encoder, const DataLimits &limits,
             Corpus &corpus, TableFacts &facts);

  /// A text, or a part of a long one; all of it is trained.
  Result<void> add(const SamplePart &part, const Place &place);
  /// A sample of several texts, one behind the other. A token is trained if it overlaps a segment
  /// that is; eos is if the last segment is.
  Result<void> add(const std::vector<Segment> &segments, const Place &place);

  /// Whether the first file of a table may be of another kind than text.
  void lookAt(const std::string &path, const std::string &firstBytes);
  /// Gives each part of a file to `add`.
  Result<void> readAll(SampleReader &reader,
                       const std::function<Result<void>(const SamplePart &)> &add);
  /// After the last file.
  void finish();

  const DataConfig &table;
  const TextEncoder &encoder;
  const DataLimits &limits;
  Corpus &corpus;

private:
  /// How the tokens lie at a place of the text: so many wholly before it; so many begin before it.
  struct Boundary {
    size_t whole, touching;
  };

  void begin(std::string_view text);
  Result<void> encode(std::string_view text, bool first, const Place &place);
  Result<Boundary> boundaryOf(std::string_view text, size_t ours);
  void endWithEos();
  Result<void> checkIds() const;
  Result<void> endSample(const Place &place);
  void addTargets(uint64_t count, uint64_t most);

  TableFacts &facts;
  std::string separator, firstFile;
  std::vector<int32_t> encoded;
  std::vector<bool> trained;  ///< by token of the sample; empty: all
  std::vector<Segment> shown; ///< of the sample, where it is one to show
  uint64_t beginAt = 0;       ///< of the sample that is read
};

} // namespace lorac::train
