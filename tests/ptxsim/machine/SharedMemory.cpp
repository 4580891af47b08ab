#include "tests/ptxsim/machine/SharedMemory.h"
#include "tests/ptxsim/machine/Block.h"
#include "tests/ptxsim/machine/Config.h"
#include "tests/ptxsim/machine/DeviceMemory.h"
#include "tests/ptxsim/machine/Report.h"

namespace ptxsim {
namespace {

std::string otherSide(const Kernel &kernel, const char *what, uint32_t warp, uint32_t inst,
                      uint64_t address) {
  return std::string(what) + " by warp " + std::to_string(warp) + " at " +
         kernel.whereIs(kernel.code[inst]) + ", shared byte " + std::to_string(address);
}

} // namespace

void SharedMemory::begin(const Kernel &kernel, uint32_t dynamicSize, uint32_t warps) {
  fixed = kernel.staticShared;
  dynamic = kernel.dynamicShared;
  dynamicBytes = dynamicSize;
  granule = kernel.sharedGranule;
  size_t size = (dynamicSize ? dynamic + dynamicSize : fixed) + 16;
  if (bytes.size() < size)
    bytes.resize(size);
  std::memset(bytes.data(), poisonByte, size);
  if (config().check && cells.size() < size / granule + 1)
    cells.resize(size / granule + 1);
  clocks.begin(warps);
}

void SharedMemory::read(Warp &warp, const Inst &inst, SharedCell &cell, uint64_t address,
                        int lane) {
  const Kernel &kernel = *warp.block->launch->kernel;
  uint32_t me = warp.id;
  if (cell.state == SharedCell::Pending && cell.writeClock > clocks.start()) {
    report(ReportKind::PendingCopy, warp, inst, lane, [&] {
      return otherSide(kernel, "copied without a wait", cell.writer, cell.writeInst, address);
    });
  } else if (cell.writeClock <= clocks.start()) {
    report(ReportKind::UninitialisedRead, warp, inst, lane,
           [&] { return "shared byte " + std::to_string(address) + " was never written"; });
  } else if (cell.writer != me && !clocks.before(me, cell.writer, cell.writeClock) &&
             !inst.strong) {
    report(ReportKind::SharedRace, warp, inst, lane, [&] {
      return "read after a write " +
             otherSide(kernel, "without a barrier", cell.writer, cell.writeInst, address);
    });
  }
  uint32_t now = clocks.now(me);
  if (cell.readClock == now)
    cell.readers |= 1u << me;
  else if (clocks.beforeFromAll(me, cell.readClock) || cell.readers == 1u << me) {
    cell.readers = 1u << me;
    cell.readClock = now;
  } else { // readers of several times: the earliest of them may miss a race, never invent one
    cell.readers |= 1u << me;
    cell.readClock = std::min(cell.readClock, now);
  }
  cell.readInst = inst.index;
}

void SharedMemory::write(Warp &warp, const Inst &inst, SharedCell &cell, uint64_t address, int lane,
                         AccessKind kind) {
  const Kernel &kernel = *warp.block->launch->kernel;
  uint32_t me = warp.id;
  bool bothAtomic = kind == AccessKind::Atomic && cell.state == SharedCell::WrittenAtomically;
  if (cell.writeClock > clocks.start()) {
    if (cell.state == SharedCell::Pending)
      report(ReportKind::SharedRace, warp, inst, lane, [&] {
        return "write over " +
               otherSide(kernel, "a copy without a wait", cell.writer, cell.writeInst, address);
      });
    else if (cell.writer != me && !clocks.before(me, cell.writer, cell.writeClock) && !bothAtomic &&
             !inst.strong)
      report(ReportKind::SharedRace, warp, inst, lane, [&] {
        return "write after a write " +
               otherSide(kernel, "without a barrier", cell.writer, cell.writeInst, address);
      });
  }
  uint32_t others = cell.readers & ~(1u << me);
  if (others && !clocks.beforeFromAll(me, cell.readClock) && !inst.strong)
    forLanes(others, [&](int reader) {
      if (!clocks.before(me, static_cast<uint32_t>(reader), cell.readClock))
        report(ReportKind::SharedRace, warp, inst, lane, [&] {
          return "write after a read " + otherSide(kernel, "without a barrier",
                                                   static_cast<uint32_t>(reader), cell.readInst,
                                                   address);
        });
    });
  cell.readers = 0;
  cell.readClock = 0;
  cell.writer = static_cast<uint8_t>(me);
  cell.writeClock = clocks.now(me);
  cell.writeInst = inst.index;
  cell.state = kind == AccessKind::Atomic ? SharedCell::WrittenAtomically : SharedCell::Written;
}

void SharedMemory::touch(Warp &warp, const Inst &inst, uint64_t begin, uint64_t end,
                         AccessKind kind, int lane) {
  for (uint64_t k = begin / granule; k * granule < end; ++k) {
    SharedCell &cell = cells[k];
    if (kind == AccessKind::Read)
      read(warp, inst, cell, k * granule, lane);
    else if (kind == AccessKind::Atomic && cell.state != SharedCell::WrittenAtomically)
      read(warp, inst, cell, k * granule, lane);
    if (kind != AccessKind::Read)
      write(warp, inst, cell, k * granule, lane, kind);
  }
}

void SharedMemory::beginCopy(Warp &warp, const Inst &inst, uint64_t begin, uint64_t end, int lane) {
  std::memset(bytes.data() + begin, poisonByte, end - begin);
  for (uint64_t k = begin / granule; k * granule < end; ++k) {
    write(warp, inst, cells[k], k * granule, lane, AccessKind::Write);
    cells[k].state = SharedCell::Pending;
  }
}

void SharedMemory::endCopy(Warp &warp, uint64_t begin, uint64_t end) {
  for (uint64_t k = begin / granule; k * granule < end; ++k) {
    cells[k].state = SharedCell::Written;
    cells[k].writer = static_cast<uint8_t>(warp.id);
    cells[k].writeClock = clocks.now(warp.id);
  }
}

Mask checkSharedBounds(Warp &warp, const Inst &inst, Access &access) {
  SharedMemory &shared = warp.block->shared;
  Mask good = checkAlignment(warp, inst, access), inside = good;
  forLanes(good, [&](int lane) {
    if (shared.holds(access.address[lane], access.bytes)) {
      access.host[lane] = shared.data() + access.address[lane];
      return;
    }
    inside &= ~(1u << lane);
    report(ReportKind::OutOfBounds, warp, inst, lane, [&] {
      return std::to_string(access.bytes) + " bytes at the shared address " +
             hex(access.address[lane]);
    });
  });
  return inside;
}

Mask checkShared(Warp &warp, const Inst &inst, Access &access, AccessKind kind) {
  SharedMemory &shared = warp.block->shared;
  Mask inside = checkSharedBounds(warp, inst, access);
  if (config().check) {
    Run runs[lanes];
    int count = joinLanes(access, inside, runs);
    for (int k = 0; k < count; ++k)
      shared.touch(warp, inst, runs[k].begin, runs[k].end, kind, runs[k].lane);
  }
  return inside;
}

} // namespace ptxsim
