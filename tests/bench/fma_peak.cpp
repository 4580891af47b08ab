// The roof that `make bench` measures against: multiply-adds from registers, all threads at once.
// fma_peak THREADS.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

typedef float Vector __attribute__((vector_size(32)));

// 12 independent chains hide the latency of two FMA units.
static double work(long rounds) {
  Vector sums[12], factor, step;
  for (int lane = 0; lane < 8; ++lane)
    factor[lane] = 0.999f, step[lane] = 0.001f;
  for (Vector &sum : sums)
    sum = step;
  for (long i = 0; i < rounds; ++i) {
    for (Vector &sum : sums)
      sum = sum * factor + step;
    // Keeps the chains in registers and the loop in place.
    asm volatile(""
                 : "+x"(sums[0]), "+x"(sums[1]), "+x"(sums[2]), "+x"(sums[3]), "+x"(sums[4]),
                   "+x"(sums[5]));
    asm volatile(""
                 : "+x"(sums[6]), "+x"(sums[7]), "+x"(sums[8]), "+x"(sums[9]), "+x"(sums[10]),
                   "+x"(sums[11]));
  }
  double total = 0;
  for (const Vector &sum : sums)
    total += sum[0];
  return total;
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
