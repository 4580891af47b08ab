// Global accesses: bounds, initialisation, and races between the blocks of one launch.
#include "tests/ptxsim/machine/Access.h"
#include "tests/ptxsim/machine/Block.h"
#include "tests/ptxsim/machine/Config.h"
#include "tests/ptxsim/machine/DeviceMemory.h"
#include "tests/ptxsim/machine/Report.h"
#include <atomic>

namespace ptxsim {
namespace {

// A cell holds the launch (16 bits), the block that wrote (24 bits) and the one that read (24
// bits).
constexpr uint64_t nobody = 0xffffff, several = 0xfffffe, atomics = 0xfffffd;

constexpr uint64_t cellOf(uint64_t launch, uint64_t writer, uint64_t reader) {
  return launch << 48 | writer << 24 | reader;
}

// Whether this access conflicts with what the cell knows; the cell learns of the access. Blocks on
// other threads do the same: when two meet at the same instant one of them may be forgotten, which
// is rare and harmless.
bool conflicts(uint64_t &place, uint64_t launch, uint64_t block, AccessKind kind) {
  std::atomic_ref<uint64_t> cell(place);
  uint64_t old = cell.load(std::memory_order_relaxed);
  uint64_t me = kind == AccessKind::Atomic ? atomics : block;
  uint64_t alone =
      kind == AccessKind::Read ? cellOf(launch, nobody, block) : cellOf(launch, me, nobody);
  if (old == alone)
    return false;
  if (old >> 48 != launch) {
    cell.store(alone, std::memory_order_relaxed);
    return false;
  }
  uint64_t writer = old >> 24 & 0xffffff, reader = old & 0xffffff;
  bool otherWriter = writer != nobody && writer != me;
  bool otherReader = reader != nobody && reader != block;
  if (kind == AccessKind::Read)
    reader = otherReader ? several : block;
  else
    writer = me;
  uint64_t now = cellOf(launch, writer, reader);
  if (now != old)
    cell.store(now, std::memory_order_relaxed);
  return otherWriter || (kind != AccessKind::Read && otherReader);
}

void checkRaces(Warp &warp, const Inst &inst, const Allocation &allocation, const Run &run,
                AccessKind kind) {
  const Launch &launch = *warp.block->launch;
  uint64_t granule = launch.kernel->globalGranule;
  uint64_t first = (run.begin - allocation.begin) / granule;
  uint64_t last = (run.end - 1 - allocation.begin) / granule;
  for (uint64_t k = first; k <= last; ++k)
    if (conflicts(allocation.touched[k], launch.stamp, warp.block->number, kind))
      report(ReportKind::GlobalRace, warp, inst, run.lane, [&] {
        return "another block of the launch has touched byte " + std::to_string(k * granule) +
               " of an allocation of " + std::to_string(allocation.size) +
               ", and one of the two writes";
      });
}

void checkDefined(Warp &warp, const Inst &inst, const Allocation &allocation, const Run &run) {
  uint64_t first = run.begin - allocation.begin, size = run.end - run.begin;
  const uint8_t *flags = allocation.defined + first;
  uint8_t all = 0xff;
  for (uint64_t k = 0; k < size; ++k)
    all &= flags[k];
  if (all)
    return;
  const void *hole = std::memchr(flags, 0, size);
  report(ReportKind::UninitialisedRead, warp, inst, run.lane, [&] {
    uint64_t byte = static_cast<uint64_t>(static_cast<const uint8_t *>(hole) - allocation.defined);
    return "byte " + std::to_string(byte) + " of an allocation of " +
           std::to_string(allocation.size) + " was never written";
  });
}

void reportOutside(Warp &warp, const Inst &inst, const Access &access, int lane) {
  uint64_t address = access.address[lane];
  const Allocation *below = deviceMemory().find(address);
  bool freed = below && below->freed && below->holds(address, access.bytes);
  report(freed ? ReportKind::UseAfterFree : ReportKind::OutOfBounds, warp, inst, lane, [&] {
    std::string text = std::to_string(access.bytes) + " bytes at " + hex(address);
    if (below)
      text += ", byte " + std::to_string(address - below->begin) + " from the begin of a" +
              (below->freed ? " freed" : "n") + " allocation of " + std::to_string(below->size);
    return text;
  });
}

} // namespace

Mask checkGlobal(Warp &warp, const Inst &inst, Access &access, AccessKind kind) {
  Mask all = access.mask;
  access.mask = checkAlignment(warp, inst, access);
  Mask inside = checkGlobalBytes(warp, inst, access, kind);
  access.mask = all;
  return inside;
}

Mask checkGlobalBytes(Warp &warp, const Inst &inst, Access &access, AccessKind kind) {
  Mask inside = 0;
  // One allocation usually holds all lanes, and the same one as the last time.
  Allocation *&cached = warp.block->lastAllocation(inst);
  Run runs[lanes];
  Mask todo = access.mask;
  while (todo) {
    int first = std::countr_zero(todo);
    if (!cached || cached->freed || !cached->holds(access.address[first], access.bytes)) {
      cached = deviceMemory().find(access.address[first]);
      if (!cached || cached->freed || !cached->holds(access.address[first], access.bytes)) {
        cached = nullptr;
        reportOutside(warp, inst, access, first);
        todo &= todo - 1;
        continue;
      }
    }
    Mask here = lanesWithin(access, cached->begin, cached->size) & todo;
    if (here == allLanes)
      std::memcpy(access.host, access.address, sizeof access.host);
    else
      forLanes(here, [&](int lane) {
        access.host[lane] = reinterpret_cast<uint8_t *>(access.address[lane]);
      });
    inside |= here;
    todo &= ~here;
    if (!config().check)
      continue;
    int count = joinLanes(access, here, runs);
    for (int k = 0; k < count; ++k) {
      if (cached->defined && kind != AccessKind::Write)
        checkDefined(warp, inst, *cached, runs[k]);
      if (cached->defined && kind != AccessKind::Read)
        std::memset(cached->defined + (runs[k].begin - cached->begin), 0xff,
                    runs[k].end - runs[k].begin);
      if (!inst.strong || kind == AccessKind::Atomic)
        checkRaces(warp, inst, *cached, runs[k], kind);
    }
  }
  return inside;
}

} // namespace ptxsim
