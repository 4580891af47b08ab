#include "runtime/train/Batches.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace lorac::train {
namespace {

/// Samples of the given lengths; token ids count up, so that each is seen to come once.
Corpus makeCorpus(const std::vector<uint32_t> &lengths) {
  Corpus corpus;
  for (uint32_t length : lengths) {
    corpus.pieces.push_back({corpus.ids.size(), length, uint32_t(corpus.samples++)});
    corpus.train.push_back(uint32_t(corpus.pieces.size() - 1));
    for (uint32_t i = 0; i < length; ++i)
      corpus.ids.push_back(int32_t(corpus.ids.size()));
  }
  return corpus;
}

std::vector<uint32_t> manyLengths() {
  std::vector<uint32_t> lengths;
  for (uint32_t i = 0; i < 400; ++i)
    lengths.push_back(2 + (i * 2654435761u >> 16) % 31);
  return lengths;
}

TEST(Batches, PackingInvariants) {
  Corpus corpus = makeCorpus(manyLengths());
  Rows rows = packRows(corpus, corpus.train, 32, 5);
  std::set<uint32_t> seen;
  int64_t tokens = 0;
  for (size_t r = 0; r < rows.size(); ++r) {
    const std::span<const uint32_t> row = rows[r];
    int64_t used = 0;
    for (uint32_t index : row) {
      EXPECT_TRUE(seen.insert(index).second);
      used += corpus.pieces[index].count;
    }
    EXPECT_LE(used, 32);
    EXPECT_LE(row.size(), 5u);
    tokens += used;
  }
  EXPECT_EQ(seen.size(), corpus.pieces.size());
  EXPECT_GT(double(tokens) / double(32 * rows.size()), 0.9) << "rows are well filled";
}

TEST(Batches, EpochSeesEverySampleOnce) {
  Corpus corpus = makeCorpus(manyLengths());
  for (bool packing : {false, true}) {
    BatchStream stream(corpus, {4, 32, 64, 3, packing, 7});
    std::map<int32_t, int> firsts;
    while (stream.position().epoch == 0)
      for (const MicroBatch &batch : stream.nextWindow()) {
        EXPECT_LE(batch.tokens(), 4 * 32);
        EXPECT_EQ(batch.segmentStarts.front(), 0);
        EXPECT_EQ(batch.segmentStarts.back(), batch.tokens());
        int64_t labels = 0;
        for (int64_t s = 0; s < batch.segments(); ++s) {
          int64_t begin = batch.segmentStarts[size_t(s)], end = batch.segmentStarts[size_t(s) + 1];
          ++firsts[batch.ids[size_t(begin)]];
          for (int64_t i = begin; i < end; ++i) {
            EXPECT_EQ(batch.positions[size_t(i)], i - begin);
            EXPECT_EQ(batch.targets[size_t(i)], i + 1 < end ? batch.ids[size_t(i) + 1] : -100);
            labels += batch.targets[size_t(i)] >= 0;
          }
        }
        EXPECT_EQ(batch.labels, labels);
      }
    EXPECT_EQ(firsts.size(), corpus.pieces.size());
    for (auto [id, count] : firsts)
      EXPECT_EQ(count, 1);
    EXPECT_EQ(stream.position(), (DataPosition{1, 0}));
  }
}

TEST(Batches, ResumesAtAnyPosition) {
  Corpus corpus = makeCorpus(manyLengths());
  BatchConfig config{4, 32, 64, 2, true, 7};
  BatchStream whole(corpus, config);
  for (int step = 0; step < 40; ++step) {
    BatchStream resumed(corpus, config);
    resumed.seek(whole.position());
    std::vector<MicroBatch> a = whole.nextWindow(), b = resumed.nextWindow();
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].ids, b[i].ids);
      EXPECT_EQ(a[i].segmentStarts, b[i].segmentStarts);
    }
    EXPECT_EQ(whole.position(), resumed.position());
    EXPECT_EQ(whole.epochs(), resumed.epochs());
  }
  EXPECT_GT(whole.position().epoch, 0);
}

TEST(Batches, EpochsAreShuffledBySeed) {
  Corpus corpus = makeCorpus(std::vector<uint32_t>(64, 4));
  auto first = [&](uint64_t seed, int64_t epoch) {
    BatchStream stream(corpus, {64, 4, 64, 1, false, seed});
    stream.seek({epoch, 0});
    return stream.nextWindow()[0].ids;
  };
  EXPECT_EQ(first(7, 0), first(7, 0));
  EXPECT_NE(first(7, 0), first(7, 1));
  EXPECT_NE(first(7, 0), first(8, 0));
}

TEST(Batches, FixedBatchesRunRound) {
  Corpus corpus = makeCorpus(std::vector<uint32_t>(6, 4)); // 3 batches of 2 rows
  corpus.batchRows = 2;
  corpus.targets.assign(24, -100);
  BatchStream stream(corpus, {2, 4, 64, 2, true, 7});
  std::vector<int32_t> firsts;
  for (int step = 0; step < 3; ++step)
    for (const MicroBatch &batch : stream.nextWindow()) {
      EXPECT_EQ(batch.labels, 0);
      firsts.push_back(batch.ids[0]);
    }
  EXPECT_EQ(firsts, (std::vector<int32_t>{0, 8, 16, 0, 8, 16}));
  EXPECT_EQ(stream.stepsOf(1), 2);
  EXPECT_EQ(stream.stepsOf(2), 3);
}

TEST(Batches, StepsOfEpochs) {
  Corpus corpus = makeCorpus(std::vector<uint32_t>(10, 4));
  BatchStream stream(corpus, {4, 4, 64, 2, false, 7}); // 3 micro-batches, 2 windows an epoch
  EXPECT_EQ(stream.stepsOf(1), 2);
  EXPECT_EQ(stream.stepsOf(2.5), 5);
  EXPECT_EQ(stream.nextWindow().size(), 2u);
  EXPECT_NEAR(stream.epochs(), 2.0 / 3, 1e-12);
  EXPECT_EQ(stream.nextWindow().size(), 1u) << "the window ends with the epoch";
  EXPECT_EQ(stream.epochs(), 1.0);
}

TEST(Batches, EvalBatchesKeepOrderAndLimits) {
  Corpus corpus = makeCorpus({8, 8, 8, 4, 4, 4, 4, 8});
  std::vector<std::vector<uint32_t>> batches = evalBatches(corpus, corpus.train, 16, 3);
  EXPECT_EQ(batches, (std::vector<std::vector<uint32_t>>{{0, 1}, {2, 3, 4}, {5, 6, 7}}));
}

} // namespace
} // namespace lorac::train
