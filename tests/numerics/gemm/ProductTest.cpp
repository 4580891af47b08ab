// matmul_nt, matmul_nn, matmul_tn at odd sizes: bit for bit the ascending chain, the same for every
// cut of the tiles, and nothing written beside C.

#include "tests/numerics/gemm/CompiledKernels.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <set>

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

/// A product's sizes; those in `ranks` come with the launch, so that one kernel serves all.
struct Sizes {
  std::vector<std::pair<std::string, int64_t>> all;
  std::set<std::string> ranks;

  std::vector<int64_t> scalars() const {
    std::vector<int64_t> values;
    for (const auto &[name, value] : all)
      if (ranks.count(name))
        values.push_back(value);
    return values;
  }
};

Sizes sizesOf(const char *rowName, int64_t rowValue, int64_t j, int64_t lda, int64_t ldb,
              int64_t ldc, const std::set<std::string> &ranks) {
  return {{{rowName, rowValue}, {"j", j}, {"lda", lda}, {"ldb", ldb}, {"ldc", ldc}}, ranks};
}

std::string params(const Sizes &sizes, double scale, bool accumulate, bool exact = false) {
  std::string text, scalars;
  for (const auto &[name, value] : sizes.all)
    if (sizes.ranks.count(name))
      scalars += (scalars.empty() ? "\"" : ", \"") + name + "\"";
    else
      text += name + " = " + i64(value) + ", ";
  if (!scalars.empty())
    text += "scalars = [" + scalars + "], ";
  if (sizes.ranks.count("j"))
    text += "columns = " + i64(sizes.all[1].second <= 8 ? 8 : 16) + ", ";
  return text + "scale = " + std::to_string(scale) + " : f64, accumulate = " + i64(accumulate) +
         ", exact = " + i64(exact);
}

struct Size {
  int64_t j, inner; ///< tn: j and i
  double scale;
  bool accumulate;
  bool exact = false; ///< nt, nn: what stands in a row behind column j is somebody else's
};
const Size sizes[] = {{16, 576, 1.0, false},
                      {4, 64, 2.0, true},
                      {3, 173, 0.5, false},
                      {1, 200, 1.0, true},
                      {100, 33, 1.0, false},
                      {172, 4, 1.0, true},
                      {264, 16, 4.0, false},
                      {9, 1, 1.0, true},
                      {5, 70, 1.0, false, true},
                      {37, 12, 2.0, true, true},
                      {16, 20, 1.0, false, true},
                      {2, 700, 0.5, false, true},
                      // Ranks of one kernel each: narrow and wide tiles, whole ones and others.
                      {3, 96, 1.0, true, true},
                      {5, 96, 1.0, true, true},
                      {7, 96, 1.0, true, true},
                      {13, 96, 1.0, true, true},
                      {24, 96, 1.0, true, true},
                      {40, 96, 1.0, true, true},
                      {100, 96, 1.0, true, true}};

class Product : public ::testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    if (!runsHere(GetParam()))
      GTEST_SKIP() << "this machine cannot run code for " << GetParam();
  }

  /// Each size through each of `forms`, the names of what comes with the launch; kernels are made
  /// once for all sizes that they serve.
  template <typename Make>
  void run(const std::string &family, const std::vector<std::set<std::string>> &forms,
           const std::vector<int64_t> &rowCounts, Make make) {
    CompiledKernels kernels(GetParam());
    struct Job {
      Size size;
      Sizes sizes;
      std::string kernel;
    };
    std::vector<Job> jobs;
    std::map<std::string, std::string> known; // parameters -> name
    for (const Size &size : sizes)
      for (const std::set<std::string> &ranks : forms) {
        const Sizes made = make(size, ranks);
        const std::string text = params(made, size.scale, size.accumulate, size.exact);
        auto [entry, isNew] = known.try_emplace(text, "k" + std::to_string(known.size()));
        if (isNew)
          kernels.add(entry->second, family, text);
        jobs.push_back({size, made, entry->second});
      }
    EXPECT_LT(known.size(), jobs.size()) << "no kernel serves two ranks";
    kernels.compile();
    const bool isTn = family == "matmul_tn", isNt = family == "matmul_nt";
    for (const auto &[s, sizes, kernel] : jobs)
      for (int64_t rows : rowCounts) {
        Matrix a(rows, s.inner, padded(s.inner), 1),
            b(isTn   ? rows
              : isNt ? s.j
                     : s.inner,
              isNt ? s.inner : s.j,
              isTn   ? padded(s.j)
              : isNt ? s.inner
                     : s.j,
              2),
            c(isTn ? s.inner : rows, s.j, isTn ? s.j : padded(s.j), 3);
        check(kernels, kernel, sizes, a, b, c, rows, isTn ? rows : s.inner, s.accumulate, s.exact,
              [&](int64_t row, int64_t column, int64_t step) {
                const float y = isNt ? b.at(column, step) : b.at(step, column);
                return std::pair(isTn ? a.at(step, row) : a.at(row, step), y * float(s.scale));
              });
      }
  }

  // Runs whole and in pieces; `term(row, column, s)` gives the two factors of step s.
  template <typename Term>
  void check(const CompiledKernels &kernels, const std::string &name, const Sizes &sizes, Matrix &a,
             Matrix &b, Matrix &c, int64_t rows, int64_t steps, bool accumulate, bool exact,
             Term term) {
    std::string shown = name;
    for (const auto &[size, value] : sizes.all)
      shown += " " + size + "=" + std::to_string(value) + (sizes.ranks.count(size) ? "*" : "");
    SCOPED_TRACE(shown + " rows " + std::to_string(rows));
    const auto &kernel = kernels[name];
    bool fma = kernels.cpuTarget().fma;
    Aligned before(c.memory.bytes());
    std::memcpy(before.data(), c.data(), c.memory.bytes());
    std::vector<void *> buffers{a.data(), b.data(), c.data()};
    kernel.run(buffers, rows, sizes.scalars());
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
      kernel.run(buffers, rows, begin, end, sizes.scalars());
      end = begin;
    }
    for (int64_t row = 0; row < c.rows; ++row)
      EXPECT_EQ(std::memcmp(&c.at(row, 0), whole.floats() + row * c.ld, c.columns * 4), 0)
          << "cut into pieces, row " << row;
  }
};

// No rank; the columns are one; the rows or steps are one; both.
using Ranks = std::set<std::string>;

TEST_P(Product, Nt) {
  run("matmul_nt", {{}, {"j", "ldc"}, {"k", "lda", "ldb"}, {"j", "k", "lda", "ldb", "ldc"}},
      {1, 7, 48, 131}, [](const Size &s, const Ranks &ranks) {
        return sizesOf("k", s.inner, s.j, padded(s.inner), s.inner, padded(s.j), ranks);
      });
}

TEST_P(Product, Nn) {
  run("matmul_nn", {{}, {"j", "ldb", "ldc"}, {"k", "lda"}, {"j", "k", "lda", "ldb", "ldc"}},
      {1, 7, 48, 131}, [](const Size &s, const Ranks &ranks) {
        return sizesOf("k", s.inner, s.j, padded(s.inner), s.j, padded(s.j), ranks);
      });
}

TEST_P(Product, Tn) {
  run("matmul_tn", {{}, {"j", "ldb", "ldc"}, {"i", "lda"}, {"i", "j", "lda", "ldb", "ldc"}},
      {0, 1, 7, 192, 401}, [](const Size &s, const Ranks &ranks) {
        return sizesOf("i", s.inner, s.j, padded(s.inner), padded(s.j), s.j, ranks);
      });
}

INSTANTIATE_TEST_SUITE_P(Cpu, Product, ::testing::Values("x86-64-v3", "x86-64"),
                         [](const auto &info) {
                           return std::string(info.param) == "x86-64" ? "Portable" : "Avx2";
                         });

} // namespace
