// The roof that `make bench` measures against: multiply-adds from registers, all threads at once.
// fma_peak THREADS.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

typedef float Vector __attribute__((vector_size(32)));

// 12 independent chains hide the latency of two FMA units. Named one by one: g++ keeps an array of
// them in memory.
static double work(long rounds) {
  Vector factor, step;
  for (int lane = 0; lane < 8; ++lane)
    factor[lane] = 0.999f, step[lane] = 0.001f;
  Vector a = step, b = step, c = step, d = step, e = step, f = step, g = step, h = step, i = step,
         j = step, k = step, l = step;
  for (long round = 0; round < rounds; ++round) {
    a = a * factor + step, b = b * factor + step, c = c * factor + step, d = d * factor + step;
    e = e * factor + step, f = f * factor + step, g = g * factor + step, h = h * factor + step;
    i = i * factor + step, j = j * factor + step, k = k * factor + step, l = l * factor + step;
    // Keeps the chains in registers and the loop in place.
    asm volatile("" : "+x"(a), "+x"(b), "+x"(c), "+x"(d), "+x"(e), "+x"(f));
    asm volatile("" : "+x"(g), "+x"(h), "+x"(i), "+x"(j), "+x"(k), "+x"(l));
  }
  return a[0] + b[0] + c[0] + d[0] + e[0] + f[0] + g[0] + h[0] + i[0] + j[0] + k[0] + l[0];
}

int main(int argc, char **argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const long rounds = 20'000'000;
  double best = 0;
  for (int attempt = 0; attempt < 5; ++attempt) {
    auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> pool;
    std::vector<double> results(static_cast<size_t>(threads));
    for (int i = 0; i < threads; ++i)
      pool.emplace_back([&results, i] { results[static_cast<size_t>(i)] = work(rounds); });
    for (std::thread &thread : pool)
      thread.join();
    double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, 2.0 * 8 * 12 * double(rounds) * threads / seconds);
  }
  std::printf("%.1f\n", best / 1e9); // GFLOP/s
}
