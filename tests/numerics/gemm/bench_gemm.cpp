// GFLOP/s of the GEMM families at SmolLM2-135M's shapes, one thread, beside the FMA peak measured
// in the same window.
//   bench_gemm [cpu] [filter] [tiles a call, as a thread pool would cut; 0: all]

#include "tests/numerics/gemm/PackedMatrix.h"
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>
#include <immintrin.h>

using namespace lorac;
using namespace lorac::testing;

// CPU time of this thread: what other processes take does not count.
static double seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

// 12 independent chains, as many as two FMA units with four cycles of latency can use.
__attribute__((target("avx2,fma"), noinline)) static double peakOnce() {
  __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(1e-3f);
  __m256 a = y, b = y, c = y, d = y, e = y, f = y, g = y, h = y, i = y, j = y, k = y, l = y;
  const long steps = 2000000;
  double start = seconds();
  for (long s = 0; s < steps; ++s) {
    a = _mm256_fmadd_ps(a, x, y), b = _mm256_fmadd_ps(b, x, y), c = _mm256_fmadd_ps(c, x, y),
    d = _mm256_fmadd_ps(d, x, y);
    e = _mm256_fmadd_ps(e, x, y), f = _mm256_fmadd_ps(f, x, y), g = _mm256_fmadd_ps(g, x, y),
    h = _mm256_fmadd_ps(h, x, y);
    i = _mm256_fmadd_ps(i, x, y), j = _mm256_fmadd_ps(j, x, y), k = _mm256_fmadd_ps(k, x, y),
    l = _mm256_fmadd_ps(l, x, y);
    __asm__ volatile(""
                     : "+x"(a), "+x"(b), "+x"(c), "+x"(d), "+x"(e), "+x"(f), "+x"(g), "+x"(h),
                       "+x"(i), "+x"(j), "+x"(k), "+x"(l));
  }
  return steps * 12 * 16.0 / (seconds() - start) / 1e9;
}

namespace {

struct Job {
  std::string name;
  const CompiledKernels::Kernel *kernel;
  std::vector<void *> buffers;
  int64_t rows;
  double best = 1e30, bestShare = 0;
};

std::string i64(int64_t v) { return std::to_string(v) + " : i64"; }

} // namespace

int main(int argc, char **argv) {
  std::string cpu = argc > 1 ? argv[1] : "native", filter = argc > 2 ? argv[2] : "";
  int64_t tilesOfCall = argc > 3 ? std::atoll(argv[3]) : 0;
  CompiledKernels kernels(cpu);
  std::vector<PackedMatrix> weights;
  weights.reserve(64);
  std::vector<Aligned> memory;
  memory.reserve(256);
  std::vector<Job> jobs;
  auto floats = [&](int64_t count) {
    Aligned &a = memory.emplace_back(count * 4);
    for (int64_t i = 0; i < count; ++i)
      a.floats()[i] = float((i * 2654435761u >> 8) % 200) * 0.01f - 1.0f;
    return a.data();
  };
  auto add = [&](const std::string &label, const std::string &family, const std::string &params,
                 std::vector<void *> buffers, int64_t rows) {
    if (label.find(filter) == std::string::npos)
      return;
    std::string name = "k" + std::to_string(jobs.size());
    kernels.add(name, family, params);
    jobs.push_back({label, &kernels[name], std::move(buffers), rows});
  };

  struct {
    int64_t n, k, rows;
  } shapes[] = {
      {576, 576, 1024}, {192, 576, 1024}, {1536, 576, 1024}, {576, 1536, 1024}, {49152, 576, 128}};
  for (auto [n, k, rows] : shapes)
    for (const char *format : {"f32", "int4<32, f16, min>", "nf4<64, dq256>", "int8<32, f16>"}) {
      std::string label =
          std::to_string(rows) + "x" + std::to_string(n) + "x" + std::to_string(k) + " " + format;
      if (n > 2000 && std::string(format) != "f32" && std::string(format) != "int8<32, f16>")
        continue;
      if (("forward " + label).find(filter) == std::string::npos &&
          ("backward " + label).find(filter) == std::string::npos)
        continue;
      PackedMatrix &w = weights.emplace_back(format, n, k, 1);
      std::vector<void *> parts;
      for (Aligned &part : w.parts)
        parts.push_back(part.data());
      w.values = {};
      std::string common =
          "n = " + i64(n) + ", k = " + i64(k) + ", format = \"" + format + "\", rank = 0 : i64, ";
      std::vector<void *> forward{floats(rows * k)}, backward{floats(rows * n)};
      forward.insert(forward.end(), parts.begin(), parts.end());
      backward.insert(backward.end(), parts.begin(), parts.end());
      forward.push_back(floats(rows * n));
      backward.push_back(floats(rows * k));
      add("forward " + label, "linear_forward",
          common + "ldx = " + i64(k) + ", ldy = " + i64(n) +
              ", ldt = 16 : i64, ldr = 16 : i64, scale = 1.0 : f64, residual = 0 : i64",
          forward, rows);
      add("backward " + label, "linear_backward",
          common + "lddy = " + i64(n) + ", lddx = " + i64(k) +
              ", lddt = 16 : i64, accumulate = 0 : i64",
          backward, rows);
    }
  const int64_t rows = 1024, r = 16;
  for (int64_t n : {576, 1536}) {
    auto small = [&](const char *family, const char *first, int64_t i, int64_t j, int64_t lda,
                     int64_t ldb, int64_t ldc, double scale, std::vector<void *> buffers,
                     bool accumulate) {
      add(std::string(family) + " " + std::to_string(i) + " " + std::to_string(j), family,
          std::string(first) + " = " + i64(i) + ", j = " + i64(j) + ", lda = " + i64(lda) +
              ", ldb = " + i64(ldb) + ", ldc = " + i64(ldc) + ", scale = " + std::to_string(scale) +
              " : f64, accumulate = " + i64(accumulate) + ", exact = 0 : i64",
          std::move(buffers), rows);
    };
    void *wide = floats(rows * n), *narrow = floats(rows * r), *factor = floats(n * r);
    small("matmul_nt", "k", n, r, n, n, r, 1, {wide, factor, narrow}, false); // t = x·Aᵀ
    small("matmul_nn", "k", n, r, n, r, r, 2, {wide, factor, narrow}, false); // dt = scale·dy·B
    small("matmul_nn", "k", r, n, r, n, n, 1, {narrow, factor, wide}, true);  // dx += dt·A
    small("matmul_tn", "i", r, n, r, n, n, 1, {narrow, wide, factor}, true);  // dA = dtᵀ·x
    small("matmul_tn", "i", n, r, n, r, r, 2, {wide, narrow, factor}, true);  // dB = scale·dyᵀ·t
  }
  double begin = seconds();
  kernels.compile();
  std::printf("%zu kernels for %s compiled in %.1f s (this thread)\n", jobs.size(), cpu.c_str(),
              seconds() - begin);

  double peak = 0;
  for (int round = 0; round < 7; ++round)
    for (Job &job : jobs) {
      double now = std::max(peakOnce(), peakOnce());
      peak = std::max(peak, now);
      Aligned scratch(job.kernel->shape.scratch);
      LoracStep step{job.rows, 1, 1.0f, 0, 0, 0};
      int repeats = std::max<int64_t>(1, 20000000 / (job.kernel->flops * job.rows + 1));
      double start = seconds();
      for (int i = 0; i < repeats; ++i)
        for (int64_t tile = 0, tiles = job.kernel->tiles(job.rows), end; tile < tiles; tile = end) {
          end = tilesOfCall > 0 ? std::min(tiles, tile + tilesOfCall) : tiles;
          job.kernel->function(job.buffers.data(), &step, job.rows, tile, end, scratch.data(),
                               nullptr);
        }
      double took = (seconds() - start) / repeats,
             gflops = job.kernel->flops * job.rows / took / 1e9;
      job.best = std::min(job.best, took);
      job.bestShare = std::max(job.bestShare, gflops / now);
    }
  std::printf("FMA peak %.1f GFLOP/s\n%-38s %9s %9s %8s %s\n", peak, "kernel", "ms", "GFLOP/s",
              "of peak", "best share in one window");
  for (Job &job : jobs) {
    double gflops = job.kernel->flops * job.rows / job.best / 1e9;
    std::printf("%-38s %9.3f %9.1f %7.0f%% %7.0f%%\n", job.name.c_str(), job.best * 1e3, gflops,
                100 * gflops / peak, 100 * job.bestShare);
  }
}
