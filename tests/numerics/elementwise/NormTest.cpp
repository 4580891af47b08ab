// rms_norm_forward and rms_norm_backward against double precision.

#include "tests/numerics/elementwise/KernelFixture.h"
#include "tests/numerics/elementwise/Reference.h"

namespace lorac::testing {
namespace {

class Norm : public KernelTest {};
LORAC_ON_EACH_CPU(Norm);

constexpr int64_t kColumns[] = {1, 7, 16, 63, 64, 172, 576};
constexpr int64_t kRows[] = {0, 1, 7, 300};

std::string params(int64_t n, double eps, const char *more = "") {
  return llvm::formatv("n = {0} : i64, ldx = {1} : i64, ldy = {1} : i64, lddy = {1} : i64, "
                       "lddx = {1} : i64, eps = {2} : f64{3}",
                       n, padded(n), llvm::format("%e", eps), more);
}

TEST_P(Norm, Forward) {
  for (int64_t n : kColumns) {
    Kernel kernel = compile("rms_norm_forward", params(n, 1e-5));
    for (int64_t rows : kRows) {
      std::mt19937 random(n + rows);
      Padded x(rows, n, random, 3), weights(1, n, random), y(rows, n);
      Array<float> w(weights.dense());
      kernel.run({x.data(), w.data(), y.data()}, rows);
      Doubles expected = rmsNorm(x.doubles(), weights.doubles(), n, 1e-5);
      EXPECT_LT(worst(y.dense(), expected, 1e-3), 2e-6) << n << " columns, " << rows << " rows";
      Padded cut(rows, n);
      kernel.runInPieces({x.data(), w.data(), cut.data()}, rows);
      EXPECT_EQ(y.dense(), cut.dense());
      kernel.run({x.data(), w.data(), x.data()}, rows);
      EXPECT_EQ(y.dense(), x.dense()) << "in place";
    }
  }
}

TEST_P(Norm, TinyAndHugeRows) {
  Kernel kernel = compile("rms_norm_forward", params(63, 1e-5));
  std::mt19937 random(1);
  for (float scale : {0.f, 1e-12f, 1e12f}) {
    Padded x(3, 63, random, scale), weights(1, 63, random), y(3, 63);
    Array<float> w(weights.dense());
    kernel.run({x.data(), w.data(), y.data()}, 3);
    EXPECT_LT(worst(y.dense(), rmsNorm(x.doubles(), weights.doubles(), 63, 1e-5), 1e-9), 2e-6);
  }
}

TEST_P(Norm, Backward) {
  for (bool accumulate : {false, true})
    for (int64_t n : kColumns) {
      Kernel kernel =
          compile("rms_norm_backward",
                  params(n, 1e-5, accumulate ? ", accumulate = true" : ", accumulate = false"));
      for (int64_t rows : {0, 1, 7, n > 64 ? 20 : 300}) { // the reference is quadratic in n
        std::mt19937 random(n + rows);
        Padded x(rows, n, random, 3), weights(1, n, random), dy(rows, n, random);
        Padded dx(rows, n, random), cut(rows, n);
        cut.assign(dx);
        Array<float> w(weights.dense());
        Doubles expected = rmsNormBackward(x.doubles(), weights.doubles(), dy.doubles(), n, 1e-5);
        if (accumulate)
          for (size_t i = 0; i < expected.size(); ++i)
            expected[i] += dx.doubles()[i];
        kernel.run({x.data(), w.data(), dy.data(), dx.data()}, rows);
        // With one column both terms of dx are equal but for eps, and their difference keeps few
        // digits.
        EXPECT_LT(worst(dx.dense(), expected, 0.1), n == 1 ? 1e-4 : 5e-6)
            << n << " columns, " << rows << " rows";
        kernel.runInPieces({x.data(), w.data(), dy.data(), cut.data()}, rows);
        EXPECT_EQ(dx.dense(), cut.dense());
      }
    }
}

} // namespace
} // namespace lorac::testing
