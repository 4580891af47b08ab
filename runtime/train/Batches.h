#pragma once
// Rows, micro-batches and windows: which tokens a step sees, as a function of seed, epoch and
// position alone.
//
// - Each epoch goes over all training samples once, in an order drawn from the seed and the epoch.
// - packing: samples are put into rows of max_length, first-fit in that order over the last 64 open
//   rows; a sample keeps its own segment. Without packing a row is one sample. No padding exists: a
//   row may hold fewer tokens.
// - A micro-batch is batch_size rows, a window gradient_accumulation_steps micro-batches. Both end
//   at the end of an epoch, as in transformers: the last ones may be shorter. Batches of a `tokens`
//   file are its own and run round without an end.

#include "runtime/train/Data.h"

#include <cstdint>
#include <span>
#include <vector>

namespace lorac::train {

/// What goes into the io buffers of one launch of `train`.
struct MicroBatch {
  std::vector<int32_t> ids, positions, targets, segmentStarts; ///< segmentStarts: segments + 1
  int64_t labels = 0;                                          ///< targets that are not -100

  int64_t tokens() const { return int64_t(ids.size()); }
  int64_t segments() const { return int64_t(segmentStarts.size()) - 1; }
  void clear();
  /// Room for so many tokens, and no more.
  void reserve(size_t tokens, size_t pieces);
  void add(const Corpus &corpus, const Piece &piece);
};

struct BatchConfig {
  int64_t batchSize = 1, maxLength = 1, maxSegments = 1, accumulation = 1;
  bool packing = false;
  uint64_t seed = 0;
};

/// Rows of pieces (indices of corpus.pieces), for one epoch, in two flat lists.
class Rows {
public:
  size_t size() const { return ends.size(); }
  std::span<const uint32_t> operator[](size_t row) const {
    const size_t begin = row ? ends[row - 1] : 0;
    return {pieces.data() + begin, ends[row] - begin};
  }
  void reserve(size_t rows, size_t count) { ends.reserve(rows), pieces.reserve(count); }
  void add(std::span<const uint32_t> row) {
    pieces.insert(pieces.end(), row.begin(), row.end());
    ends.push_back(uint32_t(pieces.size()));
  }
  void clear() { ends.clear(), pieces.clear(); }

private:
  std::vector<uint32_t> ends, pieces;
};

Rows packRows(const Corpus &corpus, const std::vector<uint32_t> &order, int64_t maxLength,
              int64_t maxSegments);

/// Where a run is in its data.
struct DataPosition {
  int64_t epoch = 0, micro = 0;
  bool operator==(const DataPosition &) const = default;
};

class BatchStream {
public:
  /// `corpus` outlives the stream.
  BatchStream(const Corpus &corpus, const BatchConfig &config);

  /// The next window's micro-batches.
  std::vector<MicroBatch> nextWindow();

  DataPosition position() const { return at; }
  void seek(const DataPosition &position);
  /// Epochs seen, with the part of the present one.
  double epochs() const;
  /// Updates that `epochs` epochs make (rounded up); rows of later epochs are taken to be as many
  /// as of the first.
  int64_t stepsOf(double epochs) const;

private:
  void prepareEpoch();

  const Corpus &corpus;
  BatchConfig config;
  DataPosition at;
  Rows rows;
  int64_t preparedEpoch = -1, microCount = 0;
};

/// Error (Exit::Refused) when none of the next `steps` windows has a label: such a run trains
/// nothing.
Result<void> requireLabels(BatchStream stream, int64_t steps);

/// Micro-batches that cover `pieces` in order, each as full as the limits allow: for evaluation.
std::vector<std::vector<uint32_t>> evalBatches(const Corpus &corpus,
                                               const std::vector<uint32_t> &pieces,
                                               int64_t maxTokens, int64_t maxSegments);

} // namespace lorac::train
