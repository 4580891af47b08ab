// A launch: its blocks over the worker threads, in order or shuffled.
#include "tests/ptxsim/machine/Block.h"
#include "tests/ptxsim/machine/Config.h"
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>

namespace ptxsim {
namespace {

// Threads that wait for work; the one that launches works along.
class Pool {
public:
  explicit Pool(unsigned count) : workers(count) {
    for (unsigned k = 1; k < count; ++k)
      std::thread([this, k] { serve(k); }).detach();
  }

  void run(const Launch &launch, const std::vector<uint32_t> &order, uint64_t seed, bool alone) {
    current = &launch;
    blocks = &order;
    launchSeed = seed;
    nextBlock = 0;
    if (!alone && workers.size() > 1) {
      std::lock_guard<std::mutex> lock(mutex);
      busy = static_cast<unsigned>(workers.size()) - 1;
      ++generation;
      wake.notify_all();
    }
    work(0);
    if (!alone && workers.size() > 1) {
      std::unique_lock<std::mutex> lock(mutex);
      done.wait(lock, [&] { return busy == 0; });
    }
  }

private:
  void work(unsigned k) {
    Worker &worker = workers[k];
    worker.begin(*current, launchSeed);
    for (size_t at; (at = nextBlock++) < blocks->size();)
      worker.run((*blocks)[at]);
    if (!config().counterFile.empty())
      addCounters(*current->kernel, worker.counters());
  }

  void serve(unsigned k) {
    uint64_t seen = 0;
    while (true) {
      std::unique_lock<std::mutex> lock(mutex);
      wake.wait(lock, [&] { return generation != seen; });
      seen = generation;
      lock.unlock();
      work(k);
      lock.lock();
      if (--busy == 0)
        done.notify_one();
    }
  }

  std::vector<Worker> workers;
  const Launch *current = nullptr;
  const std::vector<uint32_t> *blocks = nullptr;
  uint64_t launchSeed = 0;
  std::atomic<size_t> nextBlock{0};
  std::mutex mutex;
  std::condition_variable wake, done;
  uint64_t generation = 0;
  unsigned busy = 0;
};

Pool &pool() {
  // Never destroyed: its threads end with the process.
  static std::map<unsigned, Pool *> pools;
  Pool *&pool = pools[config().threads];
  if (!pool)
    pool = new Pool(config().threads);
  return *pool;
}

} // namespace

void runLaunch(Launch &launch) {
  static uint64_t launches = 0;
  constexpr uint64_t stamps = 65536;
  if (launches % (stamps - 1) == 0 && launches > 0)
    deviceMemory().forgetTouches();
  launch.stamp = 1 + launches % (stamps - 1);
  ++launches;
  std::vector<uint32_t> order(launch.blocks());
  std::iota(order.begin(), order.end(), 0u);
  uint64_t seed = config().seed ? config().seed * 1000003 + launches : 0;
  if (seed) {
    std::mt19937_64 random(seed);
    std::shuffle(order.begin(), order.end(), random);
  }
  pool().run(launch, order, seed, order.size() == 1);
  if (!config().counterFile.empty())
    countLaunch(*launch.kernel);
}

} // namespace ptxsim
