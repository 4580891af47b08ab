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
