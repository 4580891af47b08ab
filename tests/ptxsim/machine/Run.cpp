// The loop of a warp: splits at branches, the least instruction first, joined where they meet.
#include "tests/ptxsim/machine/Block.h"
#include "tests/ptxsim/machine/Config.h"
#include "tests/ptxsim/machine/Report.h"

namespace ptxsim {
namespace {

// Joins splits that stand at one place; returns the least one and where the next stands.
size_t leastSplit(std::vector<Split> &splits, uint32_t &next) {
  size_t least = 0;
  for (size_t k = 1; k < splits.size(); ++k)
    if (splits[k].pc < splits[least].pc)
      least = k;
  next = ~0u;
  for (size_t k = splits.size(); k-- > 0;) {
    if (k == least)
      continue;
    if (splits[k].pc == splits[least].pc) {
      splits[least].mask |= splits[k].mask;
      splits.erase(splits.begin() + static_cast<long>(k));
      least -= k < least;
    } else {
      next = std::min(next, splits[k].pc);
    }
  }
  return least;
}

void checkRegisters(Warp &warp, const Inst &inst, Mask mask) {
  Mask known = mask;
  for (int k = 0; k < inst.readCount; ++k)
    known &= warp.defined[inst.reads[k]];
  if (inst.carries) {
    for (int k = 0; k < inst.writeCount; ++k)
      storeMask(warp.defined[inst.writes[k]], known, mask);
    return;
  }
  if (known != mask) {
    int lane = std::countr_zero(mask & ~known);
    report(ReportKind::UninitialisedRegister, warp, inst, lane, [&] {
      for (int k = 0; k < inst.readCount; ++k)
        if (!(warp.defined[inst.reads[k]] >> lane & 1))
          return warp.block->launch->kernel->text.registers[inst.reads[k]].name +
                 " was never written";
      return std::string();
    });
  }
  for (int k = 0; k < inst.writeCount; ++k)
    warp.defined[inst.writes[k]] |= mask;
}

// Returns whether the warp must stop here.
bool reachBarrier(Warp &warp, const Inst &inst, Mask mask) {
  Block &block = *warp.block;
  if (mask != warp.live()) {
    report(ReportKind::DivergentSync, warp, inst, -1,
           [&] { return "reached by the lanes " + hex(mask) + " of " + hex(warp.live()); });
    block.aborted = true;
    return true;
  }
  int lane = std::countr_zero(mask);
  uint32_t barrier = warp.row<uint32_t>(inst, 0)[lane];
  uint32_t count = inst.count > 1 ? warp.row<uint32_t>(inst, 1)[lane] : 0;
  if (barrier >= 16 || count % lanes != 0) {
    report(ReportKind::BadOperand, warp, inst, lane, [&] {
      return "barrier " + std::to_string(barrier) + " for " + std::to_string(count) + " threads";
    });
    block.aborted = true;
    return true;
  }
  warp.barrier = barrier;
  warp.barrierThreads = count;
  if (inst.mode) { // arrives and goes on
    block.arrivedThreads[barrier] += lanes;
    block.shared.clocks.arrive(warp.id, barrier);
    return false;
  }
  warp.state = Warp::AtBarrier;
  warp.barrierInst = &inst;
  return true;
}

} // namespace

void runWarp(Warp &warp, uint64_t budget) {
  Block &block = *warp.block;
  const Inst *code = block.launch->kernel->code.data();
  const bool check = config().check;
  const bool products = check && !block.launch->kernel->products.empty();
  uint64_t *executed = block.counting ? block.counters.executed.data() : nullptr;
  uint64_t *executedLanes = block.counters.executedLanes.data();
  uint64_t steps = 0;
  while (!warp.splits.empty() && steps < budget && warp.state == Warp::Ready && !block.aborted) {
    uint32_t next;
    size_t place = leastSplit(warp.splits, next);
    uint32_t pc = warp.splits[place].pc;
    Mask mask = warp.splits[place].mask;
    bool only = warp.splits.size() == 1;
    bool stop = false;
    while (pc < next && steps < budget && !stop) {
      const Inst &inst = code[pc];
      Mask active = mask;
      if (inst.guard != noOperand) {
        Mask guard = warp.pred(inst.guard);
        active &= inst.guardNegated ? ~guard : guard;
      }
      ++steps;
      if (executed) {
        ++executed[pc];
        executedLanes[pc] += static_cast<uint64_t>(std::popcount(active));
      }
      if (check && active)
        checkRegisters(warp, inst, active);
      if (products && active)
        noteRegisters(warp, inst);
      if (inst.flow == Flow::Next) {
        if (active)
          inst.run(warp, inst, active);
        ++pc;
        continue;
      }
      if (!active) {
        ++pc;
        continue;
      }
      switch (inst.flow) {
      case Flow::Branch:
        if (active == mask) {
          pc = inst.target;
          stop = !only; // another split may stand before the target
        } else {
          warp.splits[place] = {pc + 1, mask & ~active};
          warp.splits.push_back({inst.target, active});
          place = ~size_t(0);
          stop = true;
        }
        break;
      case Flow::Exit:
        mask &= ~active;
        warp.splits[place].mask = mask;
        ++pc;
        stop = mask == 0;
        break;
      case Flow::Barrier:
        stop = reachBarrier(warp, inst, active);
        ++pc;
        break;
      default:
        report(ReportKind::Trap, warp, inst, std::countr_zero(active),
               [] { return std::string("the kernel gave up"); });
        block.aborted = true;
        stop = true;
      }
    }
    if (place == ~size_t(0))
      continue;
    if (mask)
      warp.splits[place] = {pc, mask};
    else
      warp.splits.erase(warp.splits.begin() + static_cast<long>(place));
  }
  block.steps += steps;
  if (warp.splits.empty())
    warp.state = Warp::Done;
}

} // namespace ptxsim
