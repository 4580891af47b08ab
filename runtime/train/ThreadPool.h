#pragma once
// Workers that run ranges of tiles. A launch is cut into one contiguous share a worker
// (neighbouring tiles share cache lines and pages), each share into a few chunks; a worker that is
// done takes chunks from the shares of others, so that one that lost its core does not hold up the
// rest. Which worker runs a tile never changes what the tile writes.

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace lorac::train {

/// Cores this process may use: the affinity mask, cut by the cgroup's cpu.max (rounded up); at
/// least 1.
int availableThreads();

enum class Split {
  Shares,  ///< contiguous shares, chunks stolen at the end
  Dynamic, ///< one tile at a time: tiles of very different cost
};

class ThreadPool {
public:
  /// `threads` workers, the caller among them.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int threads() const { return workerCount; }

  /// Calls body(context, worker, begin, end) over ranges that cover [0, count) exactly once;
  /// returns when all are done. Not reentrant; called from one thread.
  using Body = void (*)(void *context, int worker, int64_t begin, int64_t end);
  void run(int64_t count, Split split, Body body, void *context);

  /// The same for a callable f(worker, begin, end).
  template <typename F>
  void parallelFor(int64_t count, Split split, F &&f) {
    run(
        count, split,
        [](void *context, int worker, int64_t begin, int64_t end) {
          (*static_cast<std::remove_reference_t<F> *>(context))(worker, begin, end);
        },
        const_cast<void *>(static_cast<const void *>(&f)));
  }

private:
  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  void work(int worker);
  void takeTiles(int worker);

  const int workerCount;
  std::unique_ptr<Share[]> shares;
  Body body = nullptr;
  void *context = nullptr;
  int64_t chunk = 1;
  int shareCount = 0;

  // A new launch raises the generation; `pending` counts the workers that have not finished it.
  alignas(64) std::atomic<uint32_t> generation{0};
  alignas(64) std::atomic<uint32_t> pending{0};
  std::atomic<bool> stopping{false};
  std::vector<std::thread> workers;
};

} // namespace lorac::train
