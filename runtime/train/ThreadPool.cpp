#include "runtime/train/ThreadPool.h"

#include <algorithm>
#include <chrono>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

// Who may touch what, and why a late worker does no harm.
//
// `launches`, `next`, `number`, `body`, `context` and each share's begin, end and piece are plain
// fields. They belong to one thread at a time, the one that advances: first the caller, then
// whoever did the last piece of a launch. It writes them, stores `open`, then the tickets
// (release), and touches none of them after the last ticket is out.
//
// - A piece is claimed by compare-and-swap on its share's ticket: number of the launch, count,
//   next. Nothing but the ticket is read before. A claim that succeeds reads what the release
//   stored (claims between are read-modify-writes and continue its release sequence), so it sees
//   the plain fields of that launch.
// - Whoever claimed a piece runs it, then lowers `open` (acquire and release). Only who lowers it
//   to 0 advances. So between a claim and its lowering nobody writes a plain field, `body` and
//   `context` live, and run() has not returned; and all reads of a launch's fields come before the
//   writes of the next. A later read needs another claim.
// - Tickets are stored one after another: a worker may claim from one share of a launch while
//   another still shows the launch before. `open` counts all pieces before any ticket is out, so it
//   cannot reach 0 before all are.
// - A late worker, asleep or without a core while others did all, finds tickets that are used up
//   (count == next), calls nothing, and sleeps again. It read `events` *before* it looked at the
//   tickets, and `events` is raised after they are out, so it misses no launch; and one that it did
//   miss would cost time and nothing else, for every thread takes pieces of every share.
// - ABA: a worker reads a ticket, loses its core until the same 64 bits come again (2^32 launches),
//   and its swap succeeds. The claim is right all the same: it takes piece `next` of the launch
//   that is out *now*, and only then reads whose it is. The number is in the ticket so that who saw
//   an older launch fails and looks again.
// - Sleeping: a thread counts itself among `sleepers` before it looks at `events` again; who raises
//   `events` looks at `sleepers` after that. Both are sequentially consistent, so one of the two
//   sees the other, and the kernel looks at the word once more before it puts a thread to sleep.
// - After the end of run(), who raised its last event may still be on its way through raiseEvent():
//   that touches atomics of the pool alone, and the destructor joins all workers.

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

constexpr uint64_t ticketOf(uint32_t number, uint64_t count, uint64_t next) {
  return uint64_t(number) << 32 | count << 16 | next;
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

// A thread that loses its core inside a piece holds up its launch for as long as a neighbour's
// slice takes; one that gives its core up between two pieces holds up nothing. So a thread offers
// its core after 2 ms on it: less than a slice, more than most launches. Where nobody waits for the
// core that takes less than a microsecond. After 4 ms it has been away already, and begins again.
void offerCore() {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds turn(2), away(4);
  thread_local Clock::time_point since = Clock::now();
  const Clock::duration passed = Clock::now() - since;
  if (passed < turn)
    return;
  if (passed < away)
    sched_yield();
  since = Clock::now();
}

int64_t divideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

} // namespace

ThreadPool::ThreadPool(int threads)
    : workerCount(std::max(threads, 1)), shares(new Share[size_t(std::max(threads, 1))]) {
  placeThreads();
  for (int worker = 1; worker < workerCount; ++worker)
    workers.emplace_back([this, worker] { work(worker); });
}

ThreadPool::~ThreadPool() {
  stopping.store(true, std::memory_order_relaxed);
  raiseEvent();
  for (std::thread &thread : workers)
    thread.join();
}

// Threads that sleep now and then, beside a neighbour that never does, are put on one core together
// and the neighbour gets the other: the kernel finds that even. Where each thread can have its own
// core it stays there, and the neighbour shares one of them.
void ThreadPool::placeThreads() {
  CPU_ZERO(&allCores);
  if (workerCount < 2 || sched_getaffinity(0, sizeof allCores, &allCores) != 0 ||
      CPU_COUNT(&allCores) != workerCount)
    return;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &allCores))
      cores.push_back(core);
}

void ThreadPool::place(int worker) {
  if (cores.empty())
    return;
  cpu_set_t own;
  CPU_ZERO(&own);
  CPU_SET(cores[size_t(worker)], &own);
  sched_setaffinity(0, sizeof own, &own); // where it is refused the kernel goes on placing
}

// The caller is held only meanwhile: what it starts afterwards may use all cores.
void ThreadPool::run(std::span<const Launch> newLaunches) {
  place(0);
  runLaunches(newLaunches);
  if (!cores.empty())
    sched_setaffinity(0, sizeof allCores, &allCores);
}

void ThreadPool::runLaunches(std::span<const Launch> newLaunches) {
  launches = newLaunches;
  next = 0;
  isDone.store(false, std::memory_order_relaxed);
  advance(0);
  for (;;) {
    const uint32_t seen = events.load();
    if (isDone.load(std::memory_order_acquire))
      return;
    takePieces(0);
    if (isDone.load(std::memory_order_acquire))
      return;
    waitForEvent(seen);
  }
}

// Brings out the next launch; one that is not worth sharing is run here.
void ThreadPool::advance(int worker) {
  while (next < launches.size()) {
    const Launch &launch = launches[next++];
    if (launch.count <= 0)
      continue;
    if (workerCount > 1 && launch.count > 1)
      return publish(launch);
    launch.body(launch.context, worker, 0, launch.count);
  }
  isDone.store(true, std::memory_order_release);
  raiseEvent();
}

void ThreadPool::publish(const Launch &launch) {
  body = launch.body;
  context = launch.context;
  ++number;
  const bool dynamic = launch.split == Split::Dynamic;
  const int64_t count = launch.count;
  const int64_t shareCount = dynamic ? 1 : std::min<int64_t>(workerCount, count);
  const int64_t wanted = launch.length == Length::Long ? piecesOfLong : piecesOfShort;
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
  for (int64_t i = 0; i < shareCount; ++i) {
    Share &share = shares[size_t(i)];
    const int64_t tiles = share.end - share.begin;
    share.ticket.store(ticketOf(number, uint64_t(divideUp(tiles, share.piece)), 0),
                       std::memory_order_release);
  }
  raiseEvent();
}

// Of its own share first, then of those of the others, the nearest first.
void ThreadPool::takePieces(int worker) {
  for (int i = 0; i < workerCount;)
    switch (takePiece(shares[size_t((worker + i) % workerCount)], worker)) {
    case Taken::Nothing:
      ++i;
      break;
    case Taken::Piece:
      break;
    case Taken::LastPiece: // another launch is out
      i = 0;
      break;
    }
}

ThreadPool::Taken ThreadPool::takePiece(Share &share, int worker) {
  uint64_t ticket = share.ticket.load(std::memory_order_relaxed);
  do {
    if (nextOf(ticket) == countOf(ticket))
      return Taken::Nothing;
  } while (!share.ticket.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acquire,
                                               std::memory_order_relaxed));
  const int64_t begin = share.begin + int64_t(nextOf(ticket)) * share.piece;
  body(context, worker, begin, std::min(begin + share.piece, share.end));
  const bool isLast = open.fetch_sub(1, std::memory_order_acq_rel) == 1;
  if (isLast)
    advance(worker);
  offerCore();
  return isLast ? Taken::LastPiece : Taken::Piece;
}

// Nobody is woken in vain: a call into the kernel is long beside a short launch.
void ThreadPool::raiseEvent() {
  events.fetch_add(1);
  if (sleepers.load() != 0)
    wake(events, workerCount);
}

void ThreadPool::waitForEvent(uint32_t seen) {
  for (int i = 0; i < spins; ++i) {
    if (events.load(std::memory_order_acquire) != seen)
      return;
    relax();
  }
  sleepers.fetch_add(1);
  while (events.load() == seen)
    sleepWhile(events, seen);
  sleepers.fetch_sub(1, std::memory_order_relaxed);
}

void ThreadPool::work(int worker) {
  place(worker);
  uint32_t seen = 0;
  for (;;) {
    waitForEvent(seen);
    seen = events.load();
    if (stopping.load(std::memory_order_relaxed))
      return;
    takePieces(worker);
  }
}

} // namespace lorac::train
