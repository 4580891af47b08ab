// Branches, the end of a thread, barriers and fences.
#include "tests/ptxsim/decode/Decoder.h"
#include "tests/ptxsim/machine/Warp.h"

namespace ptxsim {

void syncWarp(Warp &warp, const Inst &inst, Mask mask);
void fenceProxies(Warp &warp, const Inst &inst, Mask mask);

namespace {

void nothing(Warp &, const Inst &, Mask) {}

void decodeBranch(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  modifiers.take("uni");
  decoder.expectOperands(1);
  inst.flow = Flow::Branch;
  inst.target = decoder.label(0);
}

void decodeExit(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  modifiers.take("uni");
  decoder.expectOperands(0);
  inst.flow = Flow::Exit;
}

void decodeTrap(Decoder &decoder, Modifiers &, Inst &inst) {
  decoder.expectOperands(0);
  inst.flow = Flow::Trap;
}

// Barrier 0 for all threads, a number, or a number and how many threads. mode: arrives without
// waiting.
void decodeBlockBarrier(Decoder &decoder, Modifiers &modifiers, Inst &inst, bool aligned) {
  int operation = modifiers.takeOne({"sync", "arrive"});
  if (operation < 0)
    modifiers.fail();
  modifiers.take("aligned");
  inst.flow = Flow::Barrier;
  inst.mode = static_cast<uint32_t>(operation);
  inst.mode2 = aligned;
  decoder.expectOperands(operation == 1 ? 2 : 1, 2);
  inst.count = static_cast<uint8_t>(decoder.operandCount());
  for (size_t k = 0; k < decoder.operandCount(); ++k)
    decoder.source(inst, k, Type::U32);
}

void decodeBar(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  modifiers.take("cta");
  if (modifiers.take("warp")) {
    if (!modifiers.take("sync"))
      modifiers.fail();
    inst.run = syncWarp;
    decoder.expectOperands(1);
    decoder.source(inst, 0, Type::B32);
    return;
  }
  decodeBlockBarrier(decoder, modifiers, inst, true);
}

void decodeBarrier(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  modifiers.take("cta");
  decodeBlockBarrier(decoder, modifiers, inst, false);
}

// Every access here is seen by all at once: fences have nothing to do, but for those of proxies.
void decodeFence(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  if (modifiers.take("proxy")) {
    if (!modifiers.take("async"))
      modifiers.fail();
    bool others = modifiers.takeOne({"global", "shared::cluster"}) == 0;
    modifiers.take("shared");
    decoder.expectOperands(0);
    inst.run = others ? nothing : fenceProxies;
    return;
  }
  modifiers.takeOne({"sc", "acq_rel", "acquire", "release"});
  if (modifiers.takeOne({"cta", "cluster", "gpu", "sys", "gl"}) < 0)
    modifiers.fail();
  decoder.expectOperands(0);
  inst.run = nothing;
}

} // namespace

void addControlOps(OpcodeTable &table) {
  table["bra"] = decodeBranch;
  table["ret"] = decodeExit;
  table["exit"] = decodeExit;
  table["trap"] = decodeTrap;
  table["bar"] = decodeBar;
  table["barrier"] = decodeBarrier;
  table["membar"] = decodeFence;
  table["fence"] = decodeFence;
}

} // namespace ptxsim
