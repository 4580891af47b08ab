// cp.async: copies to shared memory that happen as late as the ISA allows, at the wait of the
// thread that issued them. Until then their bytes are poison that nobody may touch.
#include "tests/ptxsim/decode/Decoder.h"
#include "tests/ptxsim/machine/Access.h"
#include "tests/ptxsim/machine/Block.h"
#include "tests/ptxsim/machine/Config.h"
#include "tests/ptxsim/ops/MemoryModifiers.h"

namespace ptxsim {
namespace {

constexpr int sizeOperand = 2; // source size, or the predicate of ignore-src
enum Form : uint32_t { Plain, WithSize, WithIgnore };

uint32_t bytesFromSource(Warp &warp, const Inst &inst, int lane) {
  if (inst.mode == WithIgnore)
    return warp.pred(inst.operand[sizeOperand]) >> lane & 1 ? 0 : inst.elementSize;
  return inst.mode == WithSize ? warp.row<uint32_t>(inst, sizeOperand)[lane] : inst.elementSize;
}

// The source is looked at only where bytes of it are copied. Alignment is asked of the whole copy.
Mask checkSources(Warp &warp, const Inst &inst, Access &source, const uint32_t *sizes) {
  Mask good = checkAlignment(warp, inst, source);
  Mask done = 0, todo = good;
  while (todo) { // lanes with one size at a time: usually all of them
    uint32_t size = sizes[std::countr_zero(todo)];
    Mask same = 0;
    forLanes(todo, [&](int lane) { same |= static_cast<Mask>(sizes[lane] == size) << lane; });
    todo &= ~same;
    if (size == 0) {
      done |= same;
      continue;
    }
    Access part = source;
    part.mask = same;
    part.bytes = size;
    done |= checkGlobalBytes(warp, inst, part, AccessKind::Read);
  }
  return done;
}

void copyAsync(Warp &warp, const Inst &inst, Mask mask) {
  Access destination, source;
  destination.mask = source.mask = mask;
  destination.bytes = source.bytes = inst.elementSize;
  fillAddresses(warp, inst, 0, inst.offset, destination);
  fillAddresses(warp, inst, 1, inst.offset2, source);
  uint32_t sizes[lanes];
  for (int lane = 0; lane < lanes; ++lane)
    sizes[lane] = bytesFromSource(warp, inst, lane);
  forLanes(mask, [&](int lane) {
    if (sizes[lane] <= inst.elementSize)
      return;
    report(ReportKind::BadOperand, warp, inst, lane, [&] {
      return "the source size " + std::to_string(sizes[lane]) + " is above " +
             std::to_string(inst.elementSize);
    });
    sizes[lane] = inst.elementSize;
  });
  Mask good = checkSources(warp, inst, source, sizes) & checkSharedBounds(warp, inst, destination);
  SharedMemory &shared = warp.block->shared;
  if (config().check) {
    Run runs[lanes];
    int count = joinLanes(destination, good, runs);
    for (int k = 0; k < count; ++k)
      shared.beginCopy(warp, inst, runs[k].begin, runs[k].end, runs[k].lane);
  }
  forLanes(good, [&](int lane) {
    PendingCopy copy;
    copy.source = source.address[lane];
    copy.destination = static_cast<uint32_t>(destination.address[lane]);
    copy.bytes = inst.elementSize;
    copy.fromSource = sizes[lane];
    copy.group = warp.groups[lane];
    copy.lane = static_cast<uint8_t>(lane);
    copy.inst = &inst;
    warp.copies.push_back(copy);
  });
  countCopy(warp, inst, source, destination, sizes);
}

void finish(Warp &warp, const PendingCopy &copy) {
  SharedMemory &shared = warp.block->shared;
  uint8_t *to = shared.data() + copy.destination;
  std::memcpy(to, reinterpret_cast<const void *>(copy.source), copy.fromSource);
  std::memset(to + copy.fromSource, 0, copy.bytes - copy.fromSource);
  if (config().check)
    shared.endCopy(warp, copy.destination, copy.destination + copy.bytes);
}

// Groups are each thread's own: a lane waits for its own copies only.
template <class IsDue>
void finishWhere(Warp &warp, Mask mask, IsDue isDue) {
  size_t kept = 0;
  for (const PendingCopy &copy : warp.copies)
    if ((mask >> copy.lane & 1) && isDue(copy))
      finish(warp, copy);
    else
      warp.copies[kept++] = copy;
  warp.copies.resize(kept);
}

void commitGroup(Warp &warp, const Inst &, Mask mask) {
  forLanes(mask, [&](int lane) { ++warp.groups[lane]; });
}

// All but the newest `mode` of the groups that are committed.
void waitGroup(Warp &warp, const Inst &inst, Mask mask) {
  finishWhere(warp, mask, [&](const PendingCopy &copy) {
    return static_cast<uint64_t>(copy.group) + inst.mode < warp.groups[copy.lane];
  });
}

// What is not committed yet, too.
void waitAll(Warp &warp, const Inst &inst, Mask mask) {
  commitGroup(warp, inst, mask);
  finishWhere(warp, mask, [](const PendingCopy &) { return true; });
}

void decodeCopy(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  if (modifiers.take("commit_group")) {
    inst.run = commitGroup;
    return decoder.expectOperands(0);
  }
  if (modifiers.take("wait_all")) {
    inst.run = waitAll;
    return decoder.expectOperands(0);
  }
  if (modifiers.take("wait_group")) {
    inst.run = waitGroup;
    decoder.expectOperands(1);
    inst.mode = static_cast<uint32_t>(decoder.constant(0));
    return;
  }
  int cache = modifiers.takeOne({"ca", "cg"});
  if (cache < 0 || !modifiers.take("shared") || !modifiers.take("global"))
    modifiers.fail();
  modifiers.takePrefix("L2::");
  decoder.expectOperands(3, 4);
  inst.space = Space::Global;
  int64_t size = decoder.constant(2);
  if (size != 16 && (cache == 1 || (size != 4 && size != 8)))
    decoder.fail("copies " + std::to_string(size) + " bytes");
  inst.elementSize = static_cast<uint8_t>(size);
  inst.count = 1;
  inst.offset = decoder.address(inst, 0, Space::Shared);
  inst.offset2 = decoder.address(inst, 1, Space::Global);
  inst.run = copyAsync;
  noteGranule(decoder.kernel, Space::Shared, inst.elementSize);
  noteGranule(decoder.kernel, Space::Global, inst.elementSize);
  if (decoder.operandCount() < 4)
    return;
  const Operand &last = decoder.statement().operands[3];
  bool ignores =
      last.kind == Operand::Register && decoder.kernel.text.registers[last.reg].type == Type::Pred;
  inst.mode = ignores ? WithIgnore : WithSize;
  decoder.source(inst, 3, ignores ? Type::Pred : Type::U32);
}

void decodeCp(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  if (!modifiers.take("async"))
    modifiers.fail(); // cp.reduce, cp.async.bulk and tensor copies are of later architectures
  decodeCopy(decoder, modifiers, inst);
}

} // namespace

void addAsyncCopyOps(OpcodeTable &table) { table["cp"] = decodeCp; }

} // namespace ptxsim
