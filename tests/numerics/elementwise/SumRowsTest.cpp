// sum_rows: a sum over tokens, one ascending chain a column.

#include "tests/numerics/elementwise/KernelFixture.h"

namespace lorac::testing {
namespace {

class SumRows : public KernelTest {};
LORAC_ON_EACH_CPU(SumRows);

TEST_P(SumRows, OneChainAColumn) {
  for (int64_t cols : {1, 7, 16, 63, 64, 65, 172, 576})
    for (bool accumulate : {false, true}) {
      Kernel kernel =
          compile("sum_rows", llvm::formatv("cols = {0} : i64, ldx = {1} : i64, accumulate = {2}",
                                            cols, padded(cols), accumulate ? "true" : "false"));
      for (int64_t rows : {0, 1, 7, 300}) {
        SCOPED_TRACE(std::to_string(cols) + " columns, " + std::to_string(rows) + " rows");
        std::mt19937 random(cols + rows);
        Padded x(rows, cols, random);
        std::vector<float> before;
        for (int64_t j = 0; j < cols; ++j)
          before.push_back(float(j) / 3);
        std::vector<float> expected = accumulate ? before : std::vector<float>(cols);
        for (int64_t m = 0; m < rows; ++m)
          for (int64_t j = 0; j < cols; ++j)
            expected[j] += x.at(m, j);
        Array<float> y(before), cut(before);
        kernel.run({x.data(), y.data()}, rows);
        kernel.runInPieces({x.data(), cut.data()}, rows);
        EXPECT_EQ(y.values(), expected);
        EXPECT_EQ(cut.values(), expected);
      }
    }
}

} // namespace
} // namespace lorac::testing
