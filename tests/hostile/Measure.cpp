#include "tests/hostile/Measure.h"

#include <atomic>
#include <cstdlib>
#include <malloc.h>
#include <new>

namespace {

std::atomic<size_t> live{0}, peak{0}, count{0}, failing{0};
std::atomic<bool> failed{false};

void *allocate(size_t size) {
  if (failing != 0 && ++count == failing) {
    failed = true;
    throw std::bad_alloc();
  }
  void *p = std::malloc(size ? size : 1);
  if (!p)
    throw std::bad_alloc();
  const size_t now = live += malloc_usable_size(p);
  size_t before = peak;
  while (now > before && !peak.compare_exchange_weak(before, now)) {
  }
  return p;
}

void release(void *p) {
  if (!p)
    return;
  live -= malloc_usable_size(p);
  std::free(p);
}

} // namespace

void *operator new(size_t size) { return allocate(size); }
void *operator new[](size_t size) { return allocate(size); }
void *operator new(size_t size, const std::nothrow_t &) noexcept {
  try {
    return allocate(size);
  } catch (const std::bad_alloc &) {
    return nullptr;
  }
}
void operator delete(void *p, const std::nothrow_t &) noexcept { release(p); }
void operator delete(void *p) noexcept { release(p); }
void operator delete[](void *p) noexcept { release(p); }
void operator delete(void *p, size_t) noexcept { release(p); }
void operator delete[](void *p, size_t) noexcept { release(p); }

namespace lorac::hostile {

size_t liveBytes() { return live; }
size_t peakBytes() { return peak; }

void startMeasuring(size_t failAt) {
  peak = live.load();
  count = 0;
  failed = false;
  failing = failAt;
}

bool stopFailing() {
  failing = 0;
  return failed;
}

} // namespace lorac::hostile
