#include "runtime/train/ThreadPool.h"

#include <gtest/gtest.h>

#include <chrono>

namespace lorac::train {
namespace {

TEST(ThreadPool, CoversEachTileOnce) {
  for (int threads : {1, 2, 3, 5})
    for (Split split : {Split::Shares, Split::Dynamic}) {
      ThreadPool pool(threads);
      for (int64_t count : {0, 1, 2, 3, 4, 7, 8, 63, 64, 1000}) {
        std::vector<std::atomic<int>> seen(size_t(count) + 1);
        pool.parallelFor(count, split, [&](int worker, int64_t begin, int64_t end) {
          ASSERT_GE(worker, 0);
          ASSERT_LT(worker, threads);
          ASSERT_LT(begin, end);
          ASSERT_LE(end, count);
          for (int64_t i = begin; i < end; ++i)
            seen[size_t(i)]++;
        });
        for (int64_t i = 0; i < count; ++i)
          ASSERT_EQ(seen[size_t(i)].load(), 1) << threads << " threads, " << count << " tiles";
      }
    }
}

TEST(ThreadPool, ManyLaunchesWithPauses) {
  ThreadPool pool(4);
  std::atomic<int64_t> sum = 0;
  for (int round = 0; round < 3000; ++round) {
    pool.parallelFor(16, Split::Shares,
                     [&](int, int64_t begin, int64_t end) { sum += end - begin; });
    ASSERT_EQ(sum.load(), 16 * (round + 1));
    if (round % 1000 == 0) // long enough that the workers sleep
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

TEST(ThreadPool, AWorkerThatIsLateIsHelped) {
  ThreadPool pool(2);
  std::atomic<int> byWorker[2] = {};
  pool.parallelFor(64, Split::Shares, [&](int worker, int64_t begin, int64_t end) {
    if (begin == 0) // whoever takes the first chunk loses its core
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    byWorker[worker] += int(end - begin);
  });
  EXPECT_EQ(byWorker[0] + byWorker[1], 64);
  EXPECT_LE(std::min(byWorker[0].load(), byWorker[1].load()), 16);
}

TEST(ThreadPool, CountsThreads) { EXPECT_GE(availableThreads(), 1); }

} // namespace
} // namespace lorac::train
