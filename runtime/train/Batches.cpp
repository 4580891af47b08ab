#include "runtime/train/Batches.h"

#include "runtime/train/Random.h"

#include <algorithm>
#include <cmath>
#include <deque>

namespace lorac::train {

void MicroBatch::clear() {
  ids.clear();
  positions.clear();
  targets.clear();
  segmentStarts.assign(1, 0);
  labels = 0;
}

void MicroBatch::reserve(size_t tokens, size_t pieces) {
  for (std::vector<int32_t> *list : {&ids, &positions, &targets})
    list->reserve(tokens);
  segmentStarts.reserve(pieces + 1);
}

void MicroBatch::add(const Corpus &corpus, const Piece &piece) {
  if (segmentStarts.empty())
    segmentStarts.push_back(0);
  for (uint32_t i = 0; i < piece.count; ++i) {
    ids.push_back(corpus.ids[piece.begin + i]);
    positions.push_back(int32_t(i));
    int32_t target = corpus.target(piece, i);
    targets.push_back(target);
    labels += target >= 0;
  }
  segmentStarts.push_back(int32_t(ids.size()));
}

Rows packRows(const Corpus &corpus, const std::vector<uint32_t> &order, int64_t maxLength,
              int64_t maxSegments) {
  constexpr size_t openRows = 64;
  struct Open {
    std::vector<uint32_t> pieces;
    int64_t used = 0;
  };
  std::deque<Open> open;
  Rows rows;
  rows.reserve(order.size(), order.size());
  for (uint32_t index : order) {
    int64_t count = corpus.pieces[index].count;
    for (; open.size() > openRows; open.pop_front())
      rows.add(open.front().pieces);
    auto row = std::find_if(open.begin(), open.end(), [&](const Open &at) {
      return at.used + count <= maxLength && int64_t(at.pieces.size()) < maxSegments;
    });
    if (row == open.end())
      row = open.emplace(open.end());
    row->pieces.push_back(index);
    row->used += count;
  }
  for (const Open &at : open)
    rows.add(at.pieces);
  return rows;
}

BatchStream::BatchStream(const Corpus &corpus, const BatchConfig &config)
    : corpus(corpus), config(config) {
  prepareEpoch();
}

void BatchStream::prepareEpoch() {
  if (preparedEpoch == at.epoch)
    return;
  preparedEpoch = at.epoch;
  rows.clear();
  if (corpus.batchRows > 0) {
    rows.reserve(corpus.train.size(), corpus.train.size());
    for (uint32_t index : corpus.train)
      rows.add({&index, 1});
    microCount = int64_t(rows.size()) / corpus.batchRows;
    return;
  }
  std::vector<uint32_t> order =
      permutation(uint32_t(corpus.train.size()), config.seed, "epoch " + std::to_string(at.epoch));
  for (uint32_t &place : order)
    place = corpus.train[place];
  rows = Rows();
  if (config.packing)
    rows = packRows(corpus, order, config.maxLength,
                    std::max<int64_t>(1, config.maxSegments / config.batchSize));
  else {
    rows.reserve(order.size(), order.size());
    for (uint32_t index : order)
      rows.add({&index, 1});
  }
  microCount = (int64_t(rows.size()) + config.batchSize - 1) / config.batchSize;
}

std::vector<MicroBatch> BatchStream::nextWindow() {
  std::vector<MicroBatch> window;
  int64_t rowsPerMicro = corpus.batchRows > 0 ? corpus.batchRows : config.batchSize;
  while (int64_t(window.size()) < config.accumulation) {
    prepareEpoch();
    MicroBatch &batch = window.emplace_back();
    batch.clear();
    int64_t begin = at.micro * rowsPerMicro;
    int64_t end = std::min<int64_t>(begin + rowsPerMicro, int64_t(rows.size()));
    size_t tokens = 0, pieces = 0;
    for (int64_t row = begin; row < end; ++row)
      for (uint32_t index : rows[size_t(row)])
        tokens += corpus.pieces[index].count, ++pieces;
    batch.reserve(tokens, pieces);
    for (int64_t row = begin; row < end; ++row)
      for (uint32_t index : rows[size_t(row)])
        batch.add(corpus, corpus.pieces[index]);
    if (++at.micro >= microCount) {
      at = {at.epoch + 1, 0};
      if (corpus.batchRows == 0)
        break;
    }
  }
  return window;
}

void BatchStream::seek(const DataPosition &position) {
  at = position;
  prepareEpoch();
  if (at.micro >= microCount) // not ours; the checkpoint's hash of the data has been compared
    at = {at.epoch + 1, 0};
}

double BatchStream::epochs() const {
  return double(at.epoch) + (at.micro ? double(at.micro) / double(microCount) : 0.0);
}

int64_t BatchStream::stepsOf(double epochs) const {
  double windows = corpus.batchRows > 0
                       ? double(microCount) / double(config.accumulation)
                       : double((microCount + config.accumulation - 1) / config.accumulation);
  return std::max<int64_t>(1, int64_t(std::ceil(epochs * windows - 1e-9)));
}

Result<void> requireLabels(BatchStream stream, int64_t steps) {
  for (int64_t step = 0; step < steps; ++step) // in most runs the first has one
    for (const MicroBatch &batch : stream.nextWindow())
      if (batch.labels > 0)
        return {};
  return Error{"none of the " + std::to_string(steps) +
                   " steps has a token with a label: nothing would be trained; look at the labels "
                   "of the data, or train longer",
               Exit::Refused};
}

std::vector<std::vector<uint32_t>> evalBatches(const Corpus &corpus,
                                               const std::vector<uint32_t> &pieces,
                                               int64_t maxTokens, int64_t maxSegments) {
  std::vector<std::vector<uint32_t>> batches;
  int64_t tokens = 0;
  for (uint32_t index : pieces) {
    int64_t count = corpus.pieces[index].count;
    if (batches.empty() || tokens + count > maxTokens ||
        int64_t(batches.back().size()) >= maxSegments) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(index);
    tokens += count;
  }
  return batches;
}

} // namespace lorac::train
