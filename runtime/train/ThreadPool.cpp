#include "runtime/train/ThreadPool.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sched.h>
#include <string>

namespace lorac::train {

namespace {

// A kernel walks its input once a call, so few calls; more than one, so that there is something to
// take from a worker that lost its core.
constexpr int chunksOfShare = 2;
// About 30 µs: longer than the gap between two launches, shorter than a scheduler's slice. Spinning
// on would take the core from a neighbour that has work, and collapse when there are more threads
// than cores.
constexpr int spins = 1500;

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

/// Cores granted by cgroup v2's cpu.max of this process's group and those above it; 0: no limit.
int cgroupCores() {
  std::ifstream groups("/proc/self/cgroup");
  std::string line, path;
  while (std::getline(groups, line))
    if (line.rfind("0::", 0) == 0)
      path = line.substr(3);
  double least = 0;
  for (;;) {
    std::ifstream file("/sys/fs/cgroup" + path + "/cpu.max");
    std::string quota;
    double period = 0;
    if (file >> quota >> period && quota != "max" && period > 0) {
      double cores = std::strtod(quota.c_str(), nullptr) / period;
      if (cores > 0 && (least == 0 || cores < least))
        least = cores;
    }
    size_t slash = path.rfind('/');
    if (path.empty() || slash == std::string::npos)
      break;
    path.resize(slash);
  }
  return least > 0 ? int(least + 0.999) : 0;
}

} // namespace

int availableThreads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int count = sched_getaffinity(0, sizeof set, &set) == 0
                  ? CPU_COUNT(&set)
                  : int(std::thread::hardware_concurrency());
  if (int cores = cgroupCores())
    count = std::min(count, cores);
  return std::max(count, 1);
}

ThreadPool::ThreadPool(int threads)
    : workerCount(std::max(threads, 1)), shares(new Share[size_t(std::max(threads, 1))]) {
  for (int worker = 1; worker < workerCount; ++worker)
    workers.emplace_back([this, worker] { work(worker); });
}

ThreadPool::~ThreadPool() {
  stopping.store(true, std::memory_order_relaxed);
  generation.fetch_add(1, std::memory_order_release);
  generation.notify_all();
  for (std::thread &thread : workers)
    thread.join();
}

void ThreadPool::run(int64_t count, Split split, Body newBody, void *newContext) {
  if (count <= 0)
    return;
  if (workerCount == 1 || count == 1) {
    newBody(newContext, 0, 0, count);
    return;
  }
  body = newBody;
  context = newContext;
  shareCount = split == Split::Dynamic ? 1 : int(std::min<int64_t>(workerCount, count));
  chunk = split == Split::Dynamic
              ? 1
              : std::max<int64_t>(1, (count / shareCount + chunksOfShare - 1) / chunksOfShare);
  for (int i = 0; i < shareCount; ++i) {
    shares[i].next.store(count * i / shareCount, std::memory_order_relaxed);
    shares[i].end = count * (i + 1) / shareCount;
  }
  pending.store(uint32_t(workerCount - 1), std::memory_order_relaxed);
  generation.fetch_add(1, std::memory_order_release);
  generation.notify_all();

  takeTiles(0);

  for (int i = 0; i < spins; ++i) {
    if (pending.load(std::memory_order_acquire) == 0)
      return;
    relax();
  }
  for (uint32_t left; (left = pending.load(std::memory_order_acquire)) != 0;)
    pending.wait(left, std::memory_order_acquire);
}

void ThreadPool::takeTiles(int worker) {
  for (int i = 0; i < shareCount; ++i) {
    Share &share = shares[(worker + i) % shareCount];
    for (;;) {
      int64_t begin = share.next.fetch_add(chunk, std::memory_order_relaxed);
      if (begin >= share.end)
        break;
      body(context, worker, begin, std::min(begin + chunk, share.end));
    }
  }
}

void ThreadPool::work(int worker) {
  uint32_t seen = 0;
  for (;;) {
    for (int i = 0; i < spins && generation.load(std::memory_order_acquire) == seen; ++i)
      relax();
    while (generation.load(std::memory_order_acquire) == seen)
      generation.wait(seen, std::memory_order_acquire);
    ++seen; // one launch at a time: the next begins only after all have finished this one
    if (stopping.load(std::memory_order_relaxed))
      return;
    takeTiles(worker);
    if (pending.fetch_sub(1, std::memory_order_acq_rel) == 1)
      pending.notify_one();
  }
}

} // namespace lorac::train
