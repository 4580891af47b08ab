// Bitwise operations, shifts and permutations of bytes.
#include "tests/ptxsim/decode/Decoder.h"
#include "tests/ptxsim/ops/Elementwise.h"
#include <algorithm>

namespace ptxsim {
namespace {

struct And {
  template <class T>
  static T apply(T a, T b) {
    return a & b;
  }
};
struct Or {
  template <class T>
  static T apply(T a, T b) {
    return a | b;
  }
};
struct Xor {
  template <class T>
  static T apply(T a, T b) {
    return a ^ b;
  }
};
struct Not {
  template <class T>
  static T apply(T a) {
    return static_cast<T>(~a);
  }
};

// Predicates are masks: one operation does all lanes.
template <class Op>
void onPredicates(Warp &warp, const Inst &inst, Mask mask) {
  storeMask(warp.pred(inst.operand[0]),
            Op::apply(warp.pred(inst.operand[1]), warp.pred(inst.operand[2])), mask);
}

void notPredicate(Warp &warp, const Inst &inst, Mask mask) {
  storeMask(warp.pred(inst.operand[0]), ~warp.pred(inst.operand[1]), mask);
}

template <class Op>
void decodeBitwise(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type type = modifiers.type();
  inst.run = type == Type::Pred                              ? onPredicates<Op>
             : asUnsigned(type) == Type::U8 || isFloat(type) ? nullptr
                                                             : byBits<Binary, Op>(type);
  if (!inst.run)
    modifiers.fail();
  decoder.simple(inst, type, 3);
}

void decodeNot(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type type = modifiers.type();
  inst.run = type == Type::Pred ? notPredicate : byBits<Unary, Not>(type);
  if (!inst.run)
    modifiers.fail();
  decoder.simple(inst, type, 2);
}

// Amounts above the width shift everything out.
template <class T, bool left>
void shift(Warp &warp, const Inst &inst, Mask mask) {
  constexpr uint32_t bits = 8 * sizeof(T);
  const T *a = warp.row<T>(inst, 1);
  const uint32_t *amounts = warp.row<uint32_t>(inst, 2);
  Row<T> result;
  for (int lane = 0; lane < lanes; ++lane) {
    uint32_t amount = amounts[lane], within = std::min(amount, bits - 1);
    if constexpr (left)
      result[lane] = amount < bits ? static_cast<T>(a[lane] << within) : T(0);
    else if constexpr (std::is_signed_v<T>)
      result[lane] = static_cast<T>(a[lane] >> within);
    else
      result[lane] = amount < bits ? static_cast<T>(a[lane] >> within) : T(0);
  }
  store(warp.row<T>(inst, 0), result, mask);
}

struct Left {};
struct Right {};
template <class Direction, class T>
struct Shift {
  static constexpr Handler run = shift<T, std::is_same_v<Direction, Left>>;
};

template <class Direction>
void decodeShift(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type type = modifiers.type();
  inst.run = std::is_same_v<Direction, Left> ? byBits<Shift, Direction>(type)
                                             : byInteger<Shift, Direction>(type);
  if (!inst.run)
    modifiers.fail();
  decoder.expectOperands(3);
  decoder.destination(inst, 0, type);
  decoder.source(inst, 1, type);
  decoder.source(inst, 2, Type::U32);
}

// shf: a is the low word, b the high one. mode: bit 0 left, bit 1 wrap.
void funnelShift(Warp &warp, const Inst &inst, Mask mask) {
  const uint32_t *a = warp.row<uint32_t>(inst, 1), *b = warp.row<uint32_t>(inst, 2),
                 *c = warp.row<uint32_t>(inst, 3);
  Row<uint32_t> result;
  for (int lane = 0; lane < lanes; ++lane) {
    uint64_t both = static_cast<uint64_t>(b[lane]) << 32 | a[lane];
    uint32_t amount = inst.mode & 2 ? c[lane] & 31 : std::min(c[lane], 32u);
    result[lane] = static_cast<uint32_t>(inst.mode & 1 ? both << amount >> 32 : both >> amount);
  }
  store(warp.row<uint32_t>(inst, 0), result, mask);
}

void decodeFunnelShift(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  int direction = modifiers.takeOne({"r", "l"}), overflow = modifiers.takeOne({"clamp", "wrap"});
  if (direction < 0 || overflow < 0 || modifiers.type() != Type::B32)
    modifiers.fail();
  inst.mode = static_cast<uint32_t>(direction | overflow << 1);
  inst.run = funnelShift;
  decoder.simple(inst, Type::B32, 4);
}

// prmt, default mode: each nibble of the selector names one of eight bytes, or spreads its sign.
void permute(Warp &warp, const Inst &inst, Mask mask) {
  const uint32_t *a = warp.row<uint32_t>(inst, 1), *b = warp.row<uint32_t>(inst, 2),
                 *selectors = warp.row<uint32_t>(inst, 3);
  Row<uint32_t> result;
  for (int lane = 0; lane < lanes; ++lane) {
    uint64_t bytes = static_cast<uint64_t>(b[lane]) << 32 | a[lane];
    uint32_t selector = selectors[lane], value = 0;
    for (int k = 0; k < 4; ++k) {
      uint32_t choice = selector >> 4 * k;
      uint32_t byte = static_cast<uint32_t>(bytes >> 8 * (choice & 7)) & 0xff;
      uint32_t sign = byte & 0x80 ? 0xff : 0;
      value |= (choice & 8 ? sign : byte) << 8 * k;
    }
    result[lane] = value;
  }
  store(warp.row<uint32_t>(inst, 0), result, mask);
}

// The other modes choose a pattern by the selector's two lowest bits (PTX ISA, `prmt`).
constexpr uint16_t permutePatterns[6][4] = {
    {0x3210, 0x4321, 0x5432, 0x6543}, // f4e: four bytes forward
    {0x5670, 0x6701, 0x7012, 0x0123}, // b4e: four bytes backward
    {0x0000, 0x1111, 0x2222, 0x3333}, // rc8: one byte replicated
    {0x3210, 0x3211, 0x3222, 0x3333}, // ecl: edge clamped on the left
    {0x0000, 0x1110, 0x2210, 0x3210}, // ecr: edge clamped on the right
    {0x1010, 0x3232, 0x1010, 0x3232}, // rc16: one half-word replicated
};

void permutePattern(Warp &warp, const Inst &inst, Mask mask) {
  const uint32_t *a = warp.row<uint32_t>(inst, 1), *b = warp.row<uint32_t>(inst, 2),
                 *selectors = warp.row<uint32_t>(inst, 3);
  Row<uint32_t> result;
  for (int lane = 0; lane < lanes; ++lane) {
    uint64_t bytes = static_cast<uint64_t>(b[lane]) << 32 | a[lane];
    uint32_t pattern = permutePatterns[inst.mode][selectors[lane] & 3], value = 0;
    for (int k = 0; k < 4; ++k)
      value |= (static_cast<uint32_t>(bytes >> 8 * (pattern >> 4 * k & 7)) & 0xff) << 8 * k;
    result[lane] = value;
  }
  store(warp.row<uint32_t>(inst, 0), result, mask);
}

void decodePermute(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  if (modifiers.type() != Type::B32)
    modifiers.fail();
  int pattern = modifiers.takeOne({"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"});
  inst.run = pattern < 0 ? permute : permutePattern;
  inst.mode = static_cast<uint32_t>(std::max(pattern, 0));
  decoder.simple(inst, Type::B32, 4);
}

// lop3: bit k of the table is the result for (a, b, c) = the bits of k.
void logic3(Warp &warp, const Inst &inst, Mask mask) {
  const uint32_t *a = warp.row<uint32_t>(inst, 1), *b = warp.row<uint32_t>(inst, 2),
                 *c = warp.row<uint32_t>(inst, 3);
  Row<uint32_t> result;
  for (int lane = 0; lane < lanes; ++lane) {
    uint32_t value = 0;
    for (uint32_t k = 0; k < 8; ++k) {
      uint32_t term = (k & 4 ? a[lane] : ~a[lane]) & (k & 2 ? b[lane] : ~b[lane]) &
                      (k & 1 ? c[lane] : ~c[lane]);
      value |= inst.mode >> k & 1 ? term : 0;
    }
    result[lane] = value;
  }
  store(warp.row<uint32_t>(inst, 0), result, mask);
}

void decodeLogic3(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  if (modifiers.type() != Type::B32)
    modifiers.fail();
  decoder.expectOperands(5);
  decoder.destination(inst, 0, Type::B32);
  for (size_t k = 1; k < 4; ++k)
    decoder.source(inst, k, Type::B32);
  inst.mode = static_cast<uint32_t>(decoder.constant(4));
  inst.run = logic3;
}

} // namespace

void addLogicOps(OpcodeTable &table) {
  table["and"] = decodeBitwise<And>;
  table["or"] = decodeBitwise<Or>;
  table["xor"] = decodeBitwise<Xor>;
  table["not"] = decodeNot;
  table["shl"] = decodeShift<Left>;
  table["shr"] = decodeShift<Right>;
  table["shf"] = decodeFunnelShift;
  table["prmt"] = decodePermute;
  table["lop3"] = decodeLogic3;
}

} // namespace ptxsim
