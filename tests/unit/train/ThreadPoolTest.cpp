#include "runtime/train/ThreadPool.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <fstream>
#include <memory>
#include <mutex>
#include <pthread.h>
#include <unistd.h>

namespace lorac::train {
namespace {

TEST(ThreadPool, CoversEachTileOnce) {
  for (int threads : {1, 2, 3, 5})
    for (Split split : {Split::Shares, Split::Dynamic})
      for (Length length : {Length::Short, Length::Long}) {
        ThreadPool pool(threads);
        for (int64_t count : {0, 1, 2, 3, 4, 7, 8, 63, 64, 1000}) {
          std::vector<std::atomic<int>> seen(size_t(count) + 1);
          pool.parallelFor(count, split, length, [&](int worker, int64_t begin, int64_t end) {
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

// More tiles than a ticket can count pieces.
TEST(ThreadPool, CoversVeryManyTiles) {
  ThreadPool pool(3);
  for (Split split : {Split::Shares, Split::Dynamic})
    for (int64_t count :
         {int64_t(65535), int64_t(65536), int64_t(200000), int64_t(5'000'000'000)}) {
      std::atomic<int64_t> sum = 0, calls = 0;
      pool.parallelFor(count, split, [&](int, int64_t begin, int64_t end) {
        sum += end - begin;
        ++calls;
      });
      EXPECT_EQ(sum.load(), count);
      EXPECT_LE(calls.load(), 65535);
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

// Of a long launch a worker that loses its core holds up one piece of eight of its share.
TEST(ThreadPool, AWorkerThatIsLateIsHelped) {
  for (Length length : {Length::Short, Length::Long}) {
    ThreadPool pool(2);
    std::atomic<int> byWorker[2] = {};
    pool.parallelFor(64, Split::Shares, length, [&](int worker, int64_t begin, int64_t end) {
      if (begin == 0) // whoever takes the first piece loses its core
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
      byWorker[worker] += int(end - begin);
    });
    EXPECT_EQ(byWorker[0] + byWorker[1], 64);
    EXPECT_LE(std::min(byWorker[0].load(), byWorker[1].load()), length == Length::Long ? 4 : 16);
  }
}

/// A place where a thread stays until it is let go.
class Gate {
public:
  void stay() {
    std::unique_lock lock(mutex);
    inside = true;
    changed.notify_all();
    changed.wait(lock, [&] { return isOpen; });
  }
  void waitForSomebody() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return inside; });
  }
  void open() {
    std::unique_lock lock(mutex);
    isOpen = true;
    changed.notify_all();
  }

private:
  std::mutex mutex;
  std::condition_variable changed;
  bool inside = false, isOpen = false;
};

TEST(ThreadPool, AWorkerInsideATileIsWaitedFor) {
  ThreadPool pool(2);
  std::atomic<bool> isOver = false;
  Gate gate;
  std::thread caller([&] {
    // The caller takes one tile and waits in it until the worker stands in the other.
    pool.parallelFor(2, Split::Dynamic, [&](int worker, int64_t, int64_t) {
      worker == 1 ? gate.stay() : gate.waitForSomebody();
    });
    isOver = true;
  });
  gate.waitForSomebody();
  EXPECT_FALSE(isOver.load());
  gate.open();
  caller.join();
  EXPECT_TRUE(isOver.load());
}

int lostCore[2]; // a pipe
std::atomic<bool> hasLostCore;
void loseCore(int) {
  char byte;
  hasLostCore = true;
  while (read(lostCore[0], &byte, 1) < 0 && errno == EINTR) {
  }
}

// A launch waits for its tiles, not for its workers: one of them stands in a signal's handler, as
// if it had lost its core, and all launches end. To join it would hang.
TEST(ThreadPool, AWorkerWithoutACoreIsNotWaitedFor) {
  hasLostCore = false;
  ASSERT_EQ(pipe(lostCore), 0);
  ASSERT_NE(signal(SIGUSR2, loseCore), SIG_ERR);
  {
    ThreadPool pool(2);
    std::atomic<pthread_t> worker = 0;
    Gate gate;
    gate.open();
    pool.parallelFor(2, Split::Dynamic, [&](int who, int64_t, int64_t) {
      if (who == 1) {
        worker = pthread_self();
        gate.stay();
      } else {
        gate.waitForSomebody();
      }
    });
    ASSERT_NE(worker.load(), pthread_t(0));
    ASSERT_EQ(pthread_kill(worker, SIGUSR2), 0);
    while (!hasLostCore) // between launches, so it holds no tile
      std::this_thread::yield();
    std::atomic<int64_t> sum = 0;
    for (int launch = 0; launch < 1000; ++launch)
      pool.parallelFor(16, Split::Shares, launch % 2 ? Length::Long : Length::Short,
                       [&](int, int64_t begin, int64_t end) { sum += end - begin; });
    EXPECT_EQ(sum.load(), 16000);
    ASSERT_EQ(write(lostCore[1], "x", 1), 1);
  }
  signal(SIGUSR2, SIG_DFL);
  close(lostCore[0]);
  close(lostCore[1]);
}

/// 'S' for a thread that sleeps, 'R' for one that runs.
char stateOf(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  return text.at(text.rfind(')') + 2);
}

// The same of the caller: once it waits for a tile that a worker has, it loses its core, and the
// worker runs all launches that follow.
TEST(ThreadPool, TheCallerWithoutACoreIsNotWaitedFor) {
  ASSERT_EQ(pipe(lostCore), 0);
  ASSERT_NE(signal(SIGUSR2, loseCore), SIG_ERR);
  hasLostCore = false;
  struct Run {
    pthread_t caller = pthread_self();
    pid_t callerId = gettid();
    std::atomic<bool> workerIsIn = false;
    std::atomic<int> tiles = 0, byCaller = 0;
  } run;
  std::vector<ThreadPool::Launch> launches;
  launches.push_back({2, Split::Dynamic, Length::Short,
                      [](void *context, int worker, int64_t, int64_t) {
                        Run &run = *static_cast<Run *>(context);
                        if (worker == 0) {
                          while (!run.workerIsIn)
                            std::this_thread::yield();
                          return;
                        }
                        run.workerIsIn = true;
                        while (stateOf(run.callerId) != 'S')
                          std::this_thread::yield();
                        pthread_kill(run.caller, SIGUSR2);
                        while (!hasLostCore)
                          std::this_thread::yield();
                      },
                      &run});
  for (int64_t i = 0; i < 500; ++i)
    launches.push_back({1 + i % 7, Split::Shares, Length::Long,
                        [](void *context, int worker, int64_t begin, int64_t end) {
                          static_cast<Run *>(context)->tiles += int(end - begin);
                          static_cast<Run *>(context)->byCaller += worker == 0;
                        },
                        &run});
  launches.push_back({1, Split::Shares, Length::Short,
                      [](void *, int, int64_t, int64_t) {
                        if (write(lostCore[1], "x", 1) != 1)
                          std::abort();
                      },
                      nullptr});
  {
    ThreadPool pool(2);
    pool.run(launches);
  }
  EXPECT_EQ(run.tiles.load(), 500 / 7 * 28 + 1 + 2 + 3);
  EXPECT_EQ(run.byCaller.load(), 0);
  signal(SIGUSR2, SIG_DFL);
  close(lostCore[0]);
  close(lostCore[1]);
}

// Launches in a row: each sees what the one before wrote, empty and single ones among them.
TEST(ThreadPool, LaunchesInARow) {
  struct Step {
    std::vector<int64_t> *from, *to;
  };
  for (int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    std::vector<int64_t> x(97, 0), y(97, 0);
    std::vector<Step> steps(400);
    std::vector<ThreadPool::Launch> launches;
    for (size_t i = 0; i < steps.size(); ++i) {
      steps[i] = {i % 2 ? &y : &x, i % 2 ? &x : &y};
      launches.push_back({0, Split::Shares, Length::Short, nullptr, nullptr});
      launches.push_back({i % 10 == 5 ? 1 : 97, i % 3 ? Split::Shares : Split::Dynamic,
                          i % 4 ? Length::Long : Length::Short,
                          [](void *context, int, int64_t begin, int64_t end) {
                            Step &step = *static_cast<Step *>(context);
                            if (end - begin == 1 && begin == 0)
                              step.to->at(0) = step.from->at(7) + 1;
                            else
                              for (int64_t i = begin; i < end; ++i)
                                step.to->at(size_t(i)) = step.from->at(size_t((i + 7) % 97)) + 1;
                          },
                          &steps[i]});
      if (i % 10 == 5) // the rest of the row, so that all count alike
        launches.push_back({96, Split::Shares, Length::Long,
                            [](void *context, int, int64_t begin, int64_t end) {
                              Step &step = *static_cast<Step *>(context);
                              for (int64_t i = begin + 1; i < end + 1; ++i)
                                step.to->at(size_t(i)) = step.from->at(size_t((i + 7) % 97)) + 1;
                            },
                            &steps[i]});
    }
    for (int round = 0; round < 5; ++round)
      pool.run(launches);
    for (int64_t value : x)
      ASSERT_EQ(value, 2000) << threads;
  }
  ThreadPool pool(3);
  pool.run({});
}

// Bodies and contexts that die as soon as their launch is over, launches so short that most workers
// come late, more threads than cores: a late worker that called an old body would write a freed
// counter (what the sanitizers see) or count a tile of the wrong launch (what this sees).
TEST(ThreadPool, ALateWorkerCallsNoOldBody) {
  struct Context {
    int64_t launch;
    std::atomic<int64_t> tiles{0};
  };
  for (int threads : {2, 3, 8}) {
    ThreadPool pool(threads);
    for (int64_t launch = 0; launch < 4000; ++launch) {
      auto context = std::make_unique<Context>();
      context->launch = launch;
      std::atomic<int64_t> wrong = 0;
      const int64_t count = 2 + launch % 17;
      pool.parallelFor(count, launch % 3 ? Split::Shares : Split::Dynamic,
                       launch % 2 ? Length::Long : Length::Short,
                       [&, of = context.get()](int, int64_t begin, int64_t end) {
                         wrong += of->launch != launch;
                         of->tiles += end - begin;
                       });
      ASSERT_EQ(context->tiles.load(), count);
      ASSERT_EQ(wrong.load(), 0);
      context.reset();
    }
  }
}

// What a launch wrote without atomics is seen by the next, whoever ran the tiles.
TEST(ThreadPool, ALaunchSeesWhatTheOneBeforeWrote) {
  ThreadPool pool(4);
  constexpr int64_t count = 257, launches = 3000;
  std::vector<int64_t> from(size_t(count), 0), to(size_t(count), -1);
  for (int64_t launch = 0; launch < launches; ++launch) {
    pool.parallelFor(count, Split::Shares, launch % 2 ? Length::Long : Length::Short,
                     [&](int, int64_t begin, int64_t end) {
                       for (int64_t i = begin; i < end; ++i)
                         to[size_t(i)] = from[size_t((i * 31 + 7) % count)] + 1;
                     });
    std::swap(from, to);
  }
  for (int64_t value : from)
    ASSERT_EQ(value, launches);
}

TEST(ThreadPool, PoolsComeAndGo) {
  for (int round = 0; round < 200; ++round) {
    ThreadPool pool(1 + round % 5);
    std::atomic<int> sum = 0;
    for (int launch = 0; launch < round % 4; ++launch)
      pool.parallelFor(9, Split::Shares,
                       [&](int, int64_t begin, int64_t end) { sum += int(end - begin); });
    EXPECT_EQ(sum.load(), 9 * (round % 4));
  }
}

} // namespace
} // namespace lorac::train
