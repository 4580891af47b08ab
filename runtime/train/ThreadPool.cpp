#include "runtime/train/ThreadPool.h"

#include <algorithm>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

// Who may touch what, and why a late worker does no harm.
//
// A launch is `body`, `context` and each share's begin, end and piece: plain fields that the caller
// writes. Then it stores `open`, then the tickets (release), then it raises `generation`.
//
// - A piece is claimed by compare-and-swap on its share's ticket: generation, count, next. Nothing
//   but the ticket is read before. A claim that succeeds reads what the caller's release stored
//   (the claims between are read-modify-writes, so they continue its release sequence): it sees the
//   launch's plain fields.
// - Whoever claimed a piece runs it, then lowers `open` (release). The caller returns once it has
//   seen `open` at 0 (acquire). So between a claim and its lowering the launch cannot end: `body`
//   and `context` live, and no plain field is written. After it nobody reads them: a later read
//   needs another claim. Launches are not nested, so the writes of the next one come after the
//   last read of this one.
// - A late worker, asleep or without a core while others did all, finds tickets that are used up
//   (count == next), calls nothing, and sleeps until `generation` differs from the one that it read
//   *before* it looked at the tickets. One raised in between is seen at once, so no launch is
//   missed; one missed entirely would cost time and nothing else, for the caller takes pieces of
//   every share and needs no one.
// - Tickets are stored one after another, so a worker may claim from the first share of a launch
//   while the second still shows the launch before. `open` counts all pieces before any ticket is
//   out, so it cannot reach 0 early.
// - ABA: a worker reads a ticket, loses its core for as long as it takes for the same 64 bits to
//   come again (2^32 launches), and its swap succeeds. The claim is right all the same: it says
//   that piece `next` of the launch that is published *now* is taken, and only now reads whose it
//   is. The generation is in the ticket so that a swap by one who saw an older launch fails and is
//   tried again on what it finds; that too is only for clarity.
// - Sleeping: a worker counts itself among `sleepers` before it looks at `generation` again, the
//   caller raises `generation` before it looks at `sleepers`; both sequentially consistent, so one
//   of them sees the other, and the kernel looks at the word once more before it puts a thread to
//   sleep. The same with `callerSleeps` and `open`.
// - The last to lower `open` wakes the caller by the pool's own memory, which the destructor frees
//   only after it has joined all workers.

namespace lorac::train {

namespace {

// A kernel walks its input once a call, so few calls where a launch is short; more than one, so
// that there is something to take from a worker that lost its core. Of a long launch such a worker
// should hold little: the rest waits for no more than one piece.
constexpr int64_t piecesOfShort = 2, piecesOfLong = 8;
constexpr uint64_t mostPieces = 0xffff;
// About 30 µs: longer than the gap between two launches, shorter than a scheduler's slice. Spinning
// on would take the core from a neighbour that has work, or from a worker of our own that lost its
// core inside a piece and that the kernel moves to the one that falls idle.
constexpr int spins = 1500;

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

constexpr uint64_t ticketOf(uint32_t generation, uint64_t count, uint64_t next) {
  return uint64_t(generation) << 32 | count << 16 | next;
}
constexpr uint64_t countOf(uint64_t ticket) { return ticket >> 16 & 0xffff; }
constexpr uint64_t nextOf(uint64_t ticket) { return ticket & 0xffff; }

// Sleeps while the word has that value. Not std::atomic's wait: that yields before it sleeps, and a
// thread that yields beside a busy neighbour gives it a whole slice and stays in line for more.
void sleepWhile(std::atomic<uint32_t> &word, uint32_t value) {
  static_assert(sizeof word == 4 && std::atomic<uint32_t>::is_always_lock_free);
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}
void wake(std::atomic<uint32_t> &word, int threads) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, threads, nullptr, nullptr, 0);
}

int64_t divideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

} // namespace

ThreadPool::ThreadPool(int threads)
    : workerCount(std::max(threads, 1)), shares(new Share[size_t(std::max(threads, 1))]) {
  for (int worker = 1; worker < workerCount; ++worker)
    workers.emplace_back([this, worker] { work(worker); });
}

ThreadPool::~ThreadPool() {
  stopping.store(true, std::memory_order_relaxed);
  raiseGeneration(generation.load(std::memory_order_relaxed) + 1);
  for (std::thread &thread : workers)
    thread.join();
}

void ThreadPool::run(int64_t count, Split split, Length length, Body newBody, void *newContext) {
  if (count <= 0)
    return;
  if (workerCount == 1 || count == 1) {
    newBody(newContext, 0, 0, count);
    return;
  }
  body = newBody;
  context = newContext;
  const bool dynamic = split == Split::Dynamic;
  const int64_t shareCount = dynamic ? 1 : std::min<int64_t>(workerCount, count);
  const int64_t wanted = length == Length::Long ? piecesOfLong : piecesOfShort;
  uint32_t pieces = 0;
  for (int64_t i = 0; i < shareCount; ++i) {
    Share &share = shares[size_t(i)];
    share.begin = count * i / shareCount;
    share.end = count * (i + 1) / shareCount;
    const int64_t tiles = share.end - share.begin;
    share.piece = std::max(divideUp(tiles, dynamic ? tiles : wanted), divideUp(tiles, mostPieces));
    pieces += uint32_t(divideUp(tiles, share.piece));
  }
  open.store(pieces, std::memory_order_relaxed);
  const uint32_t next = generation.load(std::memory_order_relaxed) + 1;
  for (int64_t i = 0; i < shareCount; ++i) {
    Share &share = shares[size_t(i)];
    const int64_t tiles = share.end - share.begin;
    share.ticket.store(ticketOf(next, uint64_t(divideUp(tiles, share.piece)), 0),
                       std::memory_order_release);
  }
  raiseGeneration(next);

  takePieces(0);

  for (int i = 0; i < spins; ++i) {
    if (open.load(std::memory_order_acquire) == 0)
      return;
    relax();
  }
  callerSleeps.store(true);
  for (uint32_t left; (left = open.load()) != 0;)
    sleepWhile(open, left);
  callerSleeps.store(false, std::memory_order_relaxed);
}

// Nobody is woken in vain: a call into the kernel is long beside a short launch.
void ThreadPool::raiseGeneration(uint32_t next) {
  generation.store(next);
  if (sleepers.load() != 0)
    wake(generation, workerCount);
}

// Its own share first, then those of the others, the nearest first.
void ThreadPool::takePieces(int worker) {
  for (int i = 0; i < workerCount; ++i)
    takePiecesOf(shares[size_t((worker + i) % workerCount)], worker);
}

void ThreadPool::takePiecesOf(Share &share, int worker) {
  uint64_t ticket = share.ticket.load(std::memory_order_relaxed);
  while (nextOf(ticket) < countOf(ticket)) {
    if (!share.ticket.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acquire,
                                            std::memory_order_relaxed))
      continue;
    const int64_t begin = share.begin + int64_t(nextOf(ticket)) * share.piece;
    body(context, worker, begin, std::min(begin + share.piece, share.end));
    if (open.fetch_sub(1) == 1 && callerSleeps.load())
      wake(open, 1);
    ticket = share.ticket.load(std::memory_order_relaxed);
  }
}

void ThreadPool::work(int worker) {
  uint32_t seen = 0;
  for (;;) {
    for (int i = 0; i < spins && generation.load(std::memory_order_acquire) == seen; ++i)
      relax();
    if (generation.load(std::memory_order_acquire) == seen) {
      sleepers.fetch_add(1);
      while (generation.load() == seen)
        sleepWhile(generation, seen);
      sleepers.fetch_sub(1, std::memory_order_relaxed);
    }
    seen = generation.load(std::memory_order_acquire);
    if (stopping.load(std::memory_order_relaxed))
      return;
    takePieces(worker);
  }
}

} // namespace lorac::train
