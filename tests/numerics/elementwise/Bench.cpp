// Times of this folder's kernels at the sizes of SmolLM2-135M, one thread, in CPU time: the machine
// may be shared.

#include "tests/numerics/elementwise/KernelFixture.h"

#include <cstdio>
#include <ctime>

using namespace lorac;
using namespace lorac::testing;

namespace {

constexpr int64_t kTokens = 1024;

double cpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec + now.tv_nsec * 1e-9;
}

/// The shortest of many runs, within about half a second.
double seconds(const Kernel &kernel, const std::vector<void *> &buffers, int64_t rows,
               const LoracStep &step) {
  Array<float> scratch(std::vector<float>(cpu::roundUp(kernel.shape().scratch, 64) / 4));
  int64_t tiles = kernel.tiles(rows, step.segments);
  double best = 1e30, begin = cpuSeconds();
  for (int i = 0; i < 3 || (cpuSeconds() - begin < 0.5 && i < 300); ++i) {
    double start = cpuSeconds();
    kernel.function()(buffers.data(), &step, rows, 0, tiles, scratch.data(), nullptr);
    best = std::min(best, cpuSeconds() - start);
  }
  return best;
}

void report(const char *what, double time, double flops, double bytes) {
  std::printf("%-44s %9.3f ms %8.1f GF/s %8.1f GB/s\n", what, time * 1e3, flops / time * 1e-9,
              bytes / time * 1e-9);
}

void attention(const std::string &cpu, int64_t segments) {
  constexpr int64_t heads = 9, kvHeads = 3, dim = 64;
  int64_t length = kTokens / segments;
  std::mt19937 random(1);
  Padded q(kTokens, heads * dim, random), k(kTokens, kvHeads * dim, random),
      v(kTokens, kvHeads * dim, random), dout(kTokens, heads * dim, random),
      o(kTokens, heads * dim), lse(kTokens, heads), dq(kTokens, heads * dim),
      dk(kTokens, kvHeads * dim), dv(kTokens, kvHeads * dim);
  std::vector<int32_t> starts;
  for (int64_t s = 0; s <= segments; ++s)
    starts.push_back(s * length);
  Array<int32_t> cuts(starts);
  LoracStep step{};
  step.tokens = kTokens;
  step.segments = segments;
  std::string params = llvm::formatv("heads = 9 : i64, kv_heads = 3 : i64, head_dim = 64 : i64, "
                                     "ldq = 576 : i64, ldk = 192 : i64, ldv = 192 : i64, "
                                     "ldo = 576 : i64, ldl = 16 : i64, lddo = 576 : i64, lddq = "
                                     "576 : i64, lddk = 192 : i64, lddv = 192 : i64, "
                                     "scale = 0.125 : f64, max_segment = {0} : i64",
                                     length);
  double pairs = 1.0 * heads * segments * length * (length + 1) / 2;
  std::string name = llvm::formatv(" 9/3 heads of 64, {0} x {1}", segments, length);
  Kernel forward = Kernel::compile(cpu, "attention_forward", params);
  std::vector<void *> buffers{q.data(), k.data(), v.data(), cuts.data(), o.data(), lse.data()};
  report(("attention_forward" + name).c_str(), seconds(forward, buffers, kTokens, step),
         pairs * 4 * dim, 0);
  Kernel backward = Kernel::compile(cpu, "attention_backward", params);
  buffers.insert(buffers.end(), {dout.data(), dq.data(), dk.data(), dv.data()});
  report(("attention_backward" + name).c_str(), seconds(backward, buffers, kTokens, step),
         pairs * 10 * dim, 0);
}

void crossEntropy(const std::string &cpu, int64_t rows, bool backward) {
  constexpr int64_t vocab = 49152;
  std::mt19937 random(1);
  Padded logits(rows, vocab, random);
  Array<int32_t> labels(std::vector<int32_t>(rows, 77));
  Array<float> loss{std::vector<float>(rows)};
  LoracStep step{};
  step.loss_scale = 1;
  Kernel kernel =
      Kernel::compile(cpu, "cross_entropy",
                      llvm::formatv("vocab = 49152 : i64, ld = 49152 : i64, backward = {0}",
                                    backward ? "true" : "false"));
  double bytes = rows * vocab * 4.0 * (backward ? 6 : 2);
  report(backward ? "cross_entropy backward 128 x 49152" : "cross_entropy forward 128 x 49152",
         seconds(kernel, {logits.data(), labels.data(), loss.data()}, rows, step), 0, bytes);
}

void rowWise(const std::string &cpu) {
  constexpr int64_t n = 576, wide = 1536;
  std::mt19937 random(1);
  Padded x(kTokens, n, random), dy(kTokens, n, random), dx(kTokens, n, random), y(kTokens, n);
  Array<float> w(Padded(1, n, random).dense());
  std::string params =
      "n = 576 : i64, ldx = 576 : i64, ldy = 576 : i64, lddy = 576 : i64, lddx = 576 : i64, "
      "eps = 1.0e-5 : f64, accumulate = true";
  double bytes = kTokens * n * 4.0;
  report("rms_norm_forward 1024 x 576",
         seconds(Kernel::compile(cpu, "rms_norm_forward", params), {x.data(), w.data(), y.data()},
                 kTokens, {}),
         0, 2 * bytes);
  report("rms_norm_backward 1024 x 576",
         seconds(Kernel::compile(cpu, "rms_norm_backward", params),
                 {x.data(), w.data(), dy.data(), dx.data()}, kTokens, {}),
         0, 4 * bytes);
  Array<int32_t> positions{std::vector<int32_t>(kTokens)};
  Array<float> table(std::vector<float>(64, 0.5f));
  report("rope 1024 x 9 x 64",
         seconds(Kernel::compile(
                     cpu, "rope",
                     "heads = 9 : i64, head_dim = 64 : i64, ldx = 576 : i64, ldy = 576 : i64, "
                     "inverse = false"),
                 {x.data(), positions.data(), table.data(), y.data()}, kTokens, {}),
         0, 2 * bytes);
  report(
      "dropout 1024 x 576",
      seconds(Kernel::compile(cpu, "dropout",
                              "p = 0.1 : f64, cols = 576 : i64, ldx = 576 : i64, ldy = 576 : i64, "
                              "stream = 1 : i64, accumulate = false"),
              {x.data(), y.data()}, kTokens, {}),
      0, 2 * bytes);

  Padded gate(kTokens, wide, random), up(kTokens, wide, random), h(kTokens, wide);
  const char *swiGlu = R"(
^bb0(%gate: f32, %up: f32):
  %one = arith.constant 1.0 : f32
  %minus = arith.negf %gate : f32
  %e = math.exp %minus : f32
  %d = arith.addf %one, %e : f32
  %s = arith.divf %gate, %d : f32
  %y = arith.mulf %s, %up : f32
  lora.yield %y : f32)";
  report("map SwiGLU 1024 x 1536",
         seconds(Kernel::compile(cpu, "map",
                                 "cols = 1536 : i64, ins = 2 : i64, outs = 1 : i64, lds = "
                                 "array<i64: 1536, 1536, 1536>",
                                 swiGlu),
                 {gate.data(), up.data(), h.data()}, kTokens, {}),
         0, 3 * kTokens * wide * 4.0);
  const char *sum = R"(
^bb0(%a: f32, %b: f32):
  %s = arith.addf %a, %b : f32
  lora.yield %s : f32)";
  report("map a + b 1024 x 576",
         seconds(
             Kernel::compile(
                 cpu, "map",
                 "cols = 576 : i64, ins = 2 : i64, outs = 1 : i64, lds = array<i64: 576, 576, 576>",
                 sum),
             {x.data(), dy.data(), y.data()}, kTokens, {}),
         0, 3 * bytes);
}

} // namespace

int main(int argc, char **argv) {
  std::string cpu = argc > 1 ? argv[1] : "native";
  attention(cpu, 4);
  attention(cpu, 1);
  attention(cpu, 16);
  crossEntropy(cpu, 128, false);
  crossEntropy(cpu, 128, true);
  rowWise(cpu);
}
