// mov with its packing and unpacking forms, and cvta.
#include "tests/ptxsim/decode/Decoder.h"
#include "tests/ptxsim/machine/AddressSpace.h"
#include "tests/ptxsim/ops/Elementwise.h"

namespace ptxsim {
namespace {

template <class T>
void move(Warp &warp, const Inst &inst, Mask mask) {
  const T *from = warp.row<T>(inst, 1);
  T *to = warp.row<T>(inst, 0);
  if (mask == allLanes)
    std::memcpy(to, from, sizeof(T) * lanes);
  else
    forLanes(mask, [&](int lane) { to[lane] = from[lane]; });
}

void movePredicate(Warp &warp, const Inst &inst, Mask mask) {
  storeMask(warp.pred(inst.operand[0]), warp.pred(inst.operand[1]), mask);
}

Handler moveHandler(Type type) {
  switch (sizeOf(type)) {
  case 0:
    return movePredicate;
  case 1:
    return move<uint8_t>;
  case 2:
    return move<uint16_t>;
  case 4:
    return move<uint32_t>;
  default:
    return move<uint64_t>;
  }
}

// `mov.b64 %rd, {%r1, %r2}`: the first is the lowest. count: elements.
void packElements(Warp &warp, const Inst &inst, Mask mask) {
  unsigned whole = inst.width[0], part = inst.elementSize;
  forLanes(mask, [&](int lane) {
    uint8_t *to = warp.row<uint8_t>(inst, 0) + lane * whole;
    uint8_t bytes[8];
    for (unsigned k = 0; k < inst.count; ++k)
      std::memcpy(bytes + k * part, warp.row<uint8_t>(inst, 1 + static_cast<int>(k)) + lane * part,
                  part);
    std::memcpy(to, bytes, whole);
  });
}

void unpackElements(Warp &warp, const Inst &inst, Mask mask) {
  unsigned part = inst.elementSize, whole = part * inst.count;
  int source = inst.count;
  forLanes(mask, [&](int lane) {
    uint8_t bytes[8];
    std::memcpy(bytes, warp.row<uint8_t>(inst, source) + lane * whole, whole);
    for (unsigned k = 0; k < inst.count; ++k)
      std::memcpy(warp.row<uint8_t>(inst, static_cast<int>(k)) + lane * inst.width[k],
                  bytes + k * part, part);
  });
}

Type bitsOf(unsigned size) {
  return size == 1 ? Type::B8 : size == 2 ? Type::B16 : size == 4 ? Type::B32 : Type::B64;
}

void decodeMove(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type type = modifiers.type();
  decoder.expectOperands(2);
  const Operand &to = decoder.statement().operands[0], &from = decoder.statement().operands[1];
  inst.carries = true;
  if (to.kind != Operand::Vector && from.kind != Operand::Vector) {
    inst.run = moveHandler(type);
    return decoder.simple(inst, type, 2);
  }
  const Operand &vector = to.kind == Operand::Vector ? to : from;
  unsigned size = sizeOf(type) / static_cast<unsigned>(vector.parts.size());
  if (size == 0 || size * vector.parts.size() != sizeOf(type) || size > 4)
    modifiers.fail();
  inst.count = static_cast<uint8_t>(vector.parts.size());
  inst.elementSize = static_cast<uint8_t>(size);
  if (&vector == &from) {
    inst.run = packElements;
    decoder.destination(inst, 0, type);
    for (const Operand &part : from.parts)
      decoder.source(inst, part, bitsOf(size));
  } else {
    inst.run = unpackElements;
    for (const Operand &part : to.parts)
      decoder.destination(inst, part, bitsOf(size), false, true);
    decoder.source(inst, 1, type);
  }
}

// Generic addresses of global and constant memory are their own; those of windows have its number
// on top.
void addWindow(Warp &warp, const Inst &inst, Mask mask) {
  const uint64_t *from = warp.row<uint64_t>(inst, 1);
  Row<uint64_t> result;
  for (int lane = 0; lane < lanes; ++lane)
    result[lane] = from[lane] + static_cast<uint64_t>(inst.offset);
  store(warp.row<uint64_t>(inst, 0), result, mask);
}

void decodeConvertAddress(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  bool toSpace = modifiers.take("to");
  int space = modifiers.takeOne({"global", "const", "shared", "local"});
  if (space < 0)
    modifiers.fail();
  constexpr Space spaces[] = {Space::Global, Space::Const, Space::Shared, Space::Local};
  uint64_t window = windowOf(spaces[space]);
  if (modifiers.type() != Type::U64)
    modifiers.fail();
  inst.offset = static_cast<int64_t>(toSpace ? 0 - window : window);
  inst.run = addWindow;
  decoder.simple(inst, Type::U64, 2);
}

} // namespace

void addMoveOps(OpcodeTable &table) {
  table["mov"] = decodeMove;
  table["cvta"] = decodeConvertAddress;
}

} // namespace ptxsim
