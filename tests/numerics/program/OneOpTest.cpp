// Every op's kernel against the interpreter: programs of one op, at sizes that fill no panel and no
// tile. On CUDA the kernels run in the PTX simulator (tests/ptxsim).

#include "tests/numerics/program/OneOp.h"
#include <gtest/gtest.h>

using namespace lorac::reference;
using namespace lorac::test;

namespace {

// A factor of an adapter: its role tells which dimension is a rank.
std::string factor(const std::string &role, const std::string &name, int rank,
                   const std::string &type) {
  return "lora.adapter @of_" + name + " of @w rank " + std::to_string(rank) +
         " scale 1.0\nlora.param @" + name + " " + role + " of @of_" + name + " : " + type + "\n";
}
std::string factors(int rank, const std::string &a, const std::string &b) {
  return factor("lora_A", "a", rank, a) + factor("lora_B", "b", rank, b);
}

} // namespace

struct OneOpOfFormat : testing::TestWithParam<const char *> {
  std::string type(int n, int k) {
    return "!lora.weight<" + std::to_string(n) + "x" + std::to_string(k) + ", " + GetParam() + ">";
  }
  // Columns that the format can have, about as many: a file's blocks are whole.
  int columns(int k) {
    const std::string format = GetParam();
    const bool isWhole = format.starts_with("int") || format.starts_with("iq4nl");
    const int block = isWhole ? std::stoi(format.substr(format.find('<') + 1)) : 1;
    return (k + block - 1) / block * block;
  }
};
INSTANTIATE_TEST_SUITE_P(, OneOpOfFormat,
                         testing::Values("f32", "f16", "bf16", "nf4<64>", "nf4<64, dq256>",
                                         "fp4<32>", "fp4<128, dq256>", "int8<32, f16>",
                                         "int4<32, f16>", "int4<32, f16, min>",
                                         "int8<32, f16, min>", "int4<32, f32, min>",
                                         "int8<32, f32, min>", "int8<16, f32>", "int4<64, f32>",
                                         "iq4nl<32>"));

TEST_P(OneOpOfFormat, AdaptedLinear) {
  const int columns = this->columns(44);
  const std::string k = std::to_string(columns);
  std::string w = type(37, columns),
              declare = "lora.frozen @w : " + w + "\nlora.param @b : tensor<37x5xf32>\n";
  std::string use = "%w = lora.use @w : " + w + "\n%b = lora.use @b : tensor<37x5xf32>\n";
  std::vector<Activation> inputs = {{"x", columns}, {"t", 5}, {"r", 37}};
  expectMatch(oneOp({{"x", columns}}, declare,
                    use + "%y = lora.adapted_linear(%x, %w) scale 1.0 : (tensor<?x" + k +
                        "xf32>, " + w + ") -> tensor<?x37xf32>",
                    "%y", rows(37)));
  expectMatch(
      oneOp({{"x", columns}, {"t", 5}}, declare,
            use + "%y = lora.adapted_linear(%x, %w) low_rank(%t, %b) scale 1.75 : (tensor<?x" + k +
                "xf32>, " + w + ", tensor<?x5xf32>, tensor<37x5xf32>) -> tensor<?x37xf32>",
            "%y", rows(37)));
  expectMatch(
      oneOp(inputs, declare,
            use +
                "%y = lora.adapted_linear(%x, %w) low_rank(%t, %b) residual(%r) scale 1.75 : "
                "(tensor<?x" +
                k + "xf32>, " + w +
                ", tensor<?x5xf32>, tensor<37x5xf32>, tensor<?x37xf32>) -> tensor<?x37xf32>",
            "%y", rows(37)));
}

TEST_P(OneOpOfFormat, AdaptedLinearBackward) {
  const int columns = this->columns(44);
  const std::string k = std::to_string(columns);
  std::string w = type(37, columns),
              declare = "lora.frozen @w : " + w + "\nlora.param @a : tensor<5x" + k + "xf32>\n";
  std::string use = "%w = lora.use @w : " + w + "\n%a = lora.use @a : tensor<5x" + k + "xf32>\n";
  expectMatch(oneOp({{"dy", 37}}, declare,
                    use + "%dx = lora.adapted_linear_backward(%dy, %w) : (tensor<?x37xf32>, " + w +
                        ") -> tensor<?x" + k + "xf32>",
                    "%dx", rows(columns)));
  expectMatch(oneOp({{"dy", 37}, {"dt", 5}, {"r", columns}}, declare,
                    use +
                        "%dx = lora.adapted_linear_backward(%dy, %w) low_rank(%dt, %a) onto(%r) : "
                        "(tensor<?x37xf32>, " +
                        w + ", tensor<?x5xf32>, tensor<5x" + k + "xf32>, tensor<?x" + k +
                        "xf32>) -> tensor<?x" + k + "xf32>\n" + twice("%dx", columns),
                    "%out", rows(columns)));
}

// The lengths of an adapted weight's rows, seen through a map.
TEST_P(OneOpOfFormat, WeightNorm) {
  for (auto [n, least, r] : {std::tuple(37, 44, 5), {160, 140, 1}, {20, 64, 24}}) {
    const int k = columns(least);
    auto matrix = [](int m, int n) {
      return "tensor<" + std::to_string(m) + "x" + std::to_string(n) + "xf32>";
    };
    const std::string w = type(n, k), a = matrix(r, k), b = matrix(n, r),
                      row = "tensor<" + std::to_string(n) + "xf32>";
    expectMatch(oneOp(
        {{"x", n}},
        "lora.frozen @w : " + w + "\nlora.param @a : " + a + "\nlora.param @b : " + b + "\n",
        "%w = lora.use @w : " + w + "\n%a = lora.use @a : " + a + "\n%b = lora.use @b : " + b +
            "\n%n = lora.weight_norm %w, %a, %b scale 0.75 : (" + w + ", " + a + ", " + b +
            ") -> " + row + "\n%y = lora.map %x, %n : (" + rows(n) + ", " + row + ") -> " +
            rows(n) + R"( {
    ^bb0(%p: f32, %q: f32):
      %s = arith.mulf %p, %q : f32
      lora.yield %s : f32
    })",
        "%y", rows(n)));
  }
}

// Blocks of every size, two of them in rows and columns, and more panels than stages
// (LORAC_TEST_MULTIPROCESSORS=1 chooses large ones).
TEST(OneOp, LinearsOfManyRows) {
  if (std::string why = whatIsMissing(); !why.empty())
    GTEST_SKIP() << why;
  std::vector<double> starts;
  for (int token = 0; token <= 300; token += 12)
    starts.push_back(token);
  for (const char *format : {"bf16", "nf4<64, dq256>", "int4<32, f32, min>", "int8<16, f32>"})
    for (bool backward : {false, true}) {
      SCOPED_TRACE(std::string(format) + (backward ? " backward" : " forward"));
      const bool whole = std::string(format).starts_with("int"); // blocks along a row
      int depth = whole ? 480 : 456, width = whole ? 224 : 200;
      int n = backward ? depth : width, k = backward ? width : depth;
      auto shape = [](int rows, int columns) {
        return std::to_string(rows) + "x" + std::to_string(columns);
      };
      std::string w = "!lora.weight<" + shape(n, k) + ", " + format + ">",
                  p = "tensor<" + (backward ? shape(20, k) : shape(n, 20)) + "xf32>";
      std::unique_ptr<PlannedProgram> program = makeProgram(oneOp(
          {{"x", depth}, {"t", 20}}, "lora.frozen @w : " + w + "\nlora.param @p : " + p + "\n",
          "%w = lora.use @w : " + w + "\n%p = lora.use @p : " + p + "\n%y = lora.adapted_linear" +
              (backward ? "_backward(%x, %w) low_rank(%t, %p) : ("
                        : "(%x, %w) low_rank(%t, %p) scale 1.75 : (") +
              rows(depth) + ", " + w + ", " + rows(20) + ", " + p + ") -> " + rows(width),
          "%y", rows(width), 300));
      program->expectMatch("f", batch(starts), {}, 1e-5 * looserThanFloat32());
    }
}

TEST(OneOp, Embed) {
  for (auto [format, k] : {std::pair("f32", 37),
                           {"f16", 37},
                           {"bf16", 37},
                           {"int4<32, f32, min>", 96},
                           {"int8<16, f32>", 48},
                           {"int4<32, f16>", 96},
                           {"nf4<64>", 37},
                           {"iq4nl<32>", 96}}) {
    std::string w = "!lora.weight<24x" + std::to_string(k) + ", " + format + ">";
    expectMatch(oneOp({}, "lora.frozen @w : " + w + "\n",
                      "%w = lora.use @w : " + w + "\n%y = lora.embed %ids, %w : (tensor<?xi32>, " +
                          w + ") -> " + rows(k),
                      "%y", rows(k)));
  }
}

TEST(OneOp, RmsNorm) {
  std::string declare = "lora.frozen @w : !lora.weight<37, vector>\n",
              use = "%w = lora.use @w : !lora.weight<37, vector>\n";
  expectMatch(oneOp({{"x", 37}}, declare,
                    use + "%y = lora.rms_norm %x, %w eps 1.0e-03 : (tensor<?x37xf32>, "
                          "!lora.weight<37, vector>) -> tensor<?x37xf32>",
                    "%y", rows(37)));
  expectMatch(oneOp({{"x", 37}, {"dy", 37}}, declare,
                    use + "%dx = lora.rms_norm_backward %x, %w, %dy eps 1.0e-03 : "
                          "(tensor<?x37xf32>, !lora.weight<37, vector>, "
                          "tensor<?x37xf32>) -> tensor<?x37xf32>",
                    "%dx", rows(37)));
  expectMatch(oneOp({{"x", 37}, {"dy", 37}, {"r", 37}}, declare,
                    use +
                        "%dx = lora.rms_norm_backward %x, %w, %dy onto(%r) eps 1.0e-03 : "
                        "(tensor<?x37xf32>, !lora.weight<37, "
                        "vector>, tensor<?x37xf32>, tensor<?x37xf32>) -> tensor<?x37xf32>\n" +
                        twice("%dx", 37),
                    "%out", rows(37)));
}

TEST(OneOp, Matmul) {
  expectMatch(oneOp({{"x", 44}}, "lora.param @a : tensor<5x44xf32>\n",
                    "%a = lora.use @a : tensor<5x44xf32>\n%t = lora.matmul nt %x, %a scale 0.5 : "
                    "(tensor<?x44xf32>, tensor<5x44xf32>) -> tensor<?x5xf32>",
                    "%t", rows(5)));
  expectMatch(oneOp({{"dy", 37}}, "lora.param @b : tensor<37x5xf32>\n",
                    "%b = lora.use @b : tensor<37x5xf32>\n%t = lora.matmul nn %dy, %b scale 0.5 : "
                    "(tensor<?x37xf32>, tensor<37x5xf32>) -> tensor<?x5xf32>",
                    "%t", rows(5)));
  // Over tokens: into the gradients.
  expectMatch(oneOp({{"x", 44}, {"t", 5}},
                    "lora.param @a : tensor<5x44xf32>\nlora.param @b : tensor<44x5xf32>\n",
                    "%da = lora.matmul tn %t, %x scale 0.5 : (tensor<?x5xf32>, tensor<?x44xf32>) "
                    "-> tensor<5x44xf32>\n"
                    "lora.gradient @a, %da : tensor<5x44xf32>\n"
                    "%db = lora.matmul tn %x, %t scale 2.0 : (tensor<?x44xf32>, tensor<?x5xf32>) "
                    "-> tensor<44x5xf32>\n"
                    "lora.gradient @b, %db : tensor<44x5xf32>\n" +
                        twice("%x", 44),
                    "%out", rows(44)));
}

TEST(OneOp, Rope) {
  for (const char *inverse : {"", " inverse"})
    expectMatch(oneOp({{"x", 30}}, ropeOf(10, 1e2),
                      std::string("%v = lora.view %x : tensor<?x30xf32> to tensor<?x3x10xf32>\n%r "
                                  "= lora.rope %v, %positions by @rope") +
                          inverse +
                          " : (tensor<?x3x10xf32>, tensor<?xi32>) -> tensor<?x3x10xf32>\n"
                          "%y = lora.view %r : tensor<?x3x10xf32> to tensor<?x30xf32>\n" +
                          twice("%y", 30),
                      "%out", rows(30)));
}

// silu(g)·u and both of its gradients.
TEST(OneOp, Map) {
  expectMatch(oneOp({{"g", 37}, {"u", 37}, {"dy", 37}}, "", R"(
    %y, %dg = lora.map %g, %u, %dy : (tensor<?x37xf32>, tensor<?x37xf32>, tensor<?x37xf32>) -> (tensor<?x37xf32>, tensor<?x37xf32>) {
    ^bb0(%a: f32, %b: f32, %d: f32):
      %one = arith.constant 1.0 : f32
      %neg = arith.negf %a : f32
      %exp = math.exp %neg : f32
      %below = arith.addf %one, %exp : f32
      %silu = arith.divf %a, %below : f32
      %both = arith.mulf %silu, %b : f32
      %rest = arith.subf %one, %silu : f32
      %slope = arith.mulf %rest, %d : f32
      lora.yield %both, %slope : f32, f32
    }
    %out = lora.map %y, %dg : (tensor<?x37xf32>, tensor<?x37xf32>) -> tensor<?x37xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      lora.yield %s : f32
    })",
                    "%out", rows(37)));
}

// A row for all tokens, and its gradient: a sum over them.
TEST(OneOp, MapWithARow) {
  for (int n : {37, 64, 200}) {
    const std::string x = rows(n), m = "tensor<" + std::to_string(n) + "xf32>";
    expectMatch(oneOp(
        {{"x", n}, {"dy", n}}, "lora.param @k : " + m + "\nlora.param @m : " + m + "\n",
        "%k = lora.use @k : " + m + "\n%m = lora.use @m : " + m +
            "\n%y, %e = lora.map %m, %x, %k, %dy : (" + m + ", " + x + ", " + m + ", " + x +
            ") -> (" + x + ", " + x + R"() {
    ^bb0(%a: f32, %b: f32, %c: f32, %d: f32):
      %ab = arith.mulf %a, %b : f32
      %s = arith.addf %ab, %c : f32
      %bd = arith.mulf %b, %d : f32
      lora.yield %s, %bd : f32, f32
    }
    %dm = lora.sum_rows %e : )" +
            x + " to " + m + "\nlora.gradient @m, %dm : " + m + "\n%dk = lora.sum_rows %dy : " + x +
            " to " + m + "\nlora.gradient @k, %dk : " + m,
        "%y", x));
  }
}

// Products with a stack of factors, with some columns of a matrix, and into some columns of one.
TEST(OneOp, StackedProducts) {
  for (auto [q, k] : {std::pair(5, 3), {5, 12}, {16, 12}, {8, 16}}) {
    auto matrix = [](int m, int n) {
      return "tensor<" + std::to_string(m) + "x" + std::to_string(n) + "xf32>";
    };
    const std::string a = matrix(q + k, 20), b = matrix(37, q), other = matrix(k, k), ofQ = rows(q),
                      ofK = rows(k), both = rows(q + k);
    expectMatch(oneOp(
        {{"x", 20}, {"dy", 37}},
        factor("lora_A", "q", q, matrix(q, 20)) + "lora.param @other : " + other + "\n" +
            factor("lora_A", "k", k, matrix(k, 20)) + factor("lora_B", "b", q, b) +
            "lora.stack @a [@q, @k] : " + a + "\n",
        "%a = lora.use @a : " + a + "\n%b = lora.use @b : " + b + "\n%other = lora.use @other : " +
            other + "\n%t = lora.matmul nt %x, %a scale 1.0 : (tensor<?x20xf32>, " + a + ") -> " +
            both + "\n%tq = lora.columns %t from 0 : " + both + " to " + ofQ +
            "\n%tk = lora.columns %t from " + std::to_string(q) + " : " + both + " to " + ofK +
            "\n%dtq = lora.matmul nn %dy, %b scale 2.0 : (tensor<?x37xf32>, " + b + ") -> " + ofQ +
            "\n%dtk = lora.matmul nt %tk, %other scale 3.0 : (" + ofK + ", " + other + ") -> " +
            ofK + "\n%dt = lora.concat %dtq, %dtk : (" + ofQ + ", " + ofK + ") -> " + both +
            "\n%da = lora.matmul tn %dt, %x scale 1.0 : (" + both + ", tensor<?x20xf32>) -> " + a +
            "\nlora.gradient @a, %da : " + a +
            "\n%db = lora.matmul tn %dy, %tq scale 2.0 : (tensor<?x37xf32>, " + ofQ + ") -> " + b +
            "\nlora.gradient @b, %db : " + b +
            "\n%dother = lora.matmul tn %dtk, %tk scale 0.5 : (" + ofK + ", " + ofK + ") -> " +
            other + "\nlora.gradient @other, %dother : " + other +
            "\n%dx = lora.matmul nn %dt, %a scale 1.0 : (" + both + ", " + a +
            ") -> tensor<?x20xf32>\n" + twice("%dx", 20),
        "%out", rows(20)));
  }
}

// The products of an adapter, whose kernels differ with rank, depth and the tokens that are
// planned.
TEST(OneOp, AdaptersProducts) {
  for (auto [r, in, out] : {std::tuple(8, 64, 512),
                            {1, 64, 32},
                            {3, 96, 44},
                            {5, 64, 32},
                            {7, 40, 37},
                            {12, 96, 44},
                            {16, 512, 96},
                            {16, 37, 520},
                            {24, 64, 32},
                            {32, 72, 64},
                            {40, 32, 72},
                            {48, 64, 96},
                            {96, 32, 32},
                            {100, 37, 44}}) {
    const std::string a = "tensor<" + std::to_string(r) + "x" + std::to_string(in) + "xf32>",
                      b = "tensor<" + std::to_string(out) + "x" + std::to_string(r) + "xf32>";
    std::string text =
        oneOp({{"x", in}, {"dy", out}}, factors(r, a, b),
              "%a = lora.use @a : " + a + "\n%b = lora.use @b : " + b +
                  "\n%t = lora.matmul nt %x, %a scale 1.0 : (" + rows(in) + ", " + a + ") -> " +
                  rows(r) + "\n%dt = lora.matmul nn %dy, %b scale 2.0 : (" + rows(out) + ", " + b +
                  ") -> " + rows(r) + "\n%da = lora.matmul tn %dt, %x scale 1.0 : (" + rows(r) +
                  ", " + rows(in) + ") -> " + a + "\nlora.gradient @a, %da : " + a +
                  "\n%db = lora.matmul tn %dy, %t scale 2.0 : (" + rows(out) + ", " + rows(r) +
                  ") -> " + b + "\nlora.gradient @b, %db : " + b + "\n%out = lora.map %t, %dt : (" +
                  rows(r) + ", " + rows(r) + ") -> " + rows(r) + R"( {
    ^bb0(%p: f32, %q: f32):
      %s = arith.subf %p, %q : f32
      lora.yield %s : f32
    })",
              "%out", rows(r));
    expectMatch(text);
    const std::string planned = "lora.limits tokens ";
    size_t at = text.find(planned) + planned.size();
    expectMatch(text.replace(at, 2, "2600"));
  }
}

// Adapters of one shape whose ranks differ, one after another on one x: on a CPU each product is
// one kernel for all ranks of a tile's width.
TEST(OneOp, KernelsOfAllRanks) {
  const std::string w = "!lora.weight<44x44, nf4<64>>";
  std::string declare = "lora.frozen @w : " + w + "\n", body = "%w = lora.use @w : " + w + "\n",
              x = "%x";
  for (int r : {24, 1, 13, 40, 5, 100, 3, 7}) {
    const std::string n = std::to_string(r), a = "tensor<" + n + "x44xf32>",
                      b = "tensor<44x" + n + "xf32>", g = "tensor<" + n + "x" + n + "xf32>";
    auto of = [&](const std::string &name) { return name + n; };
    declare += factor("lora_A", of("a"), r, a) + factor("lora_B", of("b"), r, b);
    body += of("%a") + " = lora.use @" + of("a") + " : " + a + "\n" + of("%b") + " = lora.use @" +
            of("b") + " : " + b + "\n" + of("%t") + " = lora.matmul nt " + x + ", " + of("%a") +
            " scale 1.0 : (" + rows(44) + ", " + a + ") -> " + rows(r) + "\n" + of("%y") +
            " = lora.adapted_linear(" + x + ", %w) low_rank(" + of("%t") + ", " + of("%b") +
            ") scale 0.01 : (" + rows(44) + ", " + w + ", " + rows(r) + ", " + b + ") -> " +
            rows(44) + "\n" + of("%dt") + " = lora.matmul nn " + of("%y") + ", " + of("%b") +
            " scale 0.125 : (" + rows(44) + ", " + b + ") -> " + rows(r) + "\n" + of("%da") +
            " = lora.matmul tn " + of("%dt") + ", " + x + " scale 1.0 : (" + rows(r) + ", " +
            rows(44) + ") -> " + a + "\nlora.gradient @" + of("a") + ", " + of("%da") + " : " + a +
            "\n" + of("%g") + " = lora.matmul tn " + of("%b") + ", " + of("%b") + " scale 1.0 : (" +
            b + ", " + b + ") -> " + g + "\n" + of("%o") + ", " + of("%n") +
            " = lora.orthogonal_term " + of("%g") + " scale 2.0 : " + g + " -> " + g +
            ", tensor<1xf32>\n" + of("%db") + " = lora.matmul nn " + of("%b") + ", " + of("%o") +
            " scale 1.0 : (" + b + ", " + g + ") -> " + b + "\nlora.gradient @" + of("b") + ", " +
            of("%db") + " : " + b + "\n" + of("%dx") + " = lora.adapted_linear_backward(" +
            of("%y") + ", %w) low_rank(" + of("%dt") + ", " + of("%a") + ") : (" + rows(44) + ", " +
            w + ", " + rows(r) + ", " + a + ") -> " + rows(44) + "\n" + of("%x") + " = lora.map " +
            of("%dx") + " : (" + rows(44) + ") -> " + rows(44) +
            " {\n^bb0(%e: f32):\n%s = arith.constant 0.03125 : f32\n%p = arith.mulf %e, %s : "
            "f32\nlora.yield %p : f32\n}\n";
    x = of("%x");
  }
  if (std::string why = whatIsMissing(); !why.empty())
    GTEST_SKIP() << why;
  // A device's orthogonality term is multiplied by the step's loss_scale, which is 1 here.
  std::unique_ptr<PlannedProgram> program =
      makeProgram(oneOp({{"x", 44}}, declare, body, x, rows(44)));
  if (looserThanFloat32() == 1) { // a CPU's: tiles 8 or 16 wide, by the rank
    EXPECT_EQ(program->kernelsOf("linear_forward"), 1);
    EXPECT_EQ(program->kernelsOf("linear_backward"), 1);
    EXPECT_EQ(program->kernelsOf("matmul_nt"), 2);
    EXPECT_EQ(program->kernelsOf("orthogonal_term"), 1);
  }
  for (const auto &batch : batches())
    program->expectMatch("f", batch, {}, 1e-4 * looserThanFloat32());
}

// The gradients of A and B through the gradient of W, whose rows are no tokens.
TEST(OneOp, GradientsThroughW) {
  for (auto [in, out, r] : {std::tuple(20, 37, 9), {32, 40, 16}, {40, 64, 24}, {37, 20, 3}}) {
    auto matrix = [](int m, int n) {
      return "tensor<" + std::to_string(m) + "x" + std::to_string(n) + "xf32>";
    };
    const std::string a = matrix(r, in), b = matrix(out, r), z = matrix(out, in);
    expectMatch(oneOp({{"x", in}, {"dy", out}}, factors(r, a, b),
                      "%a = lora.use @a : " + a + "\n%b = lora.use @b : " + b +
                          "\n%z = lora.matmul tn %dy, %x scale 1.0 : (" + rows(out) + ", " +
                          rows(in) + ") -> " + z + "\n%da = lora.matmul tn %b, %z scale 2.0 : (" +
                          b + ", " + z + ") -> " + a +
                          "\n%db = lora.matmul nt %z, %a scale 2.0 : (" + z + ", " + a + ") -> " +
                          b + "\nlora.gradient @a, %da : " + a + "\nlora.gradient @b, %db : " + b +
                          "\n" + twice("%x", in),
                      "%out", rows(in)));
  }
}

// The term of A and of B, behind which A begins where no 16 bytes are one load.
TEST(OneOp, OrthogonalTerm) {
  for (auto [in, out, r] : {std::tuple(20, 37, 1),
                            {20, 37, 5},
                            {24, 37, 3},
                            {32, 40, 16},
                            {72, 44, 33},
                            {37, 20, 100}}) {
    auto matrix = [](int m, int n) {
      return "tensor<" + std::to_string(m) + "x" + std::to_string(n) + "xf32>";
    };
    const std::string a = matrix(r, in), b = matrix(out, r), g = matrix(r, r);
    std::unique_ptr<PlannedProgram> program = makeProgram(oneOp(
        {{"x", in}}, factor("lora_B", "b", r, b) + factor("lora_A", "a", r, a),
        "%a = lora.use @a : " + a + "\n%b = lora.use @b : " + b +
            "\n%ga = lora.matmul nt %a, %a scale 1.0 : (" + a + ", " + a + ") -> " + g +
            "\n%da, %na = lora.orthogonal_term %ga scale 2.0 : " + g + " -> " + g +
            ", tensor<1xf32>\n%ma = lora.matmul nn %da, %a scale 1.0 : (" + g + ", " + a + ") -> " +
            a + "\nlora.gradient @a, %ma : " + a + "\n%gb = lora.matmul tn %b, %b scale 1.0 : (" +
            b + ", " + b + ") -> " + g + "\n%db, %nb = lora.orthogonal_term %gb scale 0.5 : " + g +
            " -> " + g + ", tensor<1xf32>\n%mb = lora.matmul nn %b, %db scale 1.0 : (" + b + ", " +
            g + ") -> " + b + "\nlora.gradient @b, %mb : " + b + "\n" + twice("%x", in),
        "%out", rows(in)));
    program->expectMatch("f", batches().front(), {}, 1e-5 * looserThanFloat32());
  }
}

// Epilogues, at a depth of one block and of several: the product itself is read elsewhere, or not.
TEST(OneOp, Epilogues) {
  const std::string map = R"(
      %m:2 = lora.map %g, %y : (tensor<?x37xf32>, tensor<?x37xf32>) -> (tensor<?x37xf32>, tensor<?x37xf32>) {
      ^bb0(%a: f32, %b: f32):
        %p = arith.mulf %a, %b : f32
        %q = arith.subf %b, %a : f32
        lora.yield %p, %q : f32, f32
      }
)";
  const std::string after = R"(
    %out = lora.map %f#0, %f#1 : (tensor<?x37xf32>, tensor<?x37xf32>) -> tensor<?x37xf32> {
    ^bb0(%a: f32, %b: f32):
      %s = arith.subf %a, %b : f32
      lora.yield %s : f32
    })";
  for (auto [k, residual] : {std::pair(44, "residual(%g) "), {44, ""}, {700, "residual(%g) "}}) {
    const std::string forward = "!lora.weight<37x" + std::to_string(k) + ", nf4<64>>",
                      backward = "!lora.weight<" + std::to_string(k) + "x37, nf4<64>>";
    expectMatch(oneOp({{"x", k}, {"g", 37}}, "lora.frozen @w : " + forward + "\n",
                      "%w = lora.use @w : " + forward + R"(
    %f:3 = lora.fused : tensor<?x37xf32>, tensor<?x37xf32>, tensor<?x37xf32> {
      %y = lora.adapted_linear(%x, %w) )" +
                          residual + "scale 1.0 : (" + rows(k) + ", " + forward +
                          (*residual ? ", tensor<?x37xf32>" : "") + ") -> tensor<?x37xf32>" + map +
                          "lora.yield %m#0, %m#1, %y : tensor<?x37xf32>, tensor<?x37xf32>, "
                          "tensor<?x37xf32>\n}" +
                          R"(
    %out = lora.map %f#0, %f#1, %f#2 : (tensor<?x37xf32>, tensor<?x37xf32>, tensor<?x37xf32>) -> tensor<?x37xf32> {
    ^bb0(%a: f32, %b: f32, %c: f32):
      %r = arith.subf %a, %b : f32
      %s = arith.addf %r, %c : f32
      lora.yield %s : f32
    })",
                      "%out", rows(37)),
                1e-4);
    expectMatch(oneOp({{"dy", k}, {"g", 37}}, "lora.frozen @w : " + backward + "\n",
                      "%w = lora.use @w : " + backward + R"(
    %f:2 = lora.fused : tensor<?x37xf32>, tensor<?x37xf32> {
      %y = lora.adapted_linear_backward(%dy, %w) : ()" +
                          rows(k) + ", " + backward + ") -> tensor<?x37xf32>" + map +
                          "lora.yield %m#0, %m#1 : tensor<?x37xf32>, tensor<?x37xf32>\n}" + after,
                      "%out", rows(37)),
                1e-4);
  }
}

TEST(OneOp, RopeBehindAProduct) {
  for (auto [heads, d] : {std::pair(2, 24), {3, 32}, {2, 128}}) {
    const std::string n = std::to_string(heads * d), w = "!lora.weight<" + n + "x20, f32>",
                      flat = "tensor<?x" + n + "xf32>",
                      split =
                          "tensor<?x" + std::to_string(heads) + "x" + std::to_string(d) + "xf32>";
    for (const char *inverse : {"", "inverse "})
      expectMatch(oneOp({{"x", 20}}, ropeOf(d) + "lora.frozen @w : " + w + "\n",
                        "%w = lora.use @w : " + w + R"(
    %r = lora.fused : )" + split +
                            R"( {
      %y = lora.adapted_linear(%x, %w) scale 1.0 : (tensor<?x20xf32>, )" +
                            w + ") -> " + flat + R"(
      %v = lora.view %y : )" +
                            flat + " to " + split + R"(
      %t = lora.rope %v, %positions by @rope )" +
                            inverse + ": (" + split + ", tensor<?xi32>) -> " + split + R"(
      lora.yield %t : )" + split +
                            R"(
    }
    %flat = lora.view %r : )" +
                            split + " to " + flat + "\n" + twice("%flat", heads * d),
                        "%out", rows(heads * d)));
  }
}

// Products that read one x: side by side, with and without an update, of several ranks, one turned
// by rope; then what they give added up by products of their own.
TEST(OneOp, ProductsOfOneX) {
  const int k = 140, sizes[] = {64, 37, 130}, ranks[] = {5, 0, 37};
  for (const char *format : {"nf4<64, dq256>", "bf16"}) {
    std::string declare = ropeOf(32), use, body, sum;
    for (int i = 0; i < 3; ++i) {
      std::string at = std::to_string(i), n = std::to_string(sizes[i]),
                  r = std::to_string(ranks[i]), w = "!lora.weight<" + n + "x140, " + format + ">",
                  v = "!lora.weight<24x" + n + ", f32>", b = "tensor<" + n + "x" + r + "xf32>",
                  t = "tensor<?x" + r + "xf32>", y = rows(sizes[i]);
      declare += "lora.frozen @w" + at + " : " + w + "\nlora.frozen @v" + at + " : " + v + "\n";
      use += "%w" + at + " = lora.use @w" + at + " : " + w + "\n%v" + at + " = lora.use @v" + at +
             " : " + v + "\n";
      if (ranks[i]) {
        declare += "lora.param @b" + at + " : " + b + "\n";
        use += "%b" + at + " = lora.use @b" + at + " : " + b + "\n";
      }
      std::string product = "lora.adapted_linear(%x, %w" + at + ") " +
                            (ranks[i] ? "low_rank(%t" + at + ", %b" + at + ") " : "") + "scale " +
                            (ranks[i] ? "1.75" : "1.0") + " : (tensor<?x140xf32>, " + w +
                            (ranks[i] ? ", " + t + ", " + b : "") + ") -> " + y;
      if (i == 0)
        body += R"(%r = lora.fused : tensor<?x2x32xf32> {
      %y = )" + product +
                R"(
      %v = lora.view %y : tensor<?x64xf32> to tensor<?x2x32xf32>
      %turned = lora.rope %v, %positions by @rope : (tensor<?x2x32xf32>, tensor<?xi32>) -> tensor<?x2x32xf32>
      lora.yield %turned : tensor<?x2x32xf32>
    }
)";
      else
        body += "%y" + at + " = " + product + "\n";
      if (i == 0)
        sum += "%y0 = lora.view %r : tensor<?x2x32xf32> to tensor<?x64xf32>\n";
      sum += "%s" + at + " = lora.adapted_linear(%y" + at + ", %v" + at + ") " +
             (i ? "residual(%s" + std::to_string(i - 1) + ") " : "") + "scale 1.0 : (" + y + ", " +
             v + (i ? ", tensor<?x24xf32>" : "") + ") -> tensor<?x24xf32>\n";
    }
    expectMatch(
        oneOp({{"x", k}, {"t0", 5}, {"t2", 37}}, declare, use + body + sum, "%s2", rows(24)));
  }
}

// A map of a product with the one before it: both are formed in turn.
TEST(OneOp, GateAndUp) {
  for (int n : {37, 200}) {
    std::string y = rows(n), w = "!lora.weight<" + std::to_string(n) + "x140, nf4<64>>",
                b = "tensor<" + std::to_string(n) + "x20xf32>";
    for (bool keeps : {false, true})
      expectMatch(oneOp({{"x", 140}, {"t", 20}},
                        "lora.frozen @g : " + w + "\nlora.frozen @u : " + w +
                            "\nlora.param @b : " + b,
                        "%g = lora.use @g : " + w + "\n%u = lora.use @u : " + w +
                            "\n%b = lora.use @b : " + b + R"(
    %gate = lora.adapted_linear(%x, %g) scale 1.0 : (tensor<?x140xf32>, )" +
                            w + ") -> " + y + R"(
    %f)" + (keeps ? ":2" : "") +
                            " = lora.fused : " + y + (keeps ? ", " + y : "") + R"( {
      %y = lora.adapted_linear(%x, %u) low_rank(%t, %b) scale 0.5 : (tensor<?x140xf32>, )" +
                            w + ", tensor<?x20xf32>, " + b + ") -> " + y + R"(
      %m = lora.map %gate, %y : ()" +
                            y + ", " + y + ") -> " + y + R"( {
      ^bb0(%a: f32, %c: f32):
        %p = arith.mulf %a, %c : f32
        lora.yield %p : f32
      }
      lora.yield %m)" + (keeps ? ", %y : " + y + ", " + y : " : " + y) +
                            R"(
    }
    %out = lora.map )" + (keeps ? "%f#0, %f#1, %gate" : "%f, %f, %f") +
                            " : (" + y + ", " + y + ", " + y + ") -> " + y + R"( {
    ^bb0(%a: f32, %c: f32, %e: f32):
      %s = arith.subf %a, %c : f32
      %z = arith.addf %s, %e : f32
      lora.yield %z : f32
    })",
                        "%out", y),
                  1e-4);
  }
}

// Products that add to one dx, one of them with an update.
TEST(OneOp, GradientsOfOneX) {
  for (const char *format : {"nf4<64, dq256>", "bf16"})
    for (int k : {44, 192}) {
      auto type = [&](int n) {
        return "!lora.weight<" + std::to_string(n) + "x" + std::to_string(k) + ", " + format + ">";
      };
      std::string x = rows(k), a = "tensor<20x" + std::to_string(k) + "xf32>";
      expectMatch(oneOp({{"dq", 192}, {"dk", 37}, {"dv", 130}, {"dt", 20}},
                        "lora.frozen @q : " + type(192) + "\nlora.frozen @k : " + type(37) +
                            "\nlora.frozen @v : " + type(130) + "\nlora.param @a : " + a,
                        "%q = lora.use @q : " + type(192) + "\n%k = lora.use @k : " + type(37) +
                            "\n%v = lora.use @v : " + type(130) + "\n%a = lora.use @a : " + a + R"(
    %x0 = lora.adapted_linear_backward(%dv, %v) : (tensor<?x130xf32>, )" +
                            type(130) + ") -> " + x + R"(
    %x1 = lora.adapted_linear_backward(%dk, %k) low_rank(%dt, %a) onto(%x0) : (tensor<?x37xf32>, )" +
                            type(37) + ", tensor<?x20xf32>, " + a + ", " + x + ") -> " + x + R"(
    %x2 = lora.adapted_linear_backward(%dq, %q) onto(%x1) : (tensor<?x192xf32>, )" +
                            type(192) + ", " + x + ") -> " + x + "\n" + twice("%x2", k),
                        "%out", x));
    }
}

TEST(OneOp, Dropout) {
  expectMatch(oneOp({{"x", 37}}, "", "%y = lora.dropout %x p 3.0e-01 stream 9 : tensor<?x37xf32>",
                    "%y", rows(37)));
}

TEST(OneOp, CrossEntropy) {
  for (const char *format : {"f32", "f16"}) {
    std::string w = std::string("!lora.weight<37x20, ") + format + ">",
                declare = "lora.frozen @w : " + w + "\n";
    std::string use = "%w = lora.use @w : " + w + "\n",
                operands = " %h, %w, %labels : (tensor<?x20xf32>, " + w + ", tensor<?xi32>) -> ";
    const std::string capped = R"( logits {
    ^bb0(%z: f32):
      %cap = arith.constant 0.75 : f32
      %part = arith.divf %z, %cap : f32
      %tanh = math.tanh %part : f32
      %s = arith.mulf %cap, %tanh : f32
      lora.yield %s : f32
    })";
    for (const std::string &logits : {std::string(), capped}) {
      SCOPED_TRACE(logits);
      expectMatch(oneOp({{"h", 20}}, declare,
                        use + "%l = lora.cross_entropy" + operands + "tensor<?xf32>" + logits, "%l",
                        "tensor<?xf32>"));
      std::string backward = use + "%l, %dh = lora.cross_entropy_backward" + operands +
                             "(tensor<?xf32>, tensor<?x20xf32>)" + logits + "\n";
      expectMatch(oneOp({{"h", 20}}, declare, backward, "%l", "tensor<?xf32>"));
      expectMatch(oneOp({{"h", 20}}, declare, backward + twice("%dh", 20), "%out", rows(20)));
    }
  }
}
