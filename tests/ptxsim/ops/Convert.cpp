// cvt: every pair of scalar types, and the packing of two floats into a pair of 16-bit ones.
// This file is compiled with -frounding-math: directed rounding is the host's own.
#include "tests/ptxsim/decode/Decoder.h"
#include "tests/ptxsim/ops/Elementwise.h"
#include "tests/ptxsim/ops/HalfNumbers.h"
#include <algorithm>
#include <cfenv>
#include <limits>
#include <type_traits>

namespace ptxsim {
namespace {

struct F16 {
  uint16_t bits;
};
struct BF16 {
  uint16_t bits;
};

template <class T>
constexpr bool isHalf = std::is_same_v<T, F16> || std::is_same_v<T, BF16>;
template <class T>
constexpr bool isInteger = std::is_integral_v<T>;

// Bits of an instruction's mode.
constexpr uint32_t flushes = 1, saturates = 2, rectifies = 4, roundsToInteger = 8;

uint16_t truncatedToBf16(float value) {
  return value != value ? 0x7fff : static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
}

uint16_t truncatedToF16(float value) {
  uint16_t nearest = toF16(value);
  if (value != value || std::fabs(fromF16(nearest)) <= std::fabs(value))
    return nearest;
  return static_cast<uint16_t>(nearest - 1); // below infinity stands the largest number
}

template <class T>
auto widen(T value) {
  if constexpr (std::is_same_v<T, F16>)
    return fromF16(value.bits);
  else if constexpr (std::is_same_v<T, BF16>)
    return fromBf16(value.bits);
  else
    return value;
}

// The value is already an integer, or is cut; NaN is 0, the rest is clamped.
template <class To>
To clampToInteger(double value) {
  using Limits = std::numeric_limits<To>;
  if (value != value)
    return 0;
  if (value <= static_cast<double>(Limits::min()))
    return Limits::min();
  if (value >= std::ldexp(1.0, Limits::digits))
    return Limits::max();
  return static_cast<To>(value);
}

template <class To, class From>
To clampInteger(From value) {
  using Limits = std::numeric_limits<To>;
  if (std::cmp_less(value, Limits::min()))
    return Limits::min();
  if (std::cmp_greater(value, Limits::max()))
    return Limits::max();
  return static_cast<To>(value);
}

template <class T>
T flush(T value) {
  return std::fabs(value) < std::numeric_limits<float>::min() ? std::copysign(T(0), value) : value;
}

template <class To, class From>
To convert(From from, uint32_t mode, uint32_t rounding) {
  if constexpr (isInteger<To> && isInteger<From>) {
    return mode & saturates ? clampInteger<To>(from) : static_cast<To>(from);
  } else if constexpr (isInteger<To>) {
    auto value = static_cast<double>(widen(from));
    if (std::is_same_v<From, float> && mode & flushes)
      value = flush(value);
    return clampToInteger<To>(std::nearbyint(value)); // in the host's rounding mode
  } else {
    auto value = widen(from);
    if constexpr (!isInteger<From>) {
      if (std::is_same_v<From, float> && mode & flushes)
        value = flush(value);
      if (mode & roundsToInteger)
        value = std::nearbyint(value);
      if (mode & saturates)
        value = value > 0 ? (value < 1 ? value : 1) : 0;
      if (mode & rectifies)
        value = value > 0 || value != value ? value : 0;
    }
    if constexpr (isHalf<To>) {
      float narrow = oddFloat(static_cast<double>(value));
      if constexpr (std::is_same_v<To, F16>)
        return {rounding == FE_TOWARDZERO ? truncatedToF16(narrow) : toF16(narrow)};
      else
        return {rounding == FE_TOWARDZERO ? truncatedToBf16(narrow) : toBf16(narrow)};
    } else {
      auto result = static_cast<To>(value);
      if constexpr (std::is_same_v<To, float>)
        if (mode & flushes)
          result = flush(result);
      return result;
    }
  }
}

// Registers may be wider than the types: the low bytes are read, and all are written, by the sign
// of the type.
template <class To, class From>
void convertRows(Warp &warp, const Inst &inst, Mask mask) {
  const uint8_t *from = warp.row<uint8_t>(inst, 1);
  unsigned fromWidth = inst.width[1], toWidth = inst.width[0];
  if (inst.mode2 != FE_TONEAREST)
    std::fesetround(static_cast<int>(inst.mode2));
  Row<From> values;
  if (fromWidth == sizeof(From))
    std::memcpy(values.value, from, sizeof values.value);
  else
    for (int lane = 0; lane < lanes; ++lane)
      std::memcpy(&values[lane], from + lane * fromWidth, sizeof(From));
  Row<To> results;
  for (int lane = 0; lane < lanes; ++lane)
    results[lane] = convert<To>(values[lane], inst.mode, inst.mode2);
  if (inst.mode2 != FE_TONEAREST)
    std::fesetround(FE_TONEAREST);
  if (toWidth == sizeof(To))
    return store(warp.row<To>(inst, 0), results, mask);
  uint8_t *to = warp.row<uint8_t>(inst, 0);
  forLanes(mask, [&](int lane) {
    int64_t wide = 0;
    if constexpr (isInteger<To>)
      wide = static_cast<int64_t>(results[lane]);
    else
      std::memcpy(&wide, &results[lane], sizeof(To));
    std::memcpy(to + lane * toWidth, &wide, toWidth);
  });
}

template <class To>
Handler bySource(Type from) {
  switch (from) {
  case Type::U8:
    return convertRows<To, uint8_t>;
  case Type::U16:
    return convertRows<To, uint16_t>;
  case Type::U32:
    return convertRows<To, uint32_t>;
  case Type::U64:
    return convertRows<To, uint64_t>;
  case Type::S8:
    return convertRows<To, int8_t>;
  case Type::S16:
    return convertRows<To, int16_t>;
  case Type::S32:
    return convertRows<To, int32_t>;
  case Type::S64:
    return convertRows<To, int64_t>;
  case Type::F16:
    return convertRows<To, F16>;
  case Type::BF16:
    return convertRows<To, BF16>;
  case Type::F32:
    return convertRows<To, float>;
  case Type::F64:
    return convertRows<To, double>;
  default:
    return nullptr;
  }
}

Handler handlerOf(Type to, Type from) {
  switch (to) {
  case Type::U8:
    return bySource<uint8_t>(from);
  case Type::U16:
    return bySource<uint16_t>(from);
  case Type::U32:
    return bySource<uint32_t>(from);
  case Type::U64:
    return bySource<uint64_t>(from);
  case Type::S8:
    return bySource<int8_t>(from);
  case Type::S16:
    return bySource<int16_t>(from);
  case Type::S32:
    return bySource<int32_t>(from);
  case Type::S64:
    return bySource<int64_t>(from);
  case Type::F16:
    return bySource<F16>(from);
  case Type::BF16:
    return bySource<BF16>(from);
  case Type::F32:
    return bySource<float>(from);
  case Type::F64:
    return bySource<double>(from);
  default:
    return nullptr;
  }
}

// cvt.x2: the first source is the upper half.
template <class To>
void pack(Warp &warp, const Inst &inst, Mask mask) {
  const float *upper = warp.row<float>(inst, 1), *lower = warp.row<float>(inst, 2);
  Row<uint32_t> result;
  for (int lane = 0; lane < lanes; ++lane)
    result[lane] = static_cast<uint32_t>(convert<To>(upper[lane], inst.mode, inst.mode2).bits)
                       << 16 |
                   convert<To>(lower[lane], inst.mode, inst.mode2).bits;
  store(warp.row<uint32_t>(inst, 0), result, mask);
}

// The common case without the generality: to the nearest, nothing else.
void packBf16(Warp &warp, const Inst &inst, Mask mask) {
  const float *upper = warp.row<float>(inst, 1), *lower = warp.row<float>(inst, 2);
  Row<uint32_t> result;
  for (int lane = 0; lane < lanes; ++lane)
    result[lane] = static_cast<uint32_t>(toBf16(upper[lane])) << 16 | toBf16(lower[lane]);
  store(warp.row<uint32_t>(inst, 0), result, mask);
}

// rna: to the nearest, ties away from zero; the lower 13 bits are zero.
void toTf32(Warp &warp, const Inst &inst, Mask mask) {
  const uint32_t *from = warp.row<uint32_t>(inst, 1);
  Row<uint32_t> result;
  for (int lane = 0; lane < lanes; ++lane) {
    uint32_t bits = from[lane];
    bool isNan = (bits & 0x7fffffff) > 0x7f800000;
    bool isInfinite = (bits & 0x7fffffff) == 0x7f800000;
    uint32_t rounded = (bits + 0x1000) & ~0x1fffu;
    result[lane] = isNan ? 0x7fffffff : isInfinite ? bits : rounded;
  }
  store(warp.row<uint32_t>(inst, 0), result, mask);
}

void decodePack(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type to) {
  if (modifiers.type() != Type::F32)
    modifiers.fail();
  int rounding = modifiers.takeOne({"rn", "rz"});
  if (rounding < 0)
    modifiers.fail();
  inst.mode = modifiers.take("relu") ? rectifies : 0;
  inst.mode2 = rounding ? FE_TOWARDZERO : FE_TONEAREST;
  bool plain = inst.mode == 0 && rounding == 0;
  inst.run = to == Type::F16x2 ? pack<F16> : plain ? packBf16 : pack<BF16>;
  decoder.expectOperands(3);
  decoder.destination(inst, 0, Type::B32);
  decoder.source(inst, 1, Type::F32);
  decoder.source(inst, 2, Type::F32);
}

// A conversion must say how it rounds exactly where it can be inexact (PTX ISA, `cvt`).
void takeRounding(Modifiers &modifiers, Inst &inst, Type to, Type from) {
  constexpr int hostModes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
  int toInteger = modifiers.takeOne({"rni", "rzi", "rmi", "rpi"});
  int toFloat = modifiers.takeOne({"rn", "rz", "rm", "rp"});
  int rounding = std::max(toInteger, toFloat);
  inst.mode2 = static_cast<uint32_t>(hostModes[std::max(rounding, 0)]);
  bool bothFloat = isFloat(to) && isFloat(from);
  bool needsInteger = isFloat(from) && !isFloat(to);
  bool needsFloat = (isFloat(to) && !isFloat(from)) || (bothFloat && sizeOf(to) < sizeOf(from));
  if ((toInteger >= 0 && !(needsInteger || (bothFloat && to == from))) ||
      (needsInteger && toInteger < 0) || (needsFloat && toFloat < 0) ||
      (toFloat >= 0 && !needsFloat))
    modifiers.fail();
  if (bothFloat && toInteger >= 0)
    inst.mode |= roundsToInteger;
  bool halfResult = to == Type::F16 || to == Type::BF16;
  if (halfResult && rounding > 1)
    modifiers.fail();
}

void decodeConvert(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type to = modifiers.type();
  if (to == Type::F16x2 || to == Type::BF16x2)
    return decodePack(decoder, modifiers, inst, to);
  Type from = modifiers.type();
  decoder.expectOperands(2);
  if (to == Type::TF32) {
    if (from != Type::F32 || !modifiers.take("rna"))
      modifiers.fail();
    inst.run = toTf32;
    decoder.destination(inst, 0, Type::B32);
    decoder.source(inst, 1, Type::F32);
    return;
  }
  takeRounding(modifiers, inst, to, from);
  inst.mode |= modifiers.take("ftz") ? flushes : 0;
  inst.mode |= modifiers.take("sat") ? saturates : 0;
  if (to == Type::F16 || to == Type::BF16)
    inst.mode |= modifiers.take("relu") ? rectifies : 0;
  inst.run = handlerOf(to, from);
  if (!inst.run)
    modifiers.fail();
  decoder.destination(inst, 0, to, !isFloat(to));
  decoder.source(inst, 1, from, !isFloat(from));
}

} // namespace

void addConvertOps(OpcodeTable &table) { table["cvt"] = decodeConvert; }

} // namespace ptxsim
