// rope against complex multiplication in double precision.

#include "tests/numerics/elementwise/KernelFixture.h"
#include "tests/numerics/elementwise/Reference.h"

namespace lorac::testing {
namespace {

class Rope : public KernelTest {};
LORAC_ON_EACH_CPU(Rope);

constexpr int64_t kPositions = 64;
constexpr double kTheta = 10000;

Array<float> table(int64_t d) {
  std::vector<float> values;
  for (int64_t position = 0; position < kPositions; ++position)
    for (int64_t i = 0; i < d; ++i) {
      double angle = position * std::pow(kTheta, -2.0 * (i % (d / 2)) / d);
      values.push_back(i < d / 2 ? std::cos(angle) : std::sin(angle));
    }
  return Array<float>(values);
}

TEST_P(Rope, RotatesForthAndBack) {
  for (auto [heads, d] :
       {std::pair<int64_t, int64_t>{1, 2}, {3, 8}, {4, 12}, {5, 16}, {9, 64}, {2, 128}, {1, 48}})
    for (bool inverse : {false, true}) {
      int64_t n = heads * d;
      Kernel kernel =
          compile("rope", llvm::formatv("heads = {0} : i64, head_dim = {1} : i64, "
                                        "ldx = {2} : i64, ldy = {2} : i64, inverse = {3}",
                                        heads, d, padded(n), inverse ? "true" : "false"));
      Array<float> angles = table(d);
      for (int64_t rows : {0, 1, 7, 300}) {
        std::mt19937 random(n + rows);
        Padded x(rows, n, random), y(rows, n), cut(rows, n);
        std::vector<int32_t> positions(rows);
        for (int32_t &position : positions)
          position = random() % kPositions;
        Array<int32_t> ids(positions);
        kernel.run({x.data(), ids.data(), angles.data(), y.data()}, rows);
        kernel.runInPieces({x.data(), ids.data(), angles.data(), cut.data()}, rows);
        EXPECT_LT(worst(y.dense(), rotate(x.doubles(), positions, heads, d, kTheta, inverse), 1),
                  1e-6)
            << heads << " heads of " << d << ", " << rows << " rows";
        EXPECT_EQ(y.dense(), cut.dense());
        kernel.run({x.data(), ids.data(), angles.data(), x.data()}, rows);
        EXPECT_EQ(y.dense(), x.dense()) << "in place";
      }
    }
}

} // namespace
} // namespace lorac::testing
