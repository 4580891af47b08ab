#pragma once
// malloc, kept to what is in use.

#include <cstdint>

namespace lorac::train {

/// Once, at the start: one heap for all threads, and large blocks in pages of their own, which go
/// back when they are freed.
void settleHeap();

/// Gives back the pages of what was freed.
void trimHeap();

/// Bytes that are allocated now.
uint64_t heapInUse();

} // namespace lorac::train
