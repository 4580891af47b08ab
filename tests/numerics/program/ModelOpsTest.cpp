// Ops of models against the interpreter, where models differ: windows and caps of attention, norms
// of heads, frozen rows, elementwise functions.

#include "dsl/Functions.h"
#include "tests/numerics/interpreter/Support.h"
#include "tests/numerics/program/OneOp.h"
#include <gtest/gtest.h>

using namespace lorac::test;

namespace {

// Six heads over two, of size 8: what is asked of them, and the four values that they give.
std::vector<std::string> attentions(const std::string &scores, int tokens = 24, int length = 12) {
  const std::string types = "tensor<?x6x8xf32>, tensor<?x2x8xf32>, tensor<?x2x8xf32>",
                    forward =
                        "%q = lora.view %xq : tensor<?x48xf32> to tensor<?x6x8xf32>\n%k = "
                        "lora.view %xk : tensor<?x16xf32> to tensor<?x2x8xf32>\n"
                        "%v = lora.view %xv : tensor<?x16xf32> to tensor<?x2x8xf32>\n%o, %lse "
                        "= lora.attention %q, %k, %v, %segments " +
                        scores + " : (" + types +
                        ", tensor<?xi32>) -> (tensor<?x48xf32>, tensor<?x6xf32>)\n",
                    backward = forward +
                               "%dq, %dk, %dv = lora.attention_backward %q, %k, %v, %segments, "
                               "%o, %lse, %do " +
                               scores + " : (" + types +
                               ", tensor<?xi32>, tensor<?x48xf32>, tensor<?x6xf32>, "
                               "tensor<?x48xf32>) -> (" +
                               types + ")\n";
  const std::vector<Activation> inputs = {{"xq", 48}, {"xk", 16}, {"xv", 16}};
  std::vector<Activation> withGradient = inputs;
  withGradient.push_back({"do", 48});
  std::vector<std::string> programs = {
      oneOp(inputs, "", forward + twice("%o", 48), "%out", rows(48), tokens, length),
      oneOp(inputs, "", forward + twice("%lse", 6), "%out", rows(6), tokens, length)};
  for (auto [name, heads] : {std::pair("%dq", 6), {"%dk", 2}, {"%dv", 2}}) {
    const std::string n = std::to_string(heads * 8);
    programs.push_back(oneOp(withGradient, "",
                             backward + "%y = lora.view " + name + " : tensor<?x" +
                                 std::to_string(heads) + "x8xf32> to tensor<?x" + n + "xf32>\n" +
                                 twice("%y", heads * 8),
                             "%out", rows(heads * 8), tokens, length));
  }
  return programs;
}

} // namespace

TEST(OneOp, Attention) {
  for (const char *scores : {"scale 0.35", "scale 0.35 window 5", "scale 0.35 window 1",
                             "scale 2.0 softcap 1.5", "scale 2.0 window 3 softcap 1.5"}) {
    SCOPED_TRACE(scores);
    for (const std::string &program : attentions(scores))
      expectMatch(program);
  }
}

// Whole blocks of keys lie before the window; samples begin inside of blocks.
TEST(OneOp, AttentionOfManyRows) {
  if (std::string why = whatIsMissing(); !why.empty())
    GTEST_SKIP() << why;
  for (const std::string &text : attentions("scale 0.35 window 37", 300, 210))
    makeProgram(text)->expectMatch("f", batch({0, 3, 213, 214, 300}), {},
                                   1e-5 * looserThanFloat32());
}

// The norms of a row's heads side by side, of sizes that fill vectors and not.
TEST(OneOp, RmsNormOfHeads) {
  for (auto [heads, d] : {std::pair(3, 16), {5, 12}, {3, 7}, {2, 40}}) {
    SCOPED_TRACE(d);
    const std::string size = std::to_string(d), flat = rows(heads * d),
                      split = "tensor<?x" + std::to_string(heads) + "x" + size + "xf32>",
                      w = "!lora.weight<" + size + ", vector>",
                      declare = "lora.frozen @w : " + w + "\n",
                      view = "%w = lora.use @w : " + w + "\n%h = lora.view %x : " + flat + " to " +
                             split + "\n",
                      back = "%y = lora.view %n : " + split + " to " + flat + "\n" +
                             twice("%y", heads * d);
    expectMatch(oneOp({{"x", heads * d}}, declare,
                      view + "%n = lora.rms_norm %h, %w eps 1.0e-03 : (" + split + ", " + w +
                          ") -> " + split + "\n" + back,
                      "%out", flat));
    for (const char *onto : {"", " onto(%g)"})
      expectMatch(oneOp({{"x", heads * d}, {"dy", heads * d}}, declare,
                        view + "%g = lora.view %dy : " + flat + " to " + split +
                            "\n%n = lora.rms_norm_backward %h, %w, %g" + onto + " eps 1.0e-03 : (" +
                            split + ", " + w + ", " + split + (*onto ? ", " + split : "") +
                            ") -> " + split + "\n" + back,
                        "%out", flat));
  }
}

// Every function of dsl/Functions.def that is an op, where its argument is small, large and
// negative.
TEST(OneOp, Functions) {
  for (const char *name : {"exp", "log", "sqrt", "tanh", "erf"}) {
    SCOPED_TRACE(name);
    const bool isOfPositive = name == std::string("log") || name == std::string("sqrt");
    expectMatch(oneOp({{"x", 37}}, "",
                      std::string(R"(
    %y = lora.map %x : (tensor<?x37xf32>) -> tensor<?x37xf32> {
    ^bb0(%a: f32):
      %two = arith.constant 2.5 : f32
      %small = arith.constant 0.01 : f32
      %square = arith.mulf %a, %a : f32
      %positive = arith.addf %square, %small : f32
      %wide = arith.mulf %a, %two : f32
      %s = math.)") + name +
                          (isOfPositive ? " %positive" : " %wide") +
                          R"( : f32
      lora.yield %s : f32
    })",
                      "%y", rows(37)));
  }
}

// Each row that is a formula, and where exp overflows in float32.
TEST(OneOp, Formulas) {
  for (const std::string &name : lorac::dsl::functionNames())
    for (const char *scale : {"2.5", "100.0"}) {
      if (lorac::dsl::findFunction(name)->value)
        continue;
      SCOPED_TRACE(name + ", times " + scale);
      const FunctionText text = functionText(name, "%wide");
      expectMatch(oneOp({{"x", 37}}, "",
                        std::string(R"(
    %y = lora.map %x : (tensor<?x37xf32>) -> tensor<?x37xf32> {
    ^bb0(%a: f32):
      %scale = arith.constant )") +
                            scale + " : f32\n%wide = arith.mulf %a, %scale : f32\n" + text.ops +
                            "lora.yield " + text.result + " : f32\n}",
                        "%y", rows(37)));
    }
}

// A frozen row beside a tensor: a bias.
TEST(OneOp, MapWithAFrozenRow) {
  for (int n : {37, 64}) {
    const std::string x = rows(n), w = "!lora.weight<" + std::to_string(n) + ", vector>";
    expectMatch(oneOp({{"x", n}}, "lora.frozen @a : " + w + "\nlora.frozen @b : " + w + "\n",
                      "%a = lora.use @a : " + w + "\n%b = lora.use @b : " + w +
                          "\n%y = lora.map %a, %x, %b : (" + w + ", " + x + ", " + w + ") -> " + x +
                          R"( {
    ^bb0(%m: f32, %p: f32, %c: f32):
      %mp = arith.mulf %m, %p : f32
      %s = arith.addf %mp, %c : f32
      lora.yield %s : f32
    })",
                      "%y", x));
  }
}
