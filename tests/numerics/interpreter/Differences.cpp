// The gradient of every differentiable op against central differences in float64.

#include "dsl/Functions.h"
#include "tests/numerics/interpreter/Support.h"
#include <gtest/gtest.h>

using namespace lorac::reference;
using namespace lorac::test;

TEST(Differences, RmsNorm) {
  Program program(R"(
    lora.frozen @w : !lora.weight<6, vector>
    lora.program micro_batch @f(%x: tensor<?x6xf32>) -> tensor<?x6xf32> {
      %w = lora.use @w : !lora.weight<6, vector>
      %y = lora.rms_norm %x, %w eps 1.0e-02 : (tensor<?x6xf32>, !lora.weight<6, vector>) -> tensor<?x6xf32>
      lora.return %y : tensor<?x6xf32>
    })");
  Environment environment;
  environment.symbols["w"] = randomTensor({6}, 1);
  expectGradientsMatchDifferences(program, "f", {randomTensor({5, 6}, 2)}, environment);
}

TEST(Differences, RmsNormOfHeads) {
  Program program(R"(
    lora.frozen @w : !lora.weight<3, vector>
    lora.program micro_batch @f(%x: tensor<?x2x3xf32>) -> tensor<?x2x3xf32> {
      %w = lora.use @w : !lora.weight<3, vector>
      %y = lora.rms_norm %x, %w eps 1.0e-02 : (tensor<?x2x3xf32>, !lora.weight<3, vector>) -> tensor<?x2x3xf32>
      lora.return %y : tensor<?x2x3xf32>
    })");
  Environment environment;
  environment.symbols["w"] = randomTensor({3}, 1);
  expectGradientsMatchDifferences(program, "f", {randomTensor({5, 2, 3}, 2)}, environment);
}

// Each row of dsl/Functions.def that is an op.
TEST(Differences, Functions) {
  for (const char *name : {"exp", "log", "sqrt", "tanh", "erf"}) {
    Program program(std::string(R"(
    lora.program micro_batch @f(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
      %y = lora.map %x : (tensor<?x3xf32>) -> tensor<?x3xf32> {
      ^bb0(%a: f32):
        %one = arith.constant 1.0 : f32
        %square = arith.mulf %a, %a : f32
        %positive = arith.addf %square, %one : f32
        %s = math.)") +
                    name + R"( %positive : f32
        lora.yield %s : f32
      }
      lora.return %y : tensor<?x3xf32>
    })");
    expectGradientsMatchDifferences(program, "f", {randomTensor({5, 3}, 1)}, {});
  }
}

// Each row that is a formula, where exp overflows in float32 too.
TEST(Differences, Formulas) {
  for (const std::string &name : lorac::dsl::functionNames()) {
    if (lorac::dsl::findFunction(name)->value)
      continue;
    SCOPED_TRACE(name);
    const FunctionText text = functionText(name, "%a");
    for (double scale : {1.0, 100.0, 0.0}) {
      Program program(R"(
    lora.program micro_batch @f(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
      %y = lora.map %x : (tensor<?x3xf32>) -> tensor<?x3xf32> {
      ^bb0(%a: f32):
        )" + text.ops +
                      "lora.yield " + text.result + R"( : f32
      }
      lora.return %y : tensor<?x3xf32>
    })");
      expectGradientsMatchDifferences(program, "f", {randomTensor({5, 3}, 1, scale)}, {});
    }
  }
}

TEST(Differences, Linear) {
  Program program(R"(
    lora.frozen @w : !lora.weight<3x5, nf4<64, dq256>>
    lora.program micro_batch @f(%x: tensor<?x5xf32>) -> tensor<?x3xf32> {
      %w = lora.use @w : !lora.weight<3x5, nf4<64, dq256>>
      %y = lora.linear %x, %w : (tensor<?x5xf32>, !lora.weight<3x5, nf4<64, dq256>>) -> tensor<?x3xf32>
      lora.return %y : tensor<?x3xf32>
    })");
  Environment environment;
  environment.symbols["w"] = randomTensor({3, 5}, 1);
  expectGradientsMatchDifferences(program, "f", {randomTensor({4, 5}, 2)}, environment);
}

TEST(Differences, LowRank) {
  Program program(R"(
    lora.param @a : tensor<2x5xf32>
    lora.param @b : tensor<3x2xf32>
    lora.program micro_batch @f(%x: tensor<?x5xf32>) -> tensor<?x3xf32> {
      %a = lora.use @a : tensor<2x5xf32>
      %b = lora.use @b : tensor<3x2xf32>
      %y = lora.low_rank %x, %a, %b scale 2.5 : (tensor<?x5xf32>, tensor<2x5xf32>, tensor<3x2xf32>) -> tensor<?x3xf32>
      lora.return %y : tensor<?x3xf32>
    })");
  Environment environment;
  environment.symbols["a"] = randomTensor({2, 5}, 1);
  environment.symbols["b"] = randomTensor({3, 2}, 2);
  expectGradientsMatchDifferences(program, "f", {randomTensor({4, 5}, 3)}, environment);
}

// A param that two updates read: its gradients add up.
TEST(Differences, SharedParam) {
  Program program(R"(
    lora.param @a : tensor<2x5xf32>
    lora.param @b : tensor<5x2xf32>
    lora.program micro_batch @f(%x: tensor<?x5xf32>) -> tensor<?x5xf32> {
      %a = lora.use @a : tensor<2x5xf32>
      %b = lora.use @b : tensor<5x2xf32>
      %y = lora.low_rank %x, %a, %b scale 1.0 : (tensor<?x5xf32>, tensor<2x5xf32>, tensor<5x2xf32>) -> tensor<?x5xf32>
      %a2 = lora.use @a : tensor<2x5xf32>
      %z = lora.low_rank %y, %a2, %b scale 0.5 : (tensor<?x5xf32>, tensor<2x5xf32>, tensor<5x2xf32>) -> tensor<?x5xf32>
      lora.return %z : tensor<?x5xf32>
    })");
  Environment environment;
  environment.symbols["a"] = randomTensor({2, 5}, 1);
  environment.symbols["b"] = randomTensor({5, 2}, 2);
  expectGradientsMatchDifferences(program, "f", {randomTensor({4, 5}, 3)}, environment);
}

TEST(Differences, ViewAndRope) {
  for (const char *inverse : {"", " inverse"}) {
    Program program(std::string(R"(
      lora.frequencies @rope [1.0, 0.1] factor 1.5
      lora.program micro_batch @f(%x: tensor<?x12xf32>, %positions: tensor<?xi32>) -> tensor<?x12xf32> {
        %q = lora.view %x : tensor<?x12xf32> to tensor<?x3x4xf32>
        %r = lora.rope %q, %positions by @rope)") +
                    inverse + R"( : (tensor<?x3x4xf32>, tensor<?xi32>) -> tensor<?x3x4xf32>
        %y = lora.view %r : tensor<?x3x4xf32> to tensor<?x12xf32>
        lora.return %y : tensor<?x12xf32>
      })");
    expectGradientsMatchDifferences(program, "f",
                                    {randomTensor({5, 12}, 1), {{5}, {0, 1, 2, 0, 17}}}, {});
  }
}

// Four query heads over two key heads, segments of 3, 1 and 4 tokens.
TEST(Differences, Attention) {
  for (const char *more : {"", "window 2", "softcap 7.0e-01", "window 3 softcap 7.0e-01"}) {
    Program program(std::string(R"(
    lora.program micro_batch @f(%q: tensor<?x4x6xf32>, %k: tensor<?x2x6xf32>, %v: tensor<?x2x6xf32>, %s: tensor<?xi32>) -> tensor<?x24xf32> {
      %o, %lse = lora.attention %q, %k, %v, %s scale 4.0e-01 )") +
                    more + R"(
          : (tensor<?x4x6xf32>, tensor<?x2x6xf32>, tensor<?x2x6xf32>, tensor<?xi32>) -> (tensor<?x24xf32>, tensor<?x4xf32>)
      lora.return %o : tensor<?x24xf32>
    })");
    expectGradientsMatchDifferences(program, "f",
                                    {randomTensor({8, 4, 6}, 1),
                                     randomTensor({8, 2, 6}, 2),
                                     randomTensor({8, 2, 6}, 3),
                                     {{4}, {0, 3, 4, 8}}},
                                    {});
  }
}

TEST(Differences, Dropout) {
  Program program(R"(
    lora.program micro_batch @f(%x: tensor<?x7xf32>) -> tensor<?x7xf32> {
      %y = lora.dropout %x p 3.0e-01 stream 5 : tensor<?x7xf32>
      lora.return %y : tensor<?x7xf32>
    })");
  Environment environment;
  environment.dropout = {11, 3, 1};
  expectGradientsMatchDifferences(program, "f", {randomTensor({9, 7}, 1)}, environment);
}

TEST(Differences, MapSiluTimesUp) {
  Program program(R"(
    lora.program micro_batch @f(%gate: tensor<?x3xf32>, %up: tensor<?x3xf32>) -> tensor<?x3xf32> {
      %y = lora.map %gate, %up : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32> {
      ^bb0(%g: f32, %u: f32):
        %one = arith.constant 1.0 : f32
        %n = arith.negf %g : f32
        %e = math.exp %n : f32
        %d = arith.addf %one, %e : f32
        %s = arith.divf %g, %d : f32
        %r = arith.mulf %s, %u : f32
        lora.yield %r : f32
      }
      lora.return %y : tensor<?x3xf32>
    })");
  expectGradientsMatchDifferences(program, "f",
                                  {randomTensor({5, 3}, 1, 3), randomTensor({5, 3}, 2)}, {});
}

// A magnitude: one row for all tokens, as an argument and as a param.
TEST(Differences, MapWithARow) {
  Program program(R"(
    lora.param @m : tensor<3xf32>
    lora.program micro_batch @f(%x: tensor<?x3xf32>, %n: tensor<3xf32>) -> tensor<?x3xf32> {
      %m = lora.use @m : tensor<3xf32>
      %y = lora.map %x, %m, %n : (tensor<?x3xf32>, tensor<3xf32>, tensor<3xf32>) -> tensor<?x3xf32> {
      ^bb0(%a: f32, %b: f32, %c: f32):
        %r = arith.divf %b, %c : f32
        %s = arith.mulf %r, %a : f32
        lora.yield %s : f32
      }
      lora.return %y : tensor<?x3xf32>
    })");
  Environment environment;
  environment.symbols["m"] = randomTensor({3}, 3);
  expectGradientsMatchDifferences(program, "f", {randomTensor({5, 3}, 1), {{3}, {0.5, -1.25, 2}}},
                                  environment);
}

// Each way of a choice, and a row that divides nothing.
TEST(Differences, MapWithAChoice) {
  Program program(R"(
    lora.program micro_batch @f(%x: tensor<?x3xf32>, %n: tensor<3xf32>) -> tensor<?x3xf32> {
      %y = lora.map %x, %n : (tensor<?x3xf32>, tensor<3xf32>) -> tensor<?x3xf32> {
      ^bb0(%a: f32, %b: f32):
        %zero = arith.constant 0.0 : f32
        %one = arith.constant 1.0 : f32
        %none = arith.cmpf oeq, %b, %zero : f32
        %divisor = arith.select %none, %one, %b : f32
        %q = arith.divf %a, %divisor : f32
        %low = arith.cmpf olt, %a, %zero : f32
        %square = arith.mulf %a, %a : f32
        %r = arith.select %low, %square, %q : f32
        lora.yield %r : f32
      }
      lora.return %y : tensor<?x3xf32>
    })");
  expectGradientsMatchDifferences(program, "f", {randomTensor({5, 3}, 1), {{3}, {0.5, -1.25, 2}}},
                                  {});
  // With a length of 0 there are no differences: what is kept has a gradient all the same.
  Outcome kept = run(reverse(program.function("f")),
                     {{{1, 3}, {3, -3, 3}}, {{3}, {0, 0, 2}}, {{1, 3}, {1, 1, 1}}}, {});
  expectClose(kept.results.at(0), {{1, 3}, {1, -6, 0.5}}, 0, "dx");
  expectClose(kept.results.at(1), {{3}, {0, 0, -0.75}}, 0, "dn");
}

// An argument used twice, a difference, a result that is an input, two results.
TEST(Differences, MapOfTwoResults) {
  Program program(R"(
    lora.program micro_batch @f(%x: tensor<?x3xf32>, %z: tensor<?x3xf32>) -> (tensor<?x3xf32>, tensor<?x3xf32>) {
      %y:2 = lora.map %x, %z : (tensor<?x3xf32>, tensor<?x3xf32>) -> (tensor<?x3xf32>, tensor<?x3xf32>) {
      ^bb0(%a: f32, %b: f32):
        %q = arith.mulf %a, %a : f32
        %d = arith.subf %q, %b : f32
        lora.yield %d, %a : f32, f32
      }
      lora.return %y#0, %y#1 : tensor<?x3xf32>, tensor<?x3xf32>
    })");
  expectGradientsMatchDifferences(program, "f", {randomTensor({5, 3}, 1), randomTensor({5, 3}, 2)},
                                  {});
}

// dh of cross_entropy_backward is the gradient of lossScale · Σ row_loss; a row without label has
// none.
// As the model's head gives the logits, and capped.
class CrossEntropy : public testing::TestWithParam<const char *> {};

TEST_P(CrossEntropy, Differences) {
  const std::string logits = GetParam();
  Program program(std::string(R"(
    lora.frozen @w : !lora.weight<7x4, f32>
    lora.program inference @loss(%h: tensor<?x4xf32>, %labels: tensor<?xi32>) -> tensor<?xf32> {
      %w = lora.use @w : !lora.weight<7x4, f32>
      %l = lora.cross_entropy %h, %w, %labels : (tensor<?x4xf32>, !lora.weight<7x4, f32>, tensor<?xi32>) -> tensor<?xf32> )") +
                  logits + R"(
      lora.return %l : tensor<?xf32>
    }
    lora.program micro_batch @both(%h: tensor<?x4xf32>, %labels: tensor<?xi32>) -> (tensor<?xf32>, tensor<?x4xf32>) {
      %w = lora.use @w : !lora.weight<7x4, f32>
      %l, %dh = lora.cross_entropy_backward %h, %w, %labels
          : (tensor<?x4xf32>, !lora.weight<7x4, f32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?x4xf32>) )" +
                  logits + R"(
      lora.return %l, %dh : tensor<?xf32>, tensor<?x4xf32>
    })");
  Environment environment;
  environment.symbols["w"] = randomTensor({7, 4}, 1, 2);
  environment.lossScale = 0.125;
  HostTensor h = randomTensor({5, 4}, 2, 2), labels{{5}, {6, -100, 0, 3, 3}};
  Outcome both = run(program.function("both"), {h, labels}, environment);
  Outcome loss = run(program.function("loss"), {h, labels}, environment);
  expectClose(both.results[0], loss.results[0], 0, "row losses");
  EXPECT_EQ(loss.results[0].data[1], 0);

  HostTensor slope = HostTensor::zeros(h.shape);
  auto total = [&] {
    double sum = 0;
    Outcome rows = run(program.function("loss"), {h, labels}, environment);
    for (double row : rows.results[0].data)
      sum += environment.lossScale * row;
    return sum;
  };
  for (int64_t e = 0; e < h.size(); ++e) {
    constexpr double step = 1e-5;
    double before = h.data[e];
    h.data[e] = before + step;
    double above = total();
    h.data[e] = before - step;
    slope.data[e] = (above - total()) / (2 * step);
    h.data[e] = before;
  }
  expectClose(both.results[1], slope, 1e-6, "dh");
}

INSTANTIATE_TEST_SUITE_P(Logits, CrossEntropy, testing::Values("", R"(logits {
      ^bb0(%z: f32):
        %cap = arith.constant 1.5 : f32
        %part = arith.divf %z, %cap : f32
        %tanh = math.tanh %part : f32
        %s = arith.mulf %cap, %tanh : f32
        lora.yield %s : f32
      })"));
