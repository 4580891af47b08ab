// Ops that other ops can say: both sides run, the values are the same.

#include "tests/numerics/interpreter/Support.h"
#include <cmath>
#include <gtest/gtest.h>

using namespace lorac::reference;
using namespace lorac::test;

static void expectSameResults(Program &program, llvm::ArrayRef<HostTensor> arguments,
                              const Environment &environment) {
  Outcome got = run(program.function("fused"), arguments, environment);
  Outcome wanted = run(program.function("apart"), arguments, environment);
  ASSERT_EQ(got.results.size(), wanted.results.size());
  for (size_t i = 0; i < got.results.size(); ++i)
    expectClose(got.results[i], wanted.results[i], 1e-14, "result " + std::to_string(i));
}

TEST(Equivalence, AdaptedLinear) {
  Program program(R"(
    lora.frozen @w : !lora.weight<3x5, f32>
    lora.program micro_batch @fused(%x: tensor<?x5xf32>, %a: tensor<2x5xf32>, %b: tensor<3x2xf32>, %r: tensor<?x3xf32>)
        -> (tensor<?x3xf32>, tensor<?x3xf32>, tensor<?x3xf32>) {
      %w = lora.use @w : !lora.weight<3x5, f32>
      %t = lora.matmul nt %x, %a scale 1.0 : (tensor<?x5xf32>, tensor<2x5xf32>) -> tensor<?x2xf32>
      %0 = lora.adapted_linear(%x, %w) low_rank(%t, %b) residual(%r) scale 2.0
          : (tensor<?x5xf32>, !lora.weight<3x5, f32>, tensor<?x2xf32>, tensor<3x2xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
      %1 = lora.adapted_linear(%x, %w) low_rank(%t, %b) scale 2.0
          : (tensor<?x5xf32>, !lora.weight<3x5, f32>, tensor<?x2xf32>, tensor<3x2xf32>) -> tensor<?x3xf32>
      %2 = lora.adapted_linear(%x, %w) residual(%r) scale 2.0
          : (tensor<?x5xf32>, !lora.weight<3x5, f32>, tensor<?x3xf32>) -> tensor<?x3xf32>
      lora.return %0, %1, %2 : tensor<?x3xf32>, tensor<?x3xf32>, tensor<?x3xf32>
    }
    lora.program micro_batch @apart(%x: tensor<?x5xf32>, %a: tensor<2x5xf32>, %b: tensor<3x2xf32>, %r: tensor<?x3xf32>)
        -> (tensor<?x3xf32>, tensor<?x3xf32>, tensor<?x3xf32>) {
      %w = lora.use @w : !lora.weight<3x5, f32>
      %base = lora.linear %x, %w : (tensor<?x5xf32>, !lora.weight<3x5, f32>) -> tensor<?x3xf32>
      %up = lora.low_rank %x, %a, %b scale 2.0 : (tensor<?x5xf32>, tensor<2x5xf32>, tensor<3x2xf32>) -> tensor<?x3xf32>
      %1 = arith.addf %base, %up : tensor<?x3xf32>
      %0 = arith.addf %1, %r : tensor<?x3xf32>
      %2 = arith.addf %base, %r : tensor<?x3xf32>
      lora.return %0, %1, %2 : tensor<?x3xf32>, tensor<?x3xf32>, tensor<?x3xf32>
    })");
  Environment environment;
  environment.symbols["w"] = randomTensor({3, 5}, 1);
  expectSameResults(program,
                    {randomTensor({4, 5}, 2), randomTensor({2, 5}, 3), randomTensor({3, 2}, 4),
                     randomTensor({4, 3}, 5)},
                    environment);
}

TEST(Equivalence, AdaptedLinearBackward) {
  Program program(R"(
    lora.frozen @w : !lora.weight<3x5, f32>
    lora.program micro_batch @fused(%x: tensor<?x5xf32>, %a: tensor<2x5xf32>, %b: tensor<3x2xf32>, %dy: tensor<?x3xf32>)
        -> (tensor<?x5xf32>, tensor<?x5xf32>, tensor<2x5xf32>, tensor<3x2xf32>) {
      %w = lora.use @w : !lora.weight<3x5, f32>
      %t = lora.matmul nt %x, %a scale 1.0 : (tensor<?x5xf32>, tensor<2x5xf32>) -> tensor<?x2xf32>
      %dt = lora.matmul nn %dy, %b scale 2.0 : (tensor<?x3xf32>, tensor<3x2xf32>) -> tensor<?x2xf32>
      %0 = lora.adapted_linear_backward(%dy, %w) low_rank(%dt, %a) onto(%x)
          : (tensor<?x3xf32>, !lora.weight<3x5, f32>, tensor<?x2xf32>, tensor<2x5xf32>, tensor<?x5xf32>) -> tensor<?x5xf32>
      %1 = lora.adapted_linear_backward(%dy, %w) low_rank(%dt, %a)
          : (tensor<?x3xf32>, !lora.weight<3x5, f32>, tensor<?x2xf32>, tensor<2x5xf32>) -> tensor<?x5xf32>
      %da = lora.matmul tn %dt, %x scale 1.0 : (tensor<?x2xf32>, tensor<?x5xf32>) -> tensor<2x5xf32>
      %db = lora.matmul tn %dy, %t scale 2.0 : (tensor<?x3xf32>, tensor<?x2xf32>) -> tensor<3x2xf32>
      lora.return %0, %1, %da, %db : tensor<?x5xf32>, tensor<?x5xf32>, tensor<2x5xf32>, tensor<3x2xf32>
    }
    lora.program micro_batch @apart(%x: tensor<?x5xf32>, %a: tensor<2x5xf32>, %b: tensor<3x2xf32>, %dy: tensor<?x3xf32>)
        -> (tensor<?x5xf32>, tensor<?x5xf32>, tensor<2x5xf32>, tensor<3x2xf32>) {
      %w = lora.use @w : !lora.weight<3x5, f32>
      %base = lora.linear_backward %dy, %w : (tensor<?x3xf32>, !lora.weight<3x5, f32>) -> tensor<?x5xf32>
      %da, %db, %up = lora.low_rank_backward %x, %a, %b, %dy scale 2.0
          : (tensor<?x5xf32>, tensor<2x5xf32>, tensor<3x2xf32>, tensor<?x3xf32>) -> (tensor<2x5xf32>, tensor<3x2xf32>, tensor<?x5xf32>)
      %da2, %db2 = lora.low_rank_backward %x, %a, %b, %dy scale 2.0
          : (tensor<?x5xf32>, tensor<2x5xf32>, tensor<3x2xf32>, tensor<?x3xf32>) -> (tensor<2x5xf32>, tensor<3x2xf32>)
      %1 = arith.addf %base, %up : tensor<?x5xf32>
      %0 = arith.addf %1, %x : tensor<?x5xf32>
      lora.return %0, %1, %da2, %db : tensor<?x5xf32>, tensor<?x5xf32>, tensor<2x5xf32>, tensor<3x2xf32>
    })");
  Environment environment;
  environment.symbols["w"] = randomTensor({3, 5}, 1);
  expectSameResults(program,
                    {randomTensor({4, 5}, 2), randomTensor({2, 5}, 3), randomTensor({3, 2}, 4),
                     randomTensor({4, 3}, 5)},
                    environment);
}

TEST(Equivalence, RmsNormBackwardOnto) {
  Program program(R"(
    lora.frozen @w : !lora.weight<5, vector>
    lora.program micro_batch @fused(%x: tensor<?x5xf32>, %dy: tensor<?x5xf32>, %r: tensor<?x5xf32>) -> tensor<?x5xf32> {
      %w = lora.use @w : !lora.weight<5, vector>
      %y = lora.rms_norm_backward %x, %w, %dy onto(%r) eps 1.0e-05
          : (tensor<?x5xf32>, !lora.weight<5, vector>, tensor<?x5xf32>, tensor<?x5xf32>) -> tensor<?x5xf32>
      lora.return %y : tensor<?x5xf32>
    }
    lora.program micro_batch @apart(%x: tensor<?x5xf32>, %dy: tensor<?x5xf32>, %r: tensor<?x5xf32>) -> tensor<?x5xf32> {
      %w = lora.use @w : !lora.weight<5, vector>
      %d = lora.rms_norm_backward %x, %w, %dy eps 1.0e-05
          : (tensor<?x5xf32>, !lora.weight<5, vector>, tensor<?x5xf32>) -> tensor<?x5xf32>
      %y = arith.addf %d, %r : tensor<?x5xf32>
      lora.return %y : tensor<?x5xf32>
    })");
  Environment environment;
  environment.symbols["w"] = randomTensor({5}, 1);
  expectSameResults(program,
                    {randomTensor({4, 5}, 2), randomTensor({4, 5}, 3), randomTensor({4, 5}, 4)},
                    environment);
}

// Attention over two segments is attention over each alone.
TEST(Equivalence, SegmentsDoNotSeeEachOther) {
  HostTensor q = randomTensor({7, 2, 4}, 1), k = randomTensor({7, 1, 4}, 2),
             v = randomTensor({7, 1, 4}, 3);
  auto rows = [](const HostTensor &x, int64_t begin, int64_t end) {
    HostTensor part = x;
    part.shape[0] = end - begin;
    part.data.assign(x.data.begin() + begin * x.columns(), x.data.begin() + end * x.columns());
    return part;
  };
  AttentionResult whole = attention(q, k, v, {{3}, {0, 3, 7}}, {0.5});
  AttentionResult first =
      attention(rows(q, 0, 3), rows(k, 0, 3), rows(v, 0, 3), {{2}, {0, 3}}, {0.5});
  AttentionResult second =
      attention(rows(q, 3, 7), rows(k, 3, 7), rows(v, 3, 7), {{2}, {0, 4}}, {0.5});
  expectClose(rows(whole.o, 0, 3), first.o, 0, "first");
  expectClose(rows(whole.o, 3, 7), second.o, 0, "second");
  expectClose(rows(whole.lse, 3, 7), second.lse, 0, "lse");
  // The first token of a segment sees itself alone.
  expectClose(rows(second.o, 0, 1),
              HostTensor{{1, 8},
                         {v.data[12], v.data[13], v.data[14], v.data[15], v.data[12], v.data[13],
                          v.data[14], v.data[15]}},
              1e-15, "alone");
}

// Random123's published answers for Philox4x32-10 with all counters and keys zero: element by
// element through the thresholds.
TEST(Equivalence, DropoutFollowsPhilox) {
  constexpr uint32_t known[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  HostTensor ones{{1, 4}, {1, 1, 1, 1}};
  for (int e = 0; e < 4; ++e) {
    double at = known[e] / 4294967296.0, above = (known[e] + 1.0) / 4294967296.0;
    EXPECT_GT(dropout(ones, at, 0, {}).data[e], 0) << e;
    EXPECT_EQ(dropout(ones, above, 0, {}).data[e], 0) << e;
  }
  HostTensor many = HostTensor::zeros({1000, 16});
  many.data.assign(many.data.size(), 1);
  HostTensor dropped = dropout(many, 0.1, 3, {1, 2, 3});
  double sum = 0;
  for (double value : dropped.data) {
    EXPECT_TRUE(value == 0 || value == 1 / 0.9);
    sum += value;
  }
  EXPECT_NEAR(sum / many.size(), 1, 0.01);
  for (DropoutKey other : {DropoutKey{2, 2, 3}, DropoutKey{1, 3, 3}, DropoutKey{1, 2, 4}})
    EXPECT_NE(dropout(many, 0.1, 3, other).data, dropped.data);
  EXPECT_NE(dropout(many, 0.1, 4, {1, 2, 3}).data, dropped.data);
}
