#include "runtime/train/Heap.h"

#include <malloc.h>

namespace lorac::train {

void settleHeap() {
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, 128 << 10); // else it grows with what is freed
  mallopt(M_TRIM_THRESHOLD, 128 << 10);
}

void trimHeap() { malloc_trim(0); }

uint64_t heapInUse() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

} // namespace lorac::train
