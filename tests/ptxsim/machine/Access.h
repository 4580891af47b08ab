// One warp's access to memory: an address for each lane.
#ifndef PTXSIM_MACHINE_ACCESS_H
#define PTXSIM_MACHINE_ACCESS_H

#include "tests/ptxsim/machine/Warp.h"

namespace ptxsim {

enum class AccessKind { Read, Write, Atomic };

struct Access {
  alignas(32) uint64_t address[lanes];
  uint8_t *host[lanes]; // filled by the check: where the bytes are
  Mask mask = 0;        // lanes that take part
  uint32_t bytes = 0;   // of each
};

/// Bytes that several lanes touch together.
struct Run {
  uint64_t begin = 0, end = 0;
  int lane = 0; // its first
};

/// Joins the ranges of neighbouring lanes; returns the number of runs.
inline int joinLanes(const Access &access, Mask mask, Run *runs) {
  if (mask == allLanes) { // usually one lane stands behind the other
    uint64_t first = access.address[0], gaps = 0;
    for (int lane = 0; lane < lanes; ++lane)
      gaps |= access.address[lane] - first - static_cast<uint64_t>(lane) * access.bytes;
    if (gaps == 0) {
      runs[0] = {first, first + static_cast<uint64_t>(lanes) * access.bytes, 0};
      return 1;
    }
  }
  int count = 0;
  forLanes(mask, [&](int lane) {
    uint64_t begin = access.address[lane], end = begin + access.bytes;
    if (count > 0 && begin >= runs[count - 1].begin && begin <= runs[count - 1].end) {
      runs[count - 1].end = std::max(runs[count - 1].end, end);
      return;
    }
    runs[count++] = {begin, end, lane};
  });
  return count;
}

/// Lanes whose bytes lie in the range.
inline Mask lanesWithin(const Access &access, uint64_t begin, uint64_t size) {
  if (size < access.bytes)
    return 0;
  uint64_t last = size - access.bytes;
  bool outside = false;
  for (int lane = 0; lane < lanes; ++lane)
    outside |= access.address[lane] - begin > last;
  if (!outside)
    return allLanes;
  Mask inside = 0;
  for (int lane = 0; lane < lanes; ++lane)
    inside |= static_cast<Mask>(access.address[lane] - begin <= last) << lane;
  return inside;
}

/// Checks an access and finds its bytes. Returns the lanes that may go on; the others get poison to
/// read.
Mask checkGlobal(Warp &warp, const Inst &inst, Access &access, AccessKind kind);
Mask checkShared(Warp &warp, const Inst &inst, Access &access, AccessKind kind);
Mask checkLocal(Warp &warp, const Inst &inst, Access &access, AccessKind kind);
/// Parts of the above, for cp.async: without the alignment, and without the shadow.
Mask checkGlobalBytes(Warp &warp, const Inst &inst, Access &access, AccessKind kind);
Mask checkSharedBounds(Warp &warp, const Inst &inst, Access &access);
/// By the space of the instruction, or lane by lane where that is generic.
Mask checkAccess(Warp &warp, const Inst &inst, Access &access, AccessKind kind);

/// The lanes whose addresses are multiples of the access's size; the others are reported.
Mask checkAlignment(Warp &warp, const Inst &inst, const Access &access);

/// Fills the addresses from an operand's row.
void fillAddresses(Warp &warp, const Inst &inst, int operand, int64_t offset, Access &access);

extern uint8_t poison[64]; // what lanes get that may not read

} // namespace ptxsim

#endif
