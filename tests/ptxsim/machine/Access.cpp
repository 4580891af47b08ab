#include "tests/ptxsim/machine/Access.h"
#include "tests/ptxsim/machine/AddressSpace.h"
#include "tests/ptxsim/machine/Block.h"
#include "tests/ptxsim/machine/DeviceMemory.h"
#include "tests/ptxsim/machine/Report.h"

namespace ptxsim {

uint8_t poison[64];

namespace {
const bool poisoned = (std::memset(poison, poisonByte, sizeof poison), true);
}

void fillAddresses(Warp &warp, const Inst &inst, int operand, int64_t offset, Access &access) {
  if (inst.width[operand] == 4) { // 32-bit addresses wrap
    const uint32_t *base = warp.row<uint32_t>(inst, operand);
    for (int lane = 0; lane < lanes; ++lane)
      access.address[lane] = base[lane] + static_cast<uint32_t>(offset);
    return;
  }
  const uint64_t *base = warp.row<uint64_t>(inst, operand);
  for (int lane = 0; lane < lanes; ++lane)
    access.address[lane] = base[lane] + static_cast<uint64_t>(offset);
}

Mask checkAlignment(Warp &warp, const Inst &inst, const Access &access) {
  uint64_t odd = 0;
  for (int lane = 0; lane < lanes; ++lane)
    odd |= access.address[lane];
  if ((odd & (access.bytes - 1)) == 0)
    return access.mask;
  Mask good = access.mask;
  for (int lane = 0; lane < lanes; ++lane)
    good &= ~(static_cast<Mask>((access.address[lane] & (access.bytes - 1)) != 0) << lane);
  if (Mask bad = access.mask & ~good) {
    int lane = std::countr_zero(bad);
    report(ReportKind::Misaligned, warp, inst, lane, [&] {
      return hex(access.address[lane]) + " is not a multiple of " + std::to_string(access.bytes);
    });
  }
  return good;
}

Mask checkLocal(Warp &warp, const Inst &inst, Access &access, AccessKind kind) {
  uint64_t size = warp.block->launch->kernel->localBytes;
  Mask good = checkAlignment(warp, inst, access), inside = good;
  forLanes(good, [&](int lane) {
    uint64_t address = access.address[lane];
    if (address <= size && size - address >= access.bytes) {
      access.host[lane] = warp.local.data() + static_cast<uint64_t>(lane) * size + address;
      return;
    }
    inside &= ~(1u << lane);
    report(ReportKind::OutOfBounds, warp, inst, lane, [&] {
      return std::to_string(access.bytes) + " bytes at the local address " + hex(address);
    });
  });
  return inside;
}

Mask checkAccess(Warp &warp, const Inst &inst, Access &access, AccessKind kind) {
  for (uint8_t *&host : access.host)
    host = poison;
  switch (inst.space) {
  case Space::Shared:
    return checkShared(warp, inst, access, kind);
  case Space::Local:
    return checkLocal(warp, inst, access, kind);
  case Space::Generic:
    break;
  default:
    return checkGlobal(warp, inst, access, kind);
  }
  // Each window on its own, with addresses that begin at its own zero.
  Mask all = access.mask, good = 0;
  for (Space space : {Space::Global, Space::Shared, Space::Local}) {
    Mask here = 0;
    forLanes(all, [&](int lane) {
      here |= static_cast<Mask>(spaceOf(access.address[lane]) == space) << lane;
    });
    if (!here)
      continue;
    Access part = access;
    part.mask = here;
    for (uint64_t &address : part.address)
      address -= windowOf(space);
    good |= space == Space::Shared  ? checkShared(warp, inst, part, kind)
            : space == Space::Local ? checkLocal(warp, inst, part, kind)
                                    : checkGlobal(warp, inst, part, kind);
    forLanes(here, [&](int lane) { access.host[lane] = part.host[lane]; });
  }
  return good;
}

} // namespace ptxsim
