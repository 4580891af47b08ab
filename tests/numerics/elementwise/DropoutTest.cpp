// dropout against Random123's Philox4x32-10.

#include "tests/numerics/elementwise/KernelFixture.h"

#define R123_USE_SSE 0
#define R123_THROW(x) __builtin_trap()
#include <Random123/philox.h>

namespace lorac::testing {
namespace {

class Dropout : public KernelTest {};
LORAC_ON_EACH_CPU(Dropout);

bool kept(uint64_t element, double p, uint32_t stream, const LoracStep &step) {
  r123::Philox4x32 philox;
  uint64_t group = element / 4;
  r123::Philox4x32::ctr_type counter{
      {static_cast<uint32_t>(group), static_cast<uint32_t>(group >> 32), stream, step.micro}};
  r123::Philox4x32::key_type key{{step.seed, step.step}};
  return philox(counter, key)[element % 4] >= static_cast<uint32_t>(p * 4294967296.0);
}

TEST_P(Dropout, KeepsWhatPhiloxKeeps) {
  LoracStep step{};
  step.seed = 0xdeadbeef;
  step.step = 17;
  step.micro = 3;
  for (int64_t cols : {1, 7, 12, 63, 64, 172, 576})
    for (bool accumulate : {false, true}) {
      double p = cols == 64 ? 0.5 : 0.1;
      uint32_t stream = 5 + cols;
      Kernel kernel =
          compile("dropout", llvm::formatv("p = {0} : f64, cols = {1} : i64, ldx = {2} : i64, "
                                           "ldy = {2} : i64, stream = {3} : i64, accumulate = {4}",
                                           llvm::format("%e", p), cols, padded(cols), stream,
                                           accumulate ? "true" : "false"));
      for (int64_t rows : {0, 1, 7, 300}) {
        std::mt19937 random(cols + rows);
        Padded x(rows, cols, random), y(rows, cols, random), cut(rows, cols);
        cut.assign(y);
        std::vector<double> expected = y.doubles();
        int64_t survivors = 0;
        for (int64_t m = 0; m < rows; ++m)
          for (int64_t i = 0; i < cols; ++i) {
            int64_t element = m * cols + i;
            bool keep = kept(element, p, stream, step);
            survivors += keep;
            expected[element] =
                (accumulate ? expected[element] : 0) + (keep ? x.at(m, i) / (1 - p) : 0);
          }
        kernel.run({x.data(), y.data()}, rows, step);
        kernel.runInPieces({x.data(), cut.data()}, rows, step);
        EXPECT_LT(worst(y.dense(), expected, 1), 1e-6) << cols << " columns, " << rows << " rows";
        EXPECT_EQ(y.dense(), cut.dense());
        if (rows == 300 && cols > 60) {
          EXPECT_NEAR(survivors, rows * cols * (1 - p), rows * cols * 0.02);
        }
      }
    }
}

TEST_P(Dropout, EveryPartOfTheCounterAndKeyCounts) {
  Kernel one =
      compile("dropout", "p = 5.0e-01 : f64, cols = 64 : i64, ldx = 64 : i64, ldy = 64 : i64, "
                         "stream = 1 : i64, accumulate = false");
  Padded x(4, 64), y(4, 64);
  for (int64_t i = 0; i < 4 * 64; ++i)
    x.data()[i] = 1;
  LoracStep base{};
  std::vector<std::vector<float>> masks;
  for (int part = 0; part < 4; ++part) {
    LoracStep step = base;
    (part == 1 ? step.seed : part == 2 ? step.step : step.micro) = part ? 1 : 0;
    one.run({x.data(), y.data()}, 4, step);
    masks.push_back(y.dense());
    for (int before = 0; before < part; ++before)
      EXPECT_NE(masks[before], masks[part]);
    for (int64_t e = 0; e < 4 * 64; ++e)
      ASSERT_EQ(masks[part][e], kept(e, 0.5, 1, step) ? 2.f : 0.f);
  }
}

} // namespace
} // namespace lorac::testing
