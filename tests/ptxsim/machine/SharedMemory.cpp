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
  if (!kernel.products.empty()) // an aborted block may have left some
    for (SharedCell &cell : cells)
      cell.asyncReads = 0;
  clocks.begin(warps);
}

void SharedMemory::reportRead(Warp &warp, const Inst &inst, const SharedCell &cell,
                              uint64_t address, int lane) {
  const Kernel &kernel = *warp.block->launch->kernel;
  if (cell.writeClock <= clocks.start())
    report(ReportKind::UninitialisedRead, warp, inst, lane,
           [&] { return "shared byte " + std::to_string(address) + " was never written"; });
  else if (cell.state == SharedCell::Pending)
    report(ReportKind::PendingCopy, warp, inst, lane, [&] {
      return otherSide(kernel, "copied without a wait", cell.writer, cell.writeInst, address);
    });
  else if (cell.writer != warp.id && !clocks.before(warp.id, cell.writer, cell.writeClock) &&
           !inst.strong)
    report(ReportKind::SharedRace, warp, inst, lane, [&] {
      return "read after a write " +
             otherSide(kernel, "without a barrier", cell.writer, cell.writeInst, address);
    });
}

void SharedMemory::reportWrite(Warp &warp, const Inst &inst, const SharedCell &cell,
                               uint64_t address, int lane, bool atomic) {
  const Kernel &kernel = *warp.block->launch->kernel;
  uint32_t me = warp.id;
  bool bothAtomic = atomic && cell.state == SharedCell::WrittenAtomically;
  if (cell.asyncReads)
    report(ReportKind::SharedRace, warp, inst, lane, [&] {
      return "write under a product without a wait, shared byte " + std::to_string(address);
    });
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
  if (inst.strong)
    return;
  forLanes(cell.readers & ~(1u << me), [&](int lane32) {
    auto reader = static_cast<uint32_t>(lane32);
    if (clocks.before(me, reader, cell.readClock))
      return;
    report(ReportKind::SharedRace, warp, inst, lane, [&] {
      return "write after a read " +
             otherSide(kernel, "without a barrier", reader, cell.readInst, address);
    });
  });
}

void SharedMemory::readAll(Warp &warp, const Inst &inst, uint64_t begin, uint64_t end, int lane) {
  const uint32_t me = warp.id, known = clocks.knownOfAll(me), start = clocks.start();
  for (uint64_t k = begin / granule; k * granule < end; ++k) {
    SharedCell &cell = cells[k];
    bool fine = cell.writeClock > start && cell.state == SharedCell::Written &&
                (cell.writer == me || cell.writeClock <= known);
    if (!fine)
      reportRead(warp, inst, cell, k * granule, lane);
    noteReader(cell, me, inst);
  }
}

void SharedMemory::noteReader(SharedCell &cell, uint32_t warp, const Inst &inst) {
  const uint32_t bit = 1u << warp, now = clocks.now(warp);
  if (cell.readClock == now) {
    cell.readers |= bit;
  } else if (cell.readClock <= clocks.knownOfAll(warp) || cell.readers == bit) {
    cell.readers = bit;
    cell.readClock = now;
  } else { // readers of several times: the earliest of them may miss a race, never invent one
    cell.readers |= bit;
    cell.readClock = std::min(cell.readClock, now);
  }
  cell.readInst = inst.index;
}

void SharedMemory::writeAll(Warp &warp, const Inst &inst, uint64_t begin, uint64_t end, int lane,
                            SharedCell::State state) {
  const uint32_t me = warp.id, others = ~(1u << me);
  const uint32_t now = clocks.now(me), known = clocks.knownOfAll(me), start = clocks.start();
  for (uint64_t k = begin / granule; k * granule < end; ++k) {
    SharedCell &cell = cells[k];
    bool fine = (cell.writeClock <= start || (cell.state != SharedCell::Pending &&
                                              (cell.writer == me || cell.writeClock <= known))) &&
                ((cell.readers & others) == 0 || cell.readClock <= known) && !cell.asyncReads;
    if (!fine)
      reportWrite(warp, inst, cell, k * granule, lane, state == SharedCell::WrittenAtomically);
    cell = {now, 0, 0, inst.index, 0, cell.asyncReads, static_cast<uint8_t>(me), state};
  }
}

void SharedMemory::touch(Warp &warp, const Inst &inst, uint64_t begin, uint64_t end,
                         AccessKind kind, int lane) {
  if (kind == AccessKind::Read)
    return readAll(warp, inst, begin, end, lane);
  if (kind == AccessKind::Write)
    return writeAll(warp, inst, begin, end, lane, SharedCell::Written);
  for (uint64_t k = begin / granule; k * granule < end; ++k) {
    if (cells[k].state != SharedCell::WrittenAtomically || cells[k].writeClock <= clocks.start())
      reportRead(warp, inst, cells[k], k * granule, lane);
    writeAll(warp, inst, k * granule, k * granule + 1, lane, SharedCell::WrittenAtomically);
  }
}

void SharedMemory::beginCopy(Warp &warp, const Inst &inst, uint64_t begin, uint64_t end, int lane) {
  std::memset(bytes.data() + begin, poisonByte, end - begin);
  writeAll(warp, inst, begin, end, lane, SharedCell::Pending);
}

void SharedMemory::endCopy(Warp &warp, uint64_t begin, uint64_t end) {
  for (uint64_t k = begin / granule; k * granule < end; ++k) {
    cells[k].state = SharedCell::Written;
    cells[k].writer = static_cast<uint8_t>(warp.id);
    cells[k].writeClock = clocks.now(warp.id);
  }
}

void SharedMemory::beginAsyncRead(Warp &warp, const Inst &inst, uint64_t begin, uint64_t end) {
  readAll(warp, inst, begin, end, -1);
  for (uint64_t k = begin / granule; k * granule < end; ++k) {
    SharedCell &cell = cells[k];
    ++cell.asyncReads;
    if (cell.writeClock > clocks.start() &&
        !clocks.fencedAfter(warp.id, cell.writer, cell.writeClock))
      report(ReportKind::ProxyRace, warp, inst, -1, [&] {
        return otherSide(*warp.block->launch->kernel, "written", cell.writer, cell.writeInst,
                         k * granule);
      });
  }
}

void SharedMemory::endAsyncRead(Warp &warp, const Inst &inst, uint64_t begin, uint64_t end) {
  for (uint64_t k = begin / granule; k * granule < end; ++k) {
    --cells[k].asyncReads;
    noteReader(cells[k], warp.id, inst);
  }
}

Mask checkSharedBounds(Warp &warp, const Inst &inst, Access &access) {
  SharedMemory &shared = warp.block->shared;
  Mask good = checkAlignment(warp, inst, access);
  Mask inside = good & shared.lanesInside(access);
  forLanes(inside, [&](int lane) { access.host[lane] = shared.data() + access.address[lane]; });
  forLanes(good & ~inside, [&](int lane) {
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
