// The roofs that `make bench` measures against: multiply-adds from registers, all threads at once,
// in every width that this CPU has. fma_peak THREADS prints one line of JSON: GFLOP/s by name, the
// widest vectors of f32 last among those of f32.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

using Work = void (*)(long rounds);
struct Roof {
  const char *name;
  Work work;
  double flopsOfRound;
};

// 12 independent chains hide the latency of two FMA units. Named one by one: g++ keeps an array of
// them in memory. The empty asm keeps them in registers and the loop in place.
#define TWELVE(X) X(a) X(b) X(c) X(d) X(e) X(f) X(g) X(h) X(i) X(j) X(k) X(l)
#define DECLARE(name) auto name = start;
#define KEEP(name) asm volatile("" : "+v"(name));

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) void avx2(long rounds) {
  const __m256 factor = _mm256_set1_ps(0.999f), step = _mm256_set1_ps(0.001f), start = step;
  TWELVE(DECLARE)
  for (long round = 0; round < rounds; ++round) {
#define MULTIPLY(name) name = _mm256_fmadd_ps(name, factor, step);
    TWELVE(MULTIPLY)
#undef MULTIPLY
#define KEEP256(name) asm volatile("" : "+x"(name));
    TWELVE(KEEP256)
  }
}

__attribute__((target("avx512f"))) void avx512(long rounds) {
  const __m512 factor = _mm512_set1_ps(0.999f), step = _mm512_set1_ps(0.001f), start = step;
  TWELVE(DECLARE)
  for (long round = 0; round < rounds; ++round) {
#define MULTIPLY(name) name = _mm512_fmadd_ps(name, factor, step);
    TWELVE(MULTIPLY)
#undef MULTIPLY
    TWELVE(KEEP)
  }
}

__attribute__((target("avx512f,avx512bf16"))) void dotBf16(long rounds) {
  const __m512 start = _mm512_setzero_ps();
  const __m512bh x = _mm512_cvtne2ps_pbh(start, start);
  TWELVE(DECLARE)
  for (long round = 0; round < rounds; ++round) {
#define MULTIPLY(name) name = _mm512_dpbf16_ps(name, x, x);
    TWELVE(MULTIPLY)
#undef MULTIPLY
    TWELVE(KEEP)
  }
}

// Four tiles of sums, two of each factor: as a product of matrices uses them.
__attribute__((target("amx-tile,amx-bf16"))) void tilesBf16(long rounds) {
  struct alignas(64) {
    uint8_t palette = 1, startRow = 0, reserved[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};
  } shape;
  for (int tile = 0; tile < 8; ++tile)
    shape.bytes[tile] = 64, shape.rows[tile] = 16;
  asm volatile("ldtilecfg %0" ::"m"(shape)); // g++ 12's intrinsic drops the stores to its argument
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (long round = 0; round < rounds; ++round) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
}

bool cpuHasTiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 22 & 1) || !(d >> 24 & 1))
    return false;
  return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tiles */) == 0;
}

bool cpuHasDotBf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __builtin_cpu_supports("avx512f") && __get_cpuid_count(7, 1, &a, &b, &c, &d) &&
         (a >> 5 & 1);
}
#endif

typedef float Portable __attribute__((vector_size(16)));
void portable(long rounds) {
  const Portable factor = {0.999f, 0.999f, 0.999f, 0.999f}, step = {0.001f, 0.001f, 0.001f, 0.001f},
                 start = step;
  TWELVE(DECLARE)
  for (long round = 0; round < rounds; ++round) {
#define MULTIPLY(name) name = name * factor + step;
    TWELVE(MULTIPLY)
#undef MULTIPLY
#if defined(__x86_64__)
    TWELVE(KEEP256)
#else
#define KEEPANY(name) asm volatile("" : "+w"(name));
    TWELVE(KEEPANY)
#endif
  }
}

std::vector<Roof> roofs() {
  std::vector<Roof> found{{"f32 in 128 bits", portable, 2.0 * 4 * 12}};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    found.push_back({"f32 in 256 bits (AVX2)", avx2, 2.0 * 8 * 12});
  if (__builtin_cpu_supports("avx512f"))
    found.push_back({"f32 in 512 bits (AVX-512)", avx512, 2.0 * 16 * 12});
  if (cpuHasDotBf16())
    found.push_back({"bf16 dot products (VDPBF16PS)", dotBf16, 2.0 * 32 * 12});
  if (cpuHasTiles())
    found.push_back({"bf16 tiles (AMX)", tilesBf16, 4.0 * 2 * 16 * 16 * 32});
#endif
  return found;
}

double secondsOf(const Roof &roof, int threads, long rounds) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> pool;
  for (int i = 0; i < threads; ++i)
    pool.emplace_back(roof.work, rounds);
  for (std::thread &thread : pool)
    thread.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

} // namespace

int main(int argc, char **argv) {
  const int threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : 1;
  std::string text;
  for (const Roof &roof : roofs()) {
    long rounds = 100'000;
    while (secondsOf(roof, threads, rounds) < 0.05)
      rounds *= 2;
    double best = 0;
    for (int attempt = 0; attempt < 5; ++attempt)
      best = std::max(best, roof.flopsOfRound * double(rounds) * threads /
                                secondsOf(roof, threads, rounds));
    char row[128];
    std::snprintf(row, sizeof row, "%s\"%s\": %.1f", text.empty() ? "" : ", ", roof.name,
                  best / 1e9);
    text += row;
  }
  std::printf("{%s}\n", text.c_str());
}
