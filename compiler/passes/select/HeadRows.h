#pragma once
// How many rows of logits exist at a time.

#include <algorithm>
#include <cstdint>

namespace lorac::lora {

/// On a CPU as few as keep its kernels busy; on a device, where each chunk reads the head's weight
/// anew, as many hundreds as 256 MiB of logits allow.
inline int64_t chooseHeadRows(int64_t vocab, int64_t tokens, bool isDevice) {
  constexpr int64_t step = 128, mostRows = 1024, mostBytes = int64_t(256) << 20;
  int64_t rows =
      isDevice ? std::clamp(mostBytes / (4 * vocab) / step * step, step, mostRows) : step;
  return std::min(rows, tokens);
}

/// As few as a chunk may have where memory is short: what a device's tile takes; on a CPU a few
/// register tiles.
inline int64_t leastHeadRows(bool isDevice) { return isDevice ? 128 : 16; }

} // namespace lorac::lora
