// Work on one stream runs in its order. Across streams only these are ordered: what waits for an
// event, and the default stream with every stream that was not created as non-blocking.
#include "tests/ptxsim/driver/Streams.h"
#include "tests/ptxsim/driver/State.h"
#include "tests/ptxsim/machine/Config.h"
#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <set>
#include <vector>

namespace ptxsim {
namespace {

struct Queue;

/// "Up to here": all work of a queue with a number below `end`.
struct Point {
  std::shared_ptr<Queue> queue;
  uint64_t end = 0;
};

struct Work {
  std::function<void()> run;
  std::vector<Point> after;
};

struct Queue {
  std::deque<Work> works;
  uint64_t begun = 0; // number of the first in `works`
  bool blocking = true;

  uint64_t end() const { return begun + works.size(); }
};

struct Event {
  Point point; // of its last record
  bool recorded = false;
  std::shared_ptr<double> milliseconds = std::make_shared<double>(0); // when the record ran
};

std::vector<std::shared_ptr<Queue>> &queues() { // [0]: the default stream
  static auto *all = new std::vector<std::shared_ptr<Queue>>{std::make_shared<Queue>()};
  return *all;
}

std::shared_ptr<Queue> queueOf(CUstream stream) {
  if (stream == nullptr || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD)
    return queues()[0];
  for (const auto &queue : queues())
    if (reinterpret_cast<CUstream>(queue.get()) == stream)
      return queue;
  return nullptr;
}

std::set<Event *> &events() {
  static auto *all = new std::set<Event *>;
  return *all;
}

Event *eventOf(CUevent event) {
  auto *known = reinterpret_cast<Event *>(event);
  return events().count(known) ? known : nullptr;
}

void runOne(Queue &queue);

void runTo(const Point &point) {
  while (point.queue->begun < point.end)
    runOne(*point.queue);
}

void runOne(Queue &queue) {
  // The work stays in its place while what it waits for is done: that may look at this queue.
  std::vector<Point> after = std::move(queue.works.front().after);
  uint64_t number = queue.begun;
  for (const Point &point : after)
    runTo(point);
  if (queue.begun != number)
    return; // done on the way
  std::function<void()> run = std::move(queue.works.front().run);
  queue.works.pop_front();
  ++queue.begun;
  if (run && !state().sticky)
    run();
}

std::vector<Point> implicitOrder(const Queue &queue) {
  std::vector<Point> after;
  const auto &all = queues();
  if (&queue == all[0].get()) {
    for (size_t k = 1; k < all.size(); ++k)
      if (all[k]->blocking && !all[k]->works.empty())
        after.push_back({all[k], all[k]->end()});
  } else if (queue.blocking && !all[0]->works.empty()) {
    after.push_back({all[0], all[0]->end()});
  }
  return after;
}

void push(Queue &queue, std::function<void()> run, std::vector<Point> more = {}) {
  Work work;
  work.run = std::move(run);
  work.after = implicitOrder(queue);
  work.after.insert(work.after.end(), more.begin(), more.end());
  queue.works.push_back(std::move(work));
}

double clockMilliseconds() {
  using namespace std::chrono;
  return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

} // namespace

CUresult enqueue(CUstream stream, std::function<void()> work) {
  std::shared_ptr<Queue> queue = queueOf(stream);
  if (!queue)
    return CUDA_ERROR_INVALID_HANDLE;
  push(*queue, std::move(work));
  return CUDA_SUCCESS;
}

CUresult drain(CUstream stream) {
  std::shared_ptr<Queue> queue = queueOf(stream);
  if (!queue)
    return CUDA_ERROR_INVALID_HANDLE;
  // The default stream waits for the blocking ones, also when it has no work of its own.
  for (const Point &point : implicitOrder(*queue))
    if (queue == queues()[0])
      runTo(point);
  runTo({queue, queue->end()});
  return CUDA_SUCCESS;
}

void drainAll() {
  std::vector<std::shared_ptr<Queue>> all = queues();
  // Which independent stream goes first is nobody's promise.
  if (config().seed)
    std::rotate(all.begin(), all.begin() + static_cast<long>(config().seed % all.size()),
                all.end());
  for (const auto &queue : all)
    runTo({queue, queue->end()});
}

} // namespace ptxsim

using namespace ptxsim;

PTXSIM_EXPORT cuStreamCreate(CUstream *stream, unsigned flags) {
  PTXSIM_ENTER
  auto queue = std::make_shared<Queue>();
  queue->blocking = !(flags & CU_STREAM_NON_BLOCKING);
  queues().push_back(queue);
  *stream = reinterpret_cast<CUstream>(queue.get());
  return CUDA_SUCCESS;
}

PTXSIM_EXPORT cuStreamCreateWithPriority(CUstream *stream, unsigned flags, int) {
  return cuStreamCreate(stream, flags);
}

PTXSIM_EXPORT cuStreamDestroy_v2(CUstream stream) {
  PTXSIM_ENTER
  std::shared_ptr<Queue> queue = queueOf(stream);
  if (!queue || queue == queues()[0])
    return CUDA_ERROR_INVALID_HANDLE;
  drain(stream);
  queues().erase(std::find(queues().begin(), queues().end(), queue));
  return CUDA_SUCCESS;
}

PTXSIM_EXPORT cuStreamDestroy(CUstream stream) { return cuStreamDestroy_v2(stream); }

PTXSIM_EXPORT cuStreamSynchronize(CUstream stream) {
  PTXSIM_ENTER
  if (CUresult code = drain(stream))
    return code;
  return settle();
}

// Each question moves the stream on by one piece of work, so that who polls comes to an end.
PTXSIM_EXPORT cuStreamQuery(CUstream stream) {
  PTXSIM_ENTER
  std::shared_ptr<Queue> queue = queueOf(stream);
  if (!queue)
    return CUDA_ERROR_INVALID_HANDLE;
  if (queue->works.empty())
    return settle();
  runOne(*queue);
  return CUDA_ERROR_NOT_READY;
}

PTXSIM_EXPORT cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
  PTXSIM_ENTER
  std::shared_ptr<Queue> queue = queueOf(stream);
  Event *known = eventOf(event);
  if (!queue || !known)
    return CUDA_ERROR_INVALID_HANDLE;
  if (known->recorded)
    push(*queue, nullptr, {known->point});
  return CUDA_SUCCESS;
}

PTXSIM_EXPORT cuEventCreate(CUevent *event, unsigned) {
  PTXSIM_ENTER
  auto *created = new Event;
  events().insert(created);
  *event = reinterpret_cast<CUevent>(created);
  return CUDA_SUCCESS;
}

PTXSIM_EXPORT cuEventDestroy_v2(CUevent event) {
  PTXSIM_ENTER
  Event *known = eventOf(event);
  if (!known)
    return CUDA_ERROR_INVALID_HANDLE;
  events().erase(known);
  delete known;
  return CUDA_SUCCESS;
}

PTXSIM_EXPORT cuEventDestroy(CUevent event) { return cuEventDestroy_v2(event); }

PTXSIM_EXPORT cuEventRecord(CUevent event, CUstream stream) {
  PTXSIM_ENTER
  std::shared_ptr<Queue> queue = queueOf(stream);
  Event *known = eventOf(event);
  if (!queue || !known)
    return CUDA_ERROR_INVALID_HANDLE;
  known->milliseconds = std::make_shared<double>(0);
  push(*queue, [time = known->milliseconds] { *time = clockMilliseconds(); });
  known->recorded = true;
  known->point = {queue, queue->end()};
  return CUDA_SUCCESS;
}

PTXSIM_EXPORT cuEventSynchronize(CUevent event) {
  PTXSIM_ENTER
  Event *known = eventOf(event);
  if (!known)
    return CUDA_ERROR_INVALID_HANDLE;
  if (known->recorded)
    runTo(known->point);
  return settle();
}

PTXSIM_EXPORT cuEventQuery(CUevent event) {
  PTXSIM_ENTER
  Event *known = eventOf(event);
  if (!known)
    return CUDA_ERROR_INVALID_HANDLE;
  if (!known->recorded || known->point.queue->begun >= known->point.end)
    return settle();
  runOne(*known->point.queue);
  return CUDA_ERROR_NOT_READY;
}

PTXSIM_EXPORT cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
  PTXSIM_ENTER
  Event *from = eventOf(start), *to = eventOf(end);
  if (!from || !to || !from->recorded || !to->recorded)
    return CUDA_ERROR_INVALID_HANDLE;
  for (Event *event : {from, to})
    if (event->point.queue->begun < event->point.end)
      return CUDA_ERROR_NOT_READY;
  *milliseconds = static_cast<float>(*to->milliseconds - *from->milliseconds);
  return CUDA_SUCCESS;
}

PTXSIM_EXPORT cuEventElapsedTime_v2(float *milliseconds, CUevent start, CUevent end) {
  return cuEventElapsedTime(milliseconds, start, end);
}
