// map: bodies over f32, vectorised.

#include "tests/numerics/elementwise/KernelFixture.h"

namespace lorac::testing {
namespace {

class Map : public KernelTest {};
LORAC_ON_EACH_CPU(Map);

std::string params(int64_t cols, int64_t ins, int64_t outs) {
  std::string lds;
  for (int64_t i = 0; i < ins + outs; ++i)
    lds += (i ? ", " : "") + std::to_string(padded(cols));
  return llvm::formatv("cols = {0} : i64, ins = {1} : i64, outs = {2} : i64, lds = array<i64: {3}>",
                       cols, ins, outs, lds);
}

constexpr const char *kSwiGlu = R"(
^bb0(%gate: f32, %up: f32):
  %one = arith.constant 1.0 : f32
  %minus = arith.negf %gate : f32
  %e = math.exp %minus : f32
  %d = arith.addf %one, %e : f32
  %s = arith.divf %gate, %d : f32
  %y = arith.mulf %s, %up : f32
  lora.yield %y : f32)";

constexpr const char *kSumAndDifference = R"(
^bb0(%a: f32, %b: f32):
  %s = arith.addf %a, %b : f32
  %d = arith.subf %a, %b : f32
  lora.yield %s, %d : f32, f32)";

TEST_P(Map, SwiGlu) {
  for (int64_t cols : {1, 7, 63, 64, 172, 576}) {
    Kernel kernel = compile("map", params(cols, 2, 1), kSwiGlu);
    for (int64_t rows : {0, 1, 7, 300}) {
      std::mt19937 random(cols + rows);
      Padded gate(rows, cols, random, 10), up(rows, cols, random), y(rows, cols), cut(rows, cols);
      std::vector<double> expected;
      std::vector<double> gates = gate.doubles(), ups = up.doubles();
      for (size_t i = 0; i < gates.size(); ++i)
        expected.push_back(gates[i] / (1 + std::exp(-gates[i])) * ups[i]);
      kernel.run({gate.data(), up.data(), y.data()}, rows);
      kernel.runInPieces({gate.data(), up.data(), cut.data()}, rows);
      EXPECT_LT(worst(y.dense(), expected, 1e-6), 1e-6) << cols << " columns, " << rows << " rows";
      EXPECT_EQ(y.dense(), cut.dense());
      kernel.run({gate.data(), up.data(), gate.data()}, rows);
      EXPECT_EQ(y.dense(), gate.dense()) << "in place";
    }
  }
}

TEST_P(Map, TwoResultsOverTheirOperands) {
  Kernel kernel = compile("map", params(70, 2, 2), kSumAndDifference);
  std::mt19937 random(2);
  Padded a(5, 70, random), b(5, 70, random);
  std::vector<float> sum, difference;
  for (size_t i = 0; i < a.dense().size(); ++i) {
    sum.push_back(a.dense()[i] + b.dense()[i]);
    difference.push_back(a.dense()[i] - b.dense()[i]);
  }
  kernel.run({a.data(), b.data(), a.data(), b.data()}, 5);
  EXPECT_EQ(a.dense(), sum);
  EXPECT_EQ(b.dense(), difference);
}

// A leading dimension of 0: one row for all, which ends where nothing may be read.
TEST_P(Map, ARowForAll) {
  for (int64_t cols : {1, 7, 64, 70}) {
    const std::string ld = std::to_string(padded(cols));
    Kernel kernel = compile("map",
                            llvm::formatv("cols = {0} : i64, ins = 3 : i64, outs = 1 : i64, lds = "
                                          "array<i64: 0, {1}, 0, {1}>",
                                          cols, ld),
                            R"(
^bb0(%m: f32, %z: f32, %n: f32):
  %r = arith.divf %m, %n : f32
  %y = arith.mulf %r, %z : f32
  lora.yield %y : f32)");
    for (int64_t rows : {0, 1, 7, 40}) {
      std::mt19937 random(cols + rows);
      Padded z(rows, cols, random), y(rows, cols), cut(rows, cols);
      std::vector<float> ms, ns;
      for (int64_t i = 0; i < cols; ++i)
        ms.push_back(float(i) - 2), ns.push_back(float(i) + 0.5f);
      Array<float> m(ms), n(ns);
      std::vector<float> expected;
      for (int64_t e = 0; e < rows * cols; ++e)
        expected.push_back(ms[e % cols] / ns[e % cols] * z.dense()[e]);
      kernel.run({m.data(), z.data(), n.data(), y.data()}, rows);
      kernel.runInPieces({m.data(), z.data(), n.data(), cut.data()}, rows);
      EXPECT_EQ(y.dense(), expected) << cols << " columns, " << rows << " rows";
      EXPECT_EQ(cut.dense(), expected);
    }
  }
}

// Clamped to e^±87, so that a zero gradient times an exponential is never NaN.
TEST_P(Map, ExpOverItsWholeRange) {
  Kernel kernel = compile("map", params(1, 1, 1), R"(
^bb0(%x: f32):
  %y = math.exp %x : f32
  lora.yield %y : f32)");
  std::vector<float> inputs{0, -0.f, 1, -1, -86.9f};
  for (float x = -86.9f; x < 86.9f; x += 0.0137f)
    inputs.push_back(x);
  int64_t rows = inputs.size();
  Padded x(rows, 1), y(rows, 1);
  std::vector<double> expected;
  for (int64_t m = 0; m < rows; ++m) {
    x.at(m, 0) = inputs[m];
    expected.push_back(std::exp(double(inputs[m])));
  }
  kernel.run({x.data(), y.data()}, rows);
  EXPECT_LT(worst(y.dense(), expected, 2e-38), 1e-6);

  Padded edges(4, 1), results(4, 1);
  edges.at(0, 0) = 89;
  edges.at(1, 0) = INFINITY;
  edges.at(2, 0) = -1e4f;
  edges.at(3, 0) = -INFINITY;
  kernel.run({edges.data(), results.data()}, 4);
  for (int64_t m = 2; m < 4; ++m)
    EXPECT_LT(results.at(m, 0), 2e-38f);
  for (int64_t m = 0; m < 2; ++m) {
    EXPECT_TRUE(std::isfinite(results.at(m, 0)));
    EXPECT_GT(results.at(m, 0), 5e37f);
  }
}

TEST_P(Map, LogOverItsWholeRange) {
  Kernel kernel = compile("map", params(1, 1, 1), R"(
^bb0(%x: f32):
  %y = math.log %x : f32
  lora.yield %y : f32)");
  auto logs = [&](const std::vector<float> &inputs) {
    Padded x(int64_t(inputs.size()), 1), y(int64_t(inputs.size()), 1);
    for (size_t m = 0; m < inputs.size(); ++m)
      x.at(int64_t(m), 0) = inputs[m];
    kernel.run({x.data(), y.data()}, int64_t(inputs.size()));
    return y.dense();
  };
  std::vector<float> inputs{0x1p-149f, 1e-42f, 0x1.fffffcp-127f, 0x1p-126f, 1, 0x1.fffffep127f};
  for (float x = 1.2e-38f; x < 3e38f; x *= 1.0137f)
    inputs.push_back(x);
  std::vector<double> expected;
  for (float x : inputs)
    expected.push_back(std::log(double(x)));
  EXPECT_LT(worst(logs(inputs), expected, 1e-6), 1e-6);

  EXPECT_EQ(logs({0, -0.f, INFINITY}), (std::vector<float>{-INFINITY, -INFINITY, INFINITY}));
  for (float y : logs({-0x1p-149f, -1, -INFINITY, NAN}))
    EXPECT_TRUE(std::isnan(y));
}

// Each row of dsl/Functions.def that is an op.
TEST_P(Map, WhatIsNoNumberStaysNone) {
  for (const std::string name : {
#define LORAC_SCALAR(name, op, value, gradient, vector) #name,
#include "dsl/Functions.def"
       }) {
    Kernel kernel = compile("map", params(1, 1, 1), R"(
^bb0(%x: f32):
  %y = math.)" + name + R"( %x : f32
  lora.yield %y : f32)");
    Padded x(1, 1), y(1, 1);
    x.at(0, 0) = NAN;
    y.at(0, 0) = 0;
    kernel.run({x.data(), y.data()}, 1);
    EXPECT_TRUE(std::isnan(y.at(0, 0))) << name;
  }
}

} // namespace
} // namespace lorac::testing
