// linear_forward and linear_backward over every storage format: bit for bit the chain that
// docs/plan.md states, close to the product in float64, the same for every cut of the tiles.

#include "tests/numerics/gemm/PackedMatrix.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>

using namespace lorac;
using namespace lorac::testing;

namespace {

struct Shape {
  int64_t n, k, rank;
  bool residual; ///< backward: accumulate
};

// Straddling blocks, ragged panels, several blocks of the inner dimension, ranks that are no
// multiple of anything.
const Shape shapes[] = {{176, 96, 4, true}, {32, 172, 0, false},  {7, 176, 3, true},
                        {1, 264, 1, false}, {512, 576, 16, true}, {40, 576, 100, false}};
const int64_t rowCounts[] = {1, 5, 6, 7, 33};
// Rows that crowd into few sets of the cache, and a long sum over few panels: blocks of another
// kind.
const Shape longShapes[] = {{24, 4096, 2, false}, {8224, 272, 2, true}};

bool fits(const std::string &format, int64_t k) {
  return format[0] != 'i' || k % 32 == 0; // blocks along a row
}

std::vector<float> randomValues(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float &value : values)
    value = normal(random);
  return values;
}

int64_t padded(int64_t n) { return (n + 15) / 16 * 16; }

// [rows, n] in a buffer with padded rows; the padding is NaN, so that who reads it shows.
Aligned activation(const std::vector<float> &values, int64_t rows, int64_t n) {
  Aligned memory((rows + 1) * padded(n) * 4);
  std::memset(memory.data(), 0xff, memory.bytes());
  for (int64_t row = 0; row < rows; ++row)
    std::copy_n(&values[row * n], n, memory.floats() + row * padded(n));
  return memory;
}

Aligned dense(const std::vector<float> &values) {
  Aligned memory(values.size() * 4);
  std::memset(memory.data(), 0xff, memory.bytes());
  std::copy(values.begin(), values.end(), memory.floats());
  return memory;
}

struct Term {
  float x, y;
};

// The chain: start, then every product, rounded once where the target has FMA.
float chain(bool fma, float start, const std::vector<Term> &terms) {
  for (const Term &t : terms)
    start = fma ? std::fmaf(t.x, t.y, start) : start + t.x * t.y;
  return start;
}

struct Case {
  std::string cpu, format;
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.cpu << " " << c.format; }

class Linear : public ::testing::TestWithParam<Case> {
protected:
  void SetUp() override {
    if (!runsHere(GetParam().cpu))
      GTEST_SKIP() << "this machine cannot run code for " << GetParam().cpu;
  }

  void forward(llvm::ArrayRef<Shape> shapes, llvm::ArrayRef<int64_t> rowCounts);
  void backward(llvm::ArrayRef<Shape> shapes, llvm::ArrayRef<int64_t> rowCounts);

  // Runs whole and in pieces, compares every element of `out` [rows, n] with `terms(row, column)`.
  template <typename Terms>
  void check(const CompiledKernels &kernels, const std::string &name, std::vector<void *> buffers,
             Aligned &out, const std::vector<float> &start, int64_t rows, int64_t n,
             const std::vector<int64_t> &scalars, Terms terms) {
    SCOPED_TRACE(name + " rows " + std::to_string(rows));
    const auto &kernel = kernels[name];
    Aligned before(out.bytes());
    std::memcpy(before.data(), out.data(), out.bytes());
    kernel.run(buffers, rows, scalars);
    int64_t wrong = 0;
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t column = 0; column < n; ++column) {
        float initial = start.empty() ? 0.0f : start[row * n + column];
        std::vector<Term> list = terms(row, column);
        float expected = chain(kernels.cpuTarget().fma, initial, list),
              got = out.floats()[row * padded(n) + column];
        double sum = initial, size = std::fabs(initial);
        for (const Term &t : list) {
          sum += double(t.x) * t.y;
          size += std::fabs(double(t.x) * t.y);
        }
        ASSERT_NEAR(got, sum, 1e-7 * (list.size() + 1) * size)
            << "row " << row << " column " << column;
        wrong += std::memcmp(&got, &expected, 4) != 0;
      }
    EXPECT_EQ(wrong, 0) << "elements are not the ascending chain";
    // The row after the last is untouched.
    EXPECT_EQ(std::memcmp(out.floats() + rows * padded(n), before.floats() + rows * padded(n),
                          padded(n) * 4),
              0);

    Aligned whole(out.bytes());
    std::memcpy(whole.data(), out.data(), out.bytes());
    std::memcpy(out.data(), before.data(), out.bytes());
    int64_t tiles = kernel.tiles(rows);
    for (int64_t end = tiles, size = 1; end > 0; ++size) { // last tiles first, pieces of 1, 2, 3 …
      int64_t begin = std::max<int64_t>(0, end - size);
      kernel.run(buffers, rows, begin, end, scalars);
      end = begin;
    }
    for (int64_t row = 0; row < rows; ++row)
      EXPECT_EQ(
          std::memcmp(out.floats() + row * padded(n), whole.floats() + row * padded(n), n * 4), 0)
          << "cut into pieces, row " << row;
  }
};

/// Where the rank comes from.
enum class Rank { Kernel, Launch };

std::vector<int64_t> scalars(const Shape &s, Rank from) {
  return from == Rank::Launch ? std::vector<int64_t>{s.rank, padded(s.rank)}
                              : std::vector<int64_t>();
}

std::string kernelOf(const Shape &s, Rank from) {
  return "l" + std::to_string(s.n) + "_" + std::to_string(s.k) +
         (from == Rank::Launch ? "_any" : "_r" + std::to_string(s.rank)) +
         (s.residual ? "_onto" : "");
}

/// Each shape; one with a rank through a kernel that serves several, of the launch.
std::vector<std::pair<Shape, Rank>> jobsOf(llvm::ArrayRef<Shape> shapes,
                                           const std::string &format) {
  std::vector<std::pair<Shape, Rank>> jobs;
  for (const Shape &shape : shapes) {
    if (!fits(format, shape.k))
      continue;
    if (shape.rank == 0) {
      jobs.emplace_back(shape, Rank::Kernel);
      continue;
    }
    std::vector<int64_t> ranks{shape.rank, 13};
    if (shape.n * shape.k < 20000) // quick ones; 256: all of the scratch
      ranks.insert(ranks.end(), {1, 5, 7, 24, 40, 100, 256});
    for (int64_t rank : ranks) {
      jobs.emplace_back(shape, Rank::Launch);
      jobs.back().first.rank = rank;
    }
  }
  return jobs;
}

std::string params(const Shape &s, const std::string &format, bool backward, Rank from) {
  auto i = [](int64_t v) { return std::to_string(v) + " : i64"; };
  std::string text = "n = " + i(s.n) + ", k = " + i(s.k) + ", format = \"" + format + "\", ";
  const std::string ld = backward ? "lddt" : "ldt";
  if (from == Rank::Launch)
    text += "most_rank = " + i(256) + ", scalars = [\"rank\", \"" + ld + "\"]";
  else
    text += "rank = " + i(s.rank) + ", " + ld + " = " + i(padded(s.rank));
  if (backward)
    return text + ", lddy = " + i(padded(s.n)) + ", lddx = " + i(padded(s.k)) +
           ", accumulate = " + i(s.residual);
  return text + ", ldx = " + i(padded(s.k)) + ", ldy = " + i(padded(s.n)) +
         ", scale = 2.5 : f64, ldr = " + i(padded(s.n)) + ", residual = " + i(s.residual);
}

void Linear::forward(llvm::ArrayRef<Shape> shapes, llvm::ArrayRef<int64_t> rowCounts) {
  CompiledKernels kernels(GetParam().cpu);
  const auto jobs = jobsOf(shapes, GetParam().format);
  for (const auto &[s, from] : jobs)
    if (!kernels.has(kernelOf(s, from)))
      kernels.add(kernelOf(s, from), "linear_forward", params(s, GetParam().format, false, from));
  kernels.compile();
  for (const auto &job : jobs) {
    const Shape &s = job.first;
    PackedMatrix w(GetParam().format, s.n, s.k, 7);
    for (int64_t rows : rowCounts) {
      std::vector<float> x = randomValues(rows * s.k, 1), t = randomValues(rows * s.rank, 2),
                         b = randomValues(s.n * s.rank, 3);
      std::vector<float> residual = s.residual ? randomValues(rows * s.n, 4) : std::vector<float>();
      Aligned xs = activation(x, rows, s.k), ts = activation(t, rows, s.rank), bs = dense(b);
      std::vector<float> junk(rows * s.n, -7.0f);
      Aligned y = activation(s.residual ? residual : junk, rows, s.n); // y may be the residual
      std::vector<void *> buffers{xs.data()};
      for (const Aligned &part : w.parts)
        buffers.push_back(part.data());
      if (s.rank > 0)
        buffers.insert(buffers.end(), {ts.data(), bs.data()});
      if (s.residual)
        buffers.push_back(y.data());
      buffers.push_back(y.data());
      check(kernels, kernelOf(s, job.second), buffers, y, residual, rows, s.n,
            scalars(s, job.second), [&](int64_t row, int64_t column) {
              std::vector<Term> terms;
              for (int64_t i = 0; i < s.k; ++i)
                terms.push_back({x[row * s.k + i], w.at(column, i)});
              for (int64_t i = 0; i < s.rank; ++i)
                terms.push_back({t[row * s.rank + i], b[column * s.rank + i] * 2.5f});
              return terms;
            });
    }
  }
}

void Linear::backward(llvm::ArrayRef<Shape> shapes, llvm::ArrayRef<int64_t> rowCounts) {
  CompiledKernels kernels(GetParam().cpu);
  const auto jobs = jobsOf(shapes, GetParam().format);
  for (const auto &[s, from] : jobs)
    if (!kernels.has(kernelOf(s, from)))
      kernels.add(kernelOf(s, from), "linear_backward", params(s, GetParam().format, true, from));
  kernels.compile();
  for (const auto &job : jobs) {
    const Shape &s = job.first;
    PackedMatrix w(GetParam().format, s.n, s.k, 8);
    for (int64_t rows : rowCounts) {
      std::vector<float> dy = randomValues(rows * s.n, 1), dt = randomValues(rows * s.rank, 2),
                         a = randomValues(s.rank * s.k, 3);
      std::vector<float> before = randomValues(rows * s.k, 4);
      Aligned dys = activation(dy, rows, s.n), dts = activation(dt, rows, s.rank), as = dense(a),
              dx = activation(before, rows, s.k);
      std::vector<void *> buffers{dys.data()};
      for (const Aligned &part : w.parts)
        buffers.push_back(part.data());
      if (s.rank > 0)
        buffers.insert(buffers.end(), {dts.data(), as.data()});
      buffers.push_back(dx.data());
      if (!s.residual)
        before.clear();
      check(kernels, kernelOf(s, job.second), buffers, dx, before, rows, s.k,
            scalars(s, job.second), [&](int64_t row, int64_t column) {
              std::vector<Term> terms;
              for (int64_t i = 0; i < s.n; ++i)
                terms.push_back({dy[row * s.n + i], w.at(i, column)});
              for (int64_t i = 0; i < s.rank; ++i)
                terms.push_back({dt[row * s.rank + i], a[i * s.k + column]});
              return terms;
            });
    }
  }
}

TEST_P(Linear, Forward) { forward(shapes, rowCounts); }
TEST_P(Linear, Backward) { backward(shapes, rowCounts); }

class LongLinear : public Linear {};
TEST_P(LongLinear, Forward) { forward(longShapes[0], 7); }
TEST_P(LongLinear, Backward) { backward(longShapes[1], 7); }

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char *cpu : {"x86-64-v3", "x86-64-v4", "x86-64"})
    for (const char *format :
         {"f32", "f16", "bf16", "int8<32, f16>", "int4<32, f16>", "int4<32, f16, min>",
          "int8<32, f16, min>", "int4<32, f32, min>", "int8<16, f32>", "nf4<64>", "nf4<64, dq256>",
          "nf4<128, dq256>", "fp4<64>", "fp4<32, dq256>", "iq4nl<32>"})
      if (std::string(cpu) != "x86-64-v4" || std::string(format).find("f4") != std::string::npos ||
          std::string(format).starts_with("iq4nl")) // differs in lookups alone
        all.push_back({cpu, format});
  return all;
}

std::string nameOf(const ::testing::TestParamInfo<Case> &info) {
  std::string name = info.param.cpu + "_" + info.param.format;
  std::erase_if(name, [](char c) { return c == '<' || c == '>' || c == ',' || c == '-'; });
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Formats, Linear, ::testing::ValuesIn(cases()), nameOf);
INSTANTIATE_TEST_SUITE_P(Formats, LongLinear,
                         ::testing::Values(Case{"x86-64-v3", "f32"}, Case{"x86-64-v3", "nf4<64>"}),
                         nameOf);

} // namespace
