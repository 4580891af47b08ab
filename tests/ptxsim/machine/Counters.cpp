#include "tests/ptxsim/machine/Counters.h"
#include "tests/ptxsim/machine/Block.h"
#include "tests/ptxsim/machine/Report.h"
#include "tests/ptxsim/ops/MemoryModifiers.h"

namespace ptxsim {

void addCounters(const Kernel &, const LaunchCounters &) {}
void countLaunch(const Kernel &) {}
void countAccess(Warp &, const Inst &, const Access &, bool) {}
void countCopy(Warp &, const Inst &, const Access &, const Access &, const uint32_t *) {}
void countLoadMatrix(Warp &, const Inst &, const Access &) {}

// Two lanes may store to one place if they store the same.
void checkStoreConflict(Warp &warp, const Inst &inst, const Access &access, Mask mask) {
  // Rising addresses, the usual case, cannot overlap.
  const uint8_t *end = nullptr;
  bool rising = true;
  forLanes(mask, [&](int lane) {
    rising &= access.host[lane] >= end;
    end = access.host[lane] + access.bytes;
  });
  if (rising)
    return;
  forLanes(mask, [&](int lane) {
    forLanes(mask & ((1u << lane) - 1), [&](int other) {
      if (access.host[lane] != access.host[other])
        return;
      for (int k = 0; k < inst.count; ++k) {
        unsigned width = inst.width[1 + k];
        const uint8_t *row = warp.row<uint8_t>(inst, 1 + k);
        if (std::memcmp(row + static_cast<unsigned>(lane) * width,
                        row + static_cast<unsigned>(other) * width, inst.elementSize) != 0)
          report(ReportKind::StoreConflict, warp, inst, lane, [&] {
            return "lane " + std::to_string(other) + " stores another value to " +
                   hex(access.address[lane]);
          });
      }
    });
  });
}

} // namespace ptxsim
