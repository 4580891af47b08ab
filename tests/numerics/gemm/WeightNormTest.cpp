// weight_norm over every storage format: close to the lengths in float64, the same for every cut of
// the tiles.

#include "tests/numerics/gemm/PackedMatrix.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>

using namespace lorac;
using namespace lorac::testing;

namespace {

struct Case {
  std::string cpu, format;
};
void PrintTo(const Case &c, std::ostream *out) { *out << c.cpu << " " << c.format; }

struct Shape {
  int64_t n, k, rank;
};
// Ragged panels, columns that are no multiple of four, blocks that straddle rows, all of the
// scratch.
const Shape shapes[] = {{37, 96, 4},   {32, 173, 5},  {7, 176, 3},  {1, 264, 1},
                        {48, 576, 16}, {40, 64, 100}, {16, 32, 256}};

class WeightNorm : public ::testing::TestWithParam<Case> {
protected:
  void SetUp() override {
    if (!runsHere(GetParam().cpu))
      GTEST_SKIP() << "this machine cannot run code for " << GetParam().cpu;
  }
};

Aligned dense(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Aligned memory(count * 4);
  std::generate_n(memory.floats(), count, [&] { return normal(random); });
  return memory;
}

std::string nameOf(const Shape &s, bool ofLaunch) {
  return "n" + std::to_string(s.n) + "_" + std::to_string(s.k) + "_" + std::to_string(s.rank) +
         (ofLaunch ? "_any" : "");
}

} // namespace

TEST_P(WeightNorm, LengthsOfRows) {
  const std::string &format = GetParam().format;
  CompiledKernels kernels(GetParam().cpu);
  auto fits = [&](const Shape &s) { return format[0] != 'i' || s.k % 32 == 0; };
  for (const Shape &s : shapes)
    for (bool ofLaunch : {false, true})
      if (fits(s))
        kernels.add(nameOf(s, ofLaunch), "weight_norm",
                    "n = " + std::to_string(s.n) + ", k = " + std::to_string(s.k) +
                        ", format = \"" + format + "\", scale = 0.75 : f64, " +
                        (ofLaunch ? "most_rank = 256, scalars = [\"rank\"]"
                                  : "rank = " + std::to_string(s.rank)));
  kernels.compile();
  for (const Shape &s : shapes)
    for (bool ofLaunch : {false, true}) {
      if (!fits(s))
        continue;
      SCOPED_TRACE(nameOf(s, ofLaunch));
      PackedMatrix w(format, s.n, s.k, 7);
      Aligned a = dense(s.rank * s.k, 1), b = dense(s.n * s.rank, 2), y = dense(s.n + 16, 3),
              cut = dense(s.n + 16, 3), before = dense(s.n + 16, 3);
      const std::vector<int64_t> scalars = ofLaunch ? std::vector{s.rank} : std::vector<int64_t>();
      auto buffers = [&](const Aligned &to) {
        std::vector<void *> all;
        for (const Aligned &part : w.parts)
          all.push_back(part.data());
        all.insert(all.end(), {a.data(), b.data(), to.data()});
        return all;
      };
      const auto &kernel = kernels[nameOf(s, ofLaunch)];
      kernel.run(buffers(y), s.n, scalars);
      for (int64_t end = kernel.tiles(s.n); end > 0; --end)
        kernel.run(buffers(cut), s.n, end - 1, end, scalars);
      for (int64_t i = 0; i < s.n; ++i) {
        double squares = 0;
        for (int64_t c = 0; c < s.k; ++c) {
          double value = w.at(i, c);
          for (int64_t r = 0; r < s.rank; ++r)
            value += 0.75 * double(b.floats()[i * s.rank + r]) * a.floats()[r * s.k + c];
          squares += value * value;
        }
        EXPECT_NEAR(y.floats()[i], std::sqrt(squares), 2e-6 * std::sqrt(squares)) << "row " << i;
      }
      EXPECT_EQ(std::memcmp(y.data(), cut.data(), s.n * 4), 0) << "cut into pieces";
      EXPECT_EQ(std::memcmp(y.floats() + s.n, before.floats() + s.n, 16 * 4), 0)
          << "what stands behind the last row";
    }
}

static std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char *cpu : {"x86-64-v3", "x86-64"})
    for (const char *format :
         {"f32", "f16", "bf16", "int8<32, f16>", "int4<32, f16>", "int4<32, f16, min>",
          "int8<32, f16, min>", "int4<32, f32, min>", "int8<16, f32>", "nf4<64>", "nf4<64, dq256>",
          "fp4<32, dq256>", "iq4nl<32>"})
      all.push_back({cpu, format});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Formats, WeightNorm, ::testing::ValuesIn(cases()), [](const auto &info) {
  std::string name = info.param.cpu + "_" + info.param.format;
  std::erase_if(name, [](char c) { return !std::isalnum(c) && c != '_'; });
  return name;
});
