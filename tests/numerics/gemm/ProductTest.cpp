// matmul_nt, matmul_nn, matmul_tn at odd sizes: bit for bit the ascending chain, the same for every
// cut of the tiles, and nothing written beside C.

#include "tests/numerics/gemm/CompiledKernels.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <random>

using namespace lorac;
using namespace lorac::testing;

namespace {

int64_t padded(int64_t n) { return (n + 15) / 16 * 16; }

/// A matrix in memory: padding and slack hold NaN, so that who reads them shows.
struct Matrix {
  int64_t rows, columns, ld;
  Aligned memory;
  Matrix(int64_t rows, int64_t columns, int64_t ld, unsigned seed)
      : rows(rows), columns(columns), ld(ld), memory((rows + 1) * ld * 4) {
    std::memset(memory.data(), 0xff, memory.bytes());
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t column = 0; column < columns; ++column)
        at(row, column) = normal(random);
  }
  float &at(int64_t row, int64_t column) { return memory.floats()[row * ld + column]; }
  void *data() { return memory.data(); }
};

std::string i64(int64_t v) { return std::to_string(v) + " : i64"; }

std::string params(const char *rowName, int64_t rowValue, int64_t j, int64_t lda, int64_t ldb,
                   int64_t ldc, double scale, bool accumulate, bool exact = false) {
  return std::string(rowName) + " = " + i64(rowValue) + ", j = " + i64(j) + ", lda = " + i64(lda) +
         ", ldb = " + i64(ldb) + ", ldc = " + i64(ldc) + ", scale = " + std::to_string(scale) +
         " : f64, accumulate = " + i64(accumulate) + ", exact = " + i64(exact);
}

struct Size {
  int64_t j, inner; ///< tn: j and i
  double scale;
  bool accumulate;
  bool exact = false; ///< nt, nn: what stands in a row behind column j is somebody else's
};
const Size sizes[] = {
    {16, 576, 1.0, false},     {4, 64, 2.0, true},         {3, 173, 0.5, false},
    {1, 200, 1.0, true},       {100, 33, 1.0, false},      {172, 4, 1.0, true},
    {264, 16, 4.0, false},     {9, 1, 1.0, true},          {5, 70, 1.0, false, true},
    {37, 12, 2.0, true, true}, {16, 20, 1.0, false, true}, {2, 700, 0.5, false, true}};

class Product : public ::testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    if (!runsHere(GetParam()))
      GTEST_SKIP() << "this machine cannot run code for " << GetParam();
  }

  // Runs whole and in pieces; `term(row, column, s)` gives the two factors of step s.
  template <typename Term>
  void check(const CompiledKernels &kernels, const std::string &name, Matrix &a, Matrix &b,
             Matrix &c, int64_t rows, int64_t steps, bool accumulate, bool exact, Term term) {
    SCOPED_TRACE(name + " rows " + std::to_string(rows));
    const auto &kernel = kernels[name];
    bool fma = kernels.cpuTarget().fma;
    Aligned before(c.memory.bytes());
    std::memcpy(before.data(), c.data(), c.memory.bytes());
    std::vector<void *> buffers{a.data(), b.data(), c.data()};
    kernel.run(buffers, rows);
    int64_t wrong = 0;
    for (int64_t row = 0; row < c.rows; ++row)
      for (int64_t column = 0; column < c.columns; ++column) {
        float expected = accumulate ? before.floats()[row * c.ld + column] : 0.0f;
        double sum = expected, size = std::fabs(expected);
        for (int64_t s = 0; s < steps; ++s) {
          auto [x, y] = term(row, column, s);
          expected = fma ? std::fmaf(x, y, expected) : expected + x * y;
          sum += double(x) * y;
          size += std::fabs(double(x) * y);
        }
        float got = c.at(row, column);
        ASSERT_NEAR(got, sum, 1e-7 * (steps + 1) * size) << "row " << row << " column " << column;
        wrong += std::memcmp(&got, &expected, 4) != 0;
      }
    EXPECT_EQ(wrong, 0) << "elements are not the ascending chain";
    for (int64_t row = 0; exact && row < c.rows; ++row)
      EXPECT_EQ(std::memcmp(&c.at(row, 0) + c.columns, before.floats() + row * c.ld + c.columns,
                            (c.ld - c.columns) * 4),
                0)
          << "wrote behind the columns of row " << row;
    EXPECT_EQ(std::memcmp(c.memory.floats() + c.rows * c.ld, before.floats() + c.rows * c.ld, 64),
              0)
        << "wrote beyond C";

    Aligned whole(c.memory.bytes());
    std::memcpy(whole.data(), c.data(), c.memory.bytes());
    std::memcpy(c.data(), before.data(), c.memory.bytes());
    for (int64_t end = kernel.tiles(rows), size = 1; end > 0; ++size) {
      int64_t begin = std::max<int64_t>(0, end - size);
      kernel.run(buffers, rows, begin, end);
      end = begin;
    }
    for (int64_t row = 0; row < c.rows; ++row)
      EXPECT_EQ(std::memcmp(&c.at(row, 0), whole.floats() + row * c.ld, c.columns * 4), 0)
          << "cut into pieces, row " << row;
  }
};

std::string nameOf(const Size &s) {
  return "k" + std::to_string(s.j) + "_" + std::to_string(s.inner) + (s.exact ? "_exact" : "");
}

TEST_P(Product, Nt) {
  CompiledKernels kernels(GetParam());
  for (const Size &s : sizes)
    kernels.add(nameOf(s), "matmul_nt",
                params("k", s.inner, s.j, padded(s.inner), s.inner, padded(s.j), s.scale,
                       s.accumulate, s.exact));
  kernels.compile();
  for (const Size &s : sizes)
    for (int64_t rows : {1, 7, 48, 131}) {
      Matrix a(rows, s.inner, padded(s.inner), 1), b(s.j, s.inner, s.inner, 2),
          c(rows, s.j, padded(s.j), 3);
      check(kernels, nameOf(s), a, b, c, rows, s.inner, s.accumulate, s.exact,
            [&](int64_t row, int64_t column, int64_t step) {
              return std::pair(a.at(row, step), b.at(column, step) * float(s.scale));
            });
    }
}

TEST_P(Product, Nn) {
  CompiledKernels kernels(GetParam());
  for (const Size &s : sizes)
    kernels.add(nameOf(s), "matmul_nn",
                params("k", s.inner, s.j, padded(s.inner), s.j, padded(s.j), s.scale, s.accumulate,
                       s.exact));
  kernels.compile();
  for (const Size &s : sizes)
    for (int64_t rows : {1, 7, 48, 131}) {
      Matrix a(rows, s.inner, padded(s.inner), 1), b(s.inner, s.j, s.j, 2),
          c(rows, s.j, padded(s.j), 3);
      check(kernels, nameOf(s), a, b, c, rows, s.inner, s.accumulate, s.exact,
            [&](int64_t row, int64_t column, int64_t step) {
              return std::pair(a.at(row, step), b.at(step, column) * float(s.scale));
            });
    }
}

TEST_P(Product, Tn) {
  CompiledKernels kernels(GetParam());
  for (const Size &s : sizes)
    kernels.add(
        nameOf(s), "matmul_tn",
        params("i", s.inner, s.j, padded(s.inner), padded(s.j), s.j, s.scale, s.accumulate));
  kernels.compile();
  for (const Size &s : sizes)
    for (int64_t rows : {0, 1, 7, 192, 401}) {
      Matrix a(rows, s.inner, padded(s.inner), 1), b(rows, s.j, padded(s.j), 2),
          c(s.inner, s.j, s.j, 3);
      check(kernels, nameOf(s), a, b, c, rows, rows, s.accumulate, false,
            [&](int64_t row, int64_t column, int64_t step) {
              return std::pair(a.at(step, row), b.at(step, column) * float(s.scale));
            });
    }
}

INSTANTIATE_TEST_SUITE_P(Cpu, Product, ::testing::Values("x86-64-v3", "x86-64"),
                         [](const auto &info) {
                           return std::string(info.param) == "x86-64" ? "Portable" : "Avx2";
                         });

} // namespace
