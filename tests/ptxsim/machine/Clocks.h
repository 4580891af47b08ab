// Which accesses of one warp happened before those of another: vector clocks, moved on by barriers.
#ifndef PTXSIM_MACHINE_CLOCKS_H
#define PTXSIM_MACHINE_CLOCKS_H

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace ptxsim {

class Clocks {
public:
  static constexpr uint32_t maxWarps = 32;

  /// A new block: whatever has a clock up to `start()` belongs to an earlier one.
  void begin(uint32_t warpCount) {
    warps = warpCount;
    beginning = ++last;
    ++last;
    for (uint32_t warp = 0; warp < warps; ++warp) {
      std::fill(seen[warp], seen[warp] + maxWarps, beginning);
      seen[warp][warp] = last;
      leastSeen[warp] = beginning;
    }
    for (std::vector<uint32_t> &fenced : fences)
      fenced.clear();
    for (auto &arrival : arrived)
      std::fill(arrival, arrival + maxWarps, beginning);
  }

  uint32_t start() const { return beginning; }
  uint32_t now(uint32_t warp) const { return seen[warp][warp]; }
  /// Whether what `other` did at its time `clock` happened before what `warp` does now.
  bool before(uint32_t warp, uint32_t other, uint32_t clock) const {
    return clock <= seen[warp][other];
  }
  /// Up to this time the warp knows of everybody.
  uint32_t knownOfAll(uint32_t warp) const { return leastSeen[warp]; }

  /// fence.proxy.async: what the warp wrote before is there for asynchronous readers.
  void fence(uint32_t warp) {
    seen[warp][warp] = ++last;
    fences[warp].push_back(last);
  }
  /// Whether `warp` knows of a fence of `other` behind its time `clock`.
  bool fencedAfter(uint32_t warp, uint32_t other, uint32_t clock) const {
    const std::vector<uint32_t> &all = fences[other];
    auto next = std::upper_bound(all.begin(), all.end(), clock);
    return next != all.end() && *next <= seen[warp][other];
  }

  /// bar.arrive: what the warp has done is known to those who wait later.
  void arrive(uint32_t warp, uint32_t barrier) {
    for (uint32_t k = 0; k < warps; ++k)
      arrived[barrier][k] = std::max(arrived[barrier][k], seen[warp][k]);
    seen[warp][warp] = ++last;
  }

  /// The warps in the mask leave the barrier together.
  void pass(uint32_t members, uint32_t barrier) {
    uint32_t joined[maxWarps];
    std::memcpy(joined, arrived[barrier], sizeof joined);
    for (uint32_t warp = 0; warp < warps; ++warp)
      if (members >> warp & 1)
        for (uint32_t k = 0; k < warps; ++k)
          joined[k] = std::max(joined[k], seen[warp][k]);
    ++last;
    for (uint32_t warp = 0; warp < warps; ++warp) {
      if (!(members >> warp & 1))
        continue;
      std::memcpy(seen[warp], joined, sizeof joined);
      seen[warp][warp] = last;
      leastSeen[warp] = ~0u;
      for (uint32_t k = 0; k < warps; ++k)
        if (k != warp)
          leastSeen[warp] = std::min(leastSeen[warp], joined[k]);
    }
    std::fill(arrived[barrier], arrived[barrier] + maxWarps, beginning);
  }

private:
  uint32_t warps = 0, beginning = 0, last = 0;
  uint32_t seen[maxWarps][maxWarps] = {}; // [warp][other]: the other's time that the warp knows of
  uint32_t leastSeen[maxWarps] = {};
  uint32_t arrived[16][maxWarps] = {};
  std::vector<uint32_t> fences[maxWarps]; // times, rising
};

} // namespace ptxsim

#endif
