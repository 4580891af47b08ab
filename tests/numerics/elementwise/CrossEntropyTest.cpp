// cross_entropy: the loss of each row, and logits turned into their gradient.

#include "tests/numerics/elementwise/KernelFixture.h"
#include "tests/numerics/elementwise/Reference.h"

#include <algorithm>

namespace lorac::testing {
namespace {

class CrossEntropyKernel : public KernelTest {
protected:
  Kernel kernel(int64_t vocab, bool backward, double smoothing = 0) {
    std::string params = llvm::formatv("vocab = {0} : i64, ld = {1} : i64, backward = {2}", vocab,
                                       padded(vocab), backward ? "true" : "false");
    if (smoothing > 0)
      params += llvm::formatv(", smoothing = {0:f} : f64", smoothing).str();
    return compile("cross_entropy", params);
  }
};
LORAC_ON_EACH_CPU(CrossEntropyKernel);

std::vector<int32_t> someLabels(int64_t rows, int64_t vocab, std::mt19937 &random) {
  std::vector<int32_t> labels(rows);
  for (int32_t &label : labels)
    label = random() % 4 == 0 ? -100 : random() % vocab;
  return labels;
}

TEST_P(CrossEntropyKernel, LossAndGradient) {
  LoracStep step{};
  step.loss_scale = 0.0625f;
  for (int64_t vocab : {1, 7, 16, 63, 64, 512, 1000})
    for (bool backward : {false, true}) {
      Kernel run = kernel(vocab, backward);
      for (int64_t rows : {0, 1, 7, 300}) {
        std::mt19937 random(vocab + rows);
        Padded logits(rows, vocab, random, 4), cut(rows, vocab);
        cut.assign(logits);
        Array<int32_t> labels(someLabels(rows, vocab, random));
        Array<float> loss(std::vector<float>(rows, NAN)), cutLoss(std::vector<float>(rows, NAN));
        std::vector<float> before = logits.dense();
        CrossEntropy expected =
            crossEntropy(logits.doubles(), labels.values(), vocab, step.loss_scale);
        run.run({logits.data(), labels.data(), loss.data()}, rows, step);
        run.runInPieces({cut.data(), labels.data(), cutLoss.data()}, rows, step);
        EXPECT_LT(worst(loss.values(), expected.loss, 1), 2e-6)
            << vocab << " words, " << rows << " rows";
        EXPECT_EQ(loss.values(), cutLoss.values());
        EXPECT_EQ(logits.dense(), cut.dense());
        if (!backward) {
          EXPECT_EQ(logits.dense(), before);
          continue;
        }
        EXPECT_LT(worst(logits.dense(), expected.dlogits, 1e-2), 2e-6) << vocab << " words";
        for (int64_t m = 0; m < rows; ++m)
          for (int64_t i = vocab; i < logits.ld; ++i)
            ASSERT_EQ(logits.at(m, i), 0) << "padding of the vocabulary";
      }
    }
}

TEST_P(CrossEntropyKernel, SmoothedLabels) {
  constexpr double smoothing = 0.1;
  LoracStep step{};
  step.loss_scale = 0.0625f;
  for (int64_t vocab : {1, 7, 64, 1000}) {
    std::mt19937 random(vocab);
    Padded logits(50, vocab, random, 4), cut(50, vocab);
    cut.assign(logits);
    Array<int32_t> labels(someLabels(50, vocab, random));
    Array<float> loss(std::vector<float>(50, NAN)), cutLoss(std::vector<float>(50, NAN));
    CrossEntropy expected =
        crossEntropy(logits.doubles(), labels.values(), vocab, step.loss_scale, smoothing);
    Kernel run = kernel(vocab, true, smoothing);
    run.run({logits.data(), labels.data(), loss.data()}, 50, step);
    run.runInPieces({cut.data(), labels.data(), cutLoss.data()}, 50, step);
    EXPECT_LT(worst(loss.values(), expected.loss, 1), 2e-6) << vocab << " words";
    EXPECT_LT(worst(logits.dense(), expected.dlogits, 1e-2), 2e-6) << vocab << " words";
    EXPECT_EQ(loss.values(), cutLoss.values());
    EXPECT_EQ(logits.dense(), cut.dense());
    for (int64_t m = 0; m < 50; ++m)
      for (int64_t i = vocab; i < logits.ld; ++i)
        ASSERT_EQ(logits.at(m, i), 0) << "padding of the vocabulary";
  }
}

TEST_P(CrossEntropyKernel, LargeLogits) {
  constexpr int64_t kVocab = 100;
  LoracStep step{};
  step.loss_scale = 1;
  std::mt19937 random(5);
  for (float scale : {100.f, 1e4f, 1e30f}) {
    Padded logits(8, kVocab, random, scale);
    for (int64_t i = 0; i < kVocab; ++i)
      logits.at(0, i) = i % 2 ? -scale : scale;
    Array<int32_t> labels(std::vector<int32_t>{1, 2, 3, 4, 5, 6, 7, 99});
    Array<float> loss(std::vector<float>(8));
    CrossEntropy expected = crossEntropy(logits.doubles(), labels.values(), kVocab, 1);
    kernel(kVocab, true).run({logits.data(), labels.data(), loss.data()}, 8, step);
    EXPECT_LT(worst(loss.values(), expected.loss, 1), 2e-6);
    EXPECT_LT(worst(logits.dense(), expected.dlogits, 1e-2), 2e-6);
  }
}

TEST_P(CrossEntropyKernel, NaNIsNotHidden) {
  LoracStep step{};
  step.loss_scale = 1;
  for (int64_t where : {0, 5, 19}) {
    std::mt19937 random(6);
    Padded logits(1, 20, random);
    logits.at(0, where) = NAN;
    Array<int32_t> labels(std::vector<int32_t>{3});
    Array<float> loss(std::vector<float>(1));
    kernel(20, true).run({logits.data(), labels.data(), loss.data()}, 1, step);
    EXPECT_TRUE(std::isnan(loss[0]));
  }
}

TEST_P(CrossEntropyKernel, RowsWithoutLabelAreZeroWhateverTheyHold) {
  LoracStep step{};
  step.loss_scale = 1;
  Padded logits(2, 20);
  Array<int32_t> labels(std::vector<int32_t>{-100, -100});
  Array<float> loss(std::vector<float>(2, NAN));
  kernel(20, true).run({logits.data(), labels.data(), loss.data()}, 2, step);
  EXPECT_EQ(loss.values(), std::vector<float>(2));
  EXPECT_EQ(logits.memory.values(), std::vector<float>(2 * 32));
}

} // namespace
} // namespace lorac::testing
