#include "runtime/train/Evaluate.h"

#include "runtime/formats/DurableFile.h"
#include "runtime/formats/Finite.h"
#include "runtime/train/JsonFields.h"
#include "runtime/train/Signals.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>

namespace lorac::train {

namespace {

/// Streams logits in sample order behind a header that is known before the first of them.
class LogitsWriter {
public:
  static Result<LogitsWriter> create(const std::string &path,
                                     const std::vector<SampleLoss> &samples, int64_t vocab) {
    Json header;
    uint64_t offset = 0;
    auto add = [&](const std::string &name, const char *type, std::vector<int64_t> shape) {
      uint64_t size = 4;
      for (int64_t dim : shape)
        size *= uint64_t(dim);
      header[name] = {{"dtype", type}, {"shape", shape}, {"data_offsets", {offset, offset + size}}};
      offset += size;
    };
    for (size_t i = 0; i < samples.size(); ++i)
      add("logits." + std::to_string(i), "F32", {samples[i].tokens, vocab});
    for (size_t i = 0; i < samples.size(); ++i)
      add("input_ids." + std::to_string(i), "I32", {samples[i].tokens});
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    LORAC_TRY_ASSIGN(formats::DurableFile file, formats::DurableFile::create(path));
    LogitsWriter writer(std::move(file));
    uint64_t length = text.size();
    writer.write(&length, sizeof length);
    writer.write(text.data(), text.size());
    return writer;
  }

  void write(const void *data, size_t size) {
    if (error)
      return;
    if (Result<void> written = file.write(data, size); !written)
      error = written.error();
  }
  Result<void> commit() {
    if (error)
      return *error;
    return file.commit();
  }

private:
  explicit LogitsWriter(formats::DurableFile file) : file(std::move(file)) {}
  formats::DurableFile file;
  std::optional<Error> error;
};

/// Which token of which sample a row of a batch is.
struct RowPlace {
  uint32_t sample = 0;
  int64_t token = 0;
};
RowPlace placeOf(const MicroBatch &batch, const Corpus &corpus, const std::vector<uint32_t> &group,
                 int64_t row) {
  size_t segment = 0;
  while (segment + 1 < group.size() && row >= batch.segmentStarts[segment + 1])
    ++segment;
  const Piece &piece = corpus.pieces[group[segment]];
  // Pieces of a sample stand one after another.
  uint32_t first = group[segment];
  while (first > 0 && corpus.pieces[first - 1].sample == piece.sample)
    --first;
  return {piece.sample,
          int64_t(piece.begin - corpus.pieces[first].begin) + row - batch.segmentStarts[segment]};
}

Error notFinite(const RowPlace &place, double loss) {
  return {fmt::format("sample {}: the loss at token {} is {}: some weight or the adapter is not "
                      "what it should be",
                      place.sample, place.token, formats::numberText(loss))};
}

} // namespace

Result<std::vector<SampleLoss>> evaluateSamples(Session &session, const Corpus &corpus,
                                                const std::string &logitsFile,
                                                int64_t sampleCount) {
  const Plan &plan = session.plan;
  int64_t count = sampleCount > 0 ? std::min(sampleCount, corpus.samples) : corpus.samples;
  std::vector<SampleLoss> samples(static_cast<size_t>(count));
  std::vector<uint32_t> pieces;
  for (size_t i = 0; i < corpus.pieces.size(); ++i)
    if (corpus.pieces[i].sample < count) {
      pieces.push_back(uint32_t(i));
      samples[corpus.pieces[i].sample].tokens += corpus.pieces[i].count;
    }
  for (uint32_t index : corpus.eval)
    if (corpus.pieces[index].sample < count)
      samples[corpus.pieces[index].sample].heldOut = true;

  std::optional<LogitsWriter> writer;
  if (!logitsFile.empty()) {
    LORAC_TRY_ASSIGN(writer, LogitsWriter::create(logitsFile, samples, plan.vocab));
  }
  MicroBatch batch;
  for (const std::vector<uint32_t> &group :
       evalBatches(corpus, pieces, plan.maxTokens, plan.maxSegments)) {
    if (const int signal = stopSignal())
      return Error{"stopped by signal " + std::to_string(signal) + "; nothing was written",
                   Exit(128 + signal)};
    batch.clear();
    for (uint32_t index : group)
      batch.add(corpus, corpus.pieces[index]);
    Result<void> done = session.feed(batch);
    if (done)
      done = session.execute(Program::Hidden, batch);
    if (!done)
      return done.error();
    if (writer)
      for (int64_t begin = 0; begin < batch.tokens(); begin += plan.headRows) {
        int64_t rows = std::min(plan.headRows, batch.tokens() - begin);
        LORAC_TRY_ASSIGN(const float *logits, session.logits(begin, rows));
        for (int64_t row = 0; row < rows; ++row) {
          const std::span<const float> values(logits + row * Plan::leadingDim(plan.vocab),
                                              size_t(plan.vocab));
          const RowPlace place = placeOf(batch, corpus, group, begin + row);
          LORAC_TRY(
              formats::requireFinite(values, "'" + logitsFile + "' is not written",
                                     fmt::format("logits.{}[{}]", place.sample, place.token)));
          writer->write(values.data(), values.size_bytes());
        }
      }
    if (done = session.execute(Program::Loss, batch); !done)
      return done.error();
    LORAC_TRY_ASSIGN(const float *rowLoss, session.backend->rowLoss(batch.tokens()));
    for (size_t s = 0; s < group.size(); ++s) {
      SampleLoss &sample = samples[corpus.pieces[group[s]].sample];
      for (int64_t row = batch.segmentStarts[s]; row < batch.segmentStarts[s + 1]; ++row) {
        const double loss = double(rowLoss[row]);
        if (!std::isfinite(loss)) {
          const RowPlace place = placeOf(batch, corpus, group, row);
          return notFinite(place, loss);
        }
        sample.sum += loss;
        sample.labels += batch.targets[size_t(row)] >= 0;
      }
    }
  }
  if (writer) {
    std::vector<int32_t> ids;
    for (uint32_t index : pieces) {
      ids.resize(corpus.pieces[index].count);
      corpus.ids.copy(corpus.pieces[index].begin, ids.size(), ids.data());
      writer->write(ids.data(), ids.size() * sizeof(int32_t));
    }
    LORAC_TRY(writer->commit());
  }
  return samples;
}

} // namespace lorac::train
