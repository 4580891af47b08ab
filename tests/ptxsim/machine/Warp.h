// A warp: 32 lanes whose registers are rows, and the parts of its block that handlers need.
#ifndef PTXSIM_MACHINE_WARP_H
#define PTXSIM_MACHINE_WARP_H

#include "tests/ptxsim/decode/Kernel.h"
#include "tests/ptxsim/machine/Warpgroup.h"
#include <bit>
#include <cstring>

namespace ptxsim {

struct Block;

/// Lanes that stand at the same instruction.
struct Split {
  uint32_t pc = 0;
  Mask mask = 0;
};

/// A copy that cp.async has begun and no wait has ended.
struct PendingCopy {
  uint64_t source = 0;
  uint32_t destination = 0;           // in shared memory
  uint32_t bytes = 0, fromSource = 0; // the rest is zero
  uint32_t group = 0;                 // of its lane
  uint8_t lane = 0;
  const Inst *inst = nullptr;
};

struct Warp {
  uint8_t *rows = nullptr; // the register file
  Block *block = nullptr;
  uint32_t id = 0;
  Mask threads = 0; // lanes that exist
  std::vector<Split> splits;
  enum State { Ready, AtBarrier, Done } state = Ready;
  uint32_t barrier = 0;        // where it waits
  uint32_t barrierThreads = 0; // 0: all of the block
  const Inst *barrierInst = nullptr;
  std::vector<PendingCopy> copies; // in the order of their issue
  uint32_t groups[lanes] = {};     // committed by each lane
  WarpProducts products;
  std::vector<uint8_t> local; // of all lanes, one after the other
  std::vector<Mask> defined;  // by register

  template <class T>
  T *row(const Inst &inst, int operand) const {
    return reinterpret_cast<T *>(rows + inst.operand[operand]);
  }
  Mask &pred(uint32_t row) const { return *reinterpret_cast<Mask *>(rows + row); }
  Mask live() const {
    Mask mask = 0;
    for (const Split &split : splits)
      mask |= split.mask;
    return mask;
  }
};

template <class T>
struct alignas(32) Row {
  T value[lanes];
  T &operator[](int lane) { return value[lane]; }
  const T &operator[](int lane) const { return value[lane]; }
};

/// Writes the lanes in the mask.
template <class T>
inline void store(T *to, const Row<T> &from, Mask mask) {
  if (mask == allLanes) {
    std::memcpy(to, from.value, sizeof from.value);
    return;
  }
  for (int lane = 0; lane < lanes; ++lane)
    to[lane] = mask >> lane & 1 ? from[lane] : to[lane];
}

inline void storeMask(Mask &to, Mask from, Mask mask) { to = (to & ~mask) | (from & mask); }

/// Calls body(lane) for each lane in the mask.
template <class Body>
inline void forLanes(Mask mask, Body body) {
  for (; mask; mask &= mask - 1)
    body(std::countr_zero(mask));
}

} // namespace ptxsim

#endif
