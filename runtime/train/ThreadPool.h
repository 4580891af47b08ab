#pragma once
// Workers that run ranges of tiles. A launch is cut into one contiguous share a worker
// (neighbouring tiles share cache lines and pages), each share into pieces; a worker that is done
// takes pieces from the shares of others. A launch ends when its tiles are done, not when every
// worker has said so, and whoever does the last one brings out the next launch: a thread that lost
// its core to a neighbour, the caller too, is waited for only where it lost it inside a piece.
// Which worker runs a tile never changes what the tile writes.

#include <atomic>
#include <cstdint>
#include <memory>
#include <sched.h>
#include <span>
#include <thread>
#include <type_traits>
#include <vector>

namespace lorac::train {

enum class Split {
  Shares,  ///< contiguous shares, pieces stolen at the end
  Dynamic, ///< one tile at a time: tiles of very different cost
};

/// How long a launch is: one of 100 µs or more a worker is worth more pieces.
enum class Length { Short, Long };

class ThreadPool {
public:
  /// `threads` workers, the caller among them.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int threads() const { return workerCount; }

  using Body = void (*)(void *context, int worker, int64_t begin, int64_t end);
  /// Calls body(context, worker, begin, end) over ranges that cover [0, count) exactly once.
  struct Launch {
    int64_t count;
    Split split;
    Length length;
    Body body;
    void *context;
  };
  /// Launches one after another: each begins when all tiles of the one before are done, whoever
  /// did the last of them. Returns when all are done; no call to a body comes after that. Not
  /// reentrant; called from one thread.
  void run(std::span<const Launch> launches);
  void run(int64_t count, Split split, Length length, Body body, void *context) {
    const Launch launch{count, split, length, body, context};
    run({&launch, 1});
  }

  /// The same for a callable f(worker, begin, end).
  template <typename F>
  void parallelFor(int64_t count, Split split, Length length, F &&f) {
    run(
        count, split, length,
        [](void *context, int worker, int64_t begin, int64_t end) {
          (*static_cast<std::remove_reference_t<F> *>(context))(worker, begin, end);
        },
        const_cast<void *>(static_cast<const void *>(&f)));
  }
  template <typename F>
  void parallelFor(int64_t count, Split split, F &&f) {
    parallelFor(count, split, Length::Short, std::forward<F>(f));
  }

private:
  /// A worker's part of the launch: tiles [begin, end), `piece` tiles a piece. The ticket says how
  /// many pieces there are and which is next; ThreadPool.cpp says who may read the rest when.
  struct alignas(64) Share {
    std::atomic<uint64_t> ticket{0};
    int64_t begin = 0, end = 0, piece = 1;
  };

  void placeThreads();
  void place(int worker);
  void runLaunches(std::span<const Launch> newLaunches);
  void work(int worker);
  void advance(int worker);
  void publish(const Launch &launch);
  void takePieces(int worker);
  enum class Taken { Nothing, Piece, LastPiece };
  Taken takePiece(Share &share, int worker);
  void raiseEvent();
  void waitForEvent(uint32_t seen);

  const int workerCount;
  std::unique_ptr<Share[]> shares;
  // The launches that are run, and the one that is out: ThreadPool.cpp says who may touch them.
  std::span<const Launch> launches;
  size_t next = 0;     ///< of `launches`
  uint32_t number = 0; ///< of the launch that is out, counted over the pool's life
  Body body = nullptr;
  void *context = nullptr;

  alignas(64) std::atomic<uint32_t> events{0}; ///< raised for what is worth waking up for
  std::atomic<uint32_t> sleepers{0};           ///< threads that may be asleep
  alignas(64) std::atomic<uint32_t> open{0};   ///< pieces of the launch that are not done
  std::atomic<bool> isDone{false}, stopping{false};
  std::vector<std::thread> workers;
  // One core a thread where there are as many of both, else empty; and those that the process may
  // use.
  std::vector<int> cores;
  cpu_set_t allCores;
};

} // namespace lorac::train
