// Integer arithmetic. The float forms of the same opcodes (add, mul, min …) are in Float.cpp.
#include "tests/ptxsim/decode/Decoder.h"
#include "tests/ptxsim/ops/Elementwise.h"
#include "tests/ptxsim/ops/Float.h"
#include <limits>
#include <type_traits>

namespace ptxsim {
namespace {

struct Add {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(a + b);
  }
};
struct Sub {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(a - b);
  }
};
struct MulLo { // 1u: small operands would be promoted to int, and overflow there
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(1u * a * b);
  }
};
struct MadLo {
  template <class T>
  static T apply(T a, T b, T c) {
    return static_cast<T>(1u * a * b + c);
  }
};
struct Min {
  template <class T>
  static T apply(T a, T b) {
    return b < a ? b : a;
  }
};
struct Max {
  template <class T>
  static T apply(T a, T b) {
    return a < b ? b : a;
  }
};
struct Negate {
  template <class T>
  static T apply(T a) {
    return static_cast<T>(0u - a);
  }
};
struct Abs {
  template <class T>
  static T apply(T a) {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(a < 0 ? static_cast<U>(0u - static_cast<U>(a)) : static_cast<U>(a));
  }
};

// Division by zero gives a machine-specific value: all ones here. min / -1 wraps.
struct Div {
  template <class T>
  static T apply(T a, T b) {
    if (b == 0)
      return static_cast<T>(~T(0));
    if (std::is_signed_v<T> && b == static_cast<T>(-1))
      return static_cast<T>(0u - static_cast<std::make_unsigned_t<T>>(a));
    return static_cast<T>(a / b);
  }
};
struct Rem {
  template <class T>
  static T apply(T a, T b) {
    if (b == 0)
      return a;
    if (std::is_signed_v<T> && b == static_cast<T>(-1))
      return 0;
    return static_cast<T>(a % b);
  }
};

template <class T>
struct Double;
template <>
struct Double<uint16_t> {
  using type = uint32_t;
};
template <>
struct Double<uint32_t> {
  using type = uint64_t;
};
template <>
struct Double<uint64_t> {
  using type = unsigned __int128;
};
template <>
struct Double<int16_t> {
  using type = int32_t;
};
template <>
struct Double<int32_t> {
  using type = int64_t;
};
template <>
struct Double<int64_t> {
  using type = __int128;
};

template <class T>
typename Double<T>::type product(T a, T b) {
  using Wide = typename Double<T>::type;
  return static_cast<Wide>(a) * static_cast<Wide>(b);
}

struct MulHi {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(product(a, b) >> 8 * sizeof(T));
  }
};
struct MadHi {
  template <class T>
  static T apply(T a, T b, T c) {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<U>(MulHi::apply(a, b)) + static_cast<U>(c));
  }
};

// mul.wide and mad.wide: sources of one type, the result and the addend of twice its size.
template <class T, bool addend>
void wide(Warp &warp, const Inst &inst, Mask mask) {
  using Wide = std::make_unsigned_t<typename Double<T>::type>;
  const T *a = warp.row<T>(inst, 1), *b = warp.row<T>(inst, 2);
  const Wide *c = addend ? warp.row<Wide>(inst, 3) : nullptr;
  Row<Wide> result;
  for (int lane = 0; lane < lanes; ++lane)
    result[lane] = static_cast<Wide>(product(a[lane], b[lane])) + (addend ? c[lane] : 0);
  store(warp.row<Wide>(inst, 0), result, mask);
}

template <bool addend>
Handler wideHandler(Type type) {
  switch (type) {
  case Type::U16:
    return wide<uint16_t, addend>;
  case Type::S16:
    return wide<int16_t, addend>;
  case Type::U32:
    return wide<uint32_t, addend>;
  case Type::S32:
    return wide<int32_t, addend>;
  default:
    return nullptr;
  }
}

Type doubled(Type type) { return sizeOf(type) == 2 ? Type::U32 : Type::U64; }

// Bits.
struct Popc {
  template <class T>
  static uint32_t apply(T a) {
    return static_cast<uint32_t>(std::popcount(a));
  }
};
struct Clz {
  template <class T>
  static uint32_t apply(T a) {
    return static_cast<uint32_t>(std::countl_zero(a));
  }
};
struct Brev {
  template <class T>
  static T apply(T a) {
    T result = 0;
    for (unsigned bit = 0; bit < 8 * sizeof(T); ++bit)
      result |= static_cast<T>((a >> bit & 1) << (8 * sizeof(T) - 1 - bit));
    return result;
  }
};

template <class Op, class T>
void countBits(Warp &warp, const Inst &inst, Mask mask) {
  const T *a = warp.row<T>(inst, 1);
  Row<uint32_t> result;
  for (int lane = 0; lane < lanes; ++lane)
    result[lane] = Op::apply(a[lane]);
  store(warp.row<uint32_t>(inst, 0), result, mask);
}

// The highest bit that differs from the sign; mode: `.shiftamt`.
template <class T>
void findBit(Warp &warp, const Inst &inst, Mask mask) {
  using U = std::make_unsigned_t<T>;
  const T *a = warp.row<T>(inst, 1);
  Row<uint32_t> result;
  for (int lane = 0; lane < lanes; ++lane) {
    U bits = static_cast<U>(a[lane] < 0 ? ~a[lane] : a[lane]);
    uint32_t place =
        static_cast<uint32_t>(8 * sizeof(T) - 1) - static_cast<uint32_t>(std::countl_zero(bits));
    result[lane] = bits == 0 ? ~0u : inst.mode ? 8 * sizeof(T) - 1 - place : place;
  }
  store(warp.row<uint32_t>(inst, 0), result, mask);
}

// bfe: operands a, position, length. Bits above the top are zero, or the sign.
template <class T>
void extractBits(Warp &warp, const Inst &inst, Mask mask) {
  using U = std::make_unsigned_t<T>;
  constexpr uint32_t bits = 8 * sizeof(T);
  const T *a = warp.row<T>(inst, 1);
  const uint32_t *position = warp.row<uint32_t>(inst, 2), *length = warp.row<uint32_t>(inst, 3);
  Row<T> result;
  for (int lane = 0; lane < lanes; ++lane) {
    uint32_t from = position[lane] & 0xff, count = length[lane] & 0xff;
    uint32_t top = std::min(from + count - 1, bits - 1); // the bit that gives the sign
    U sign = std::is_signed_v<T> && count != 0 ? static_cast<U>(a[lane]) >> top & 1 : 0;
    U value = 0;
    for (uint32_t bit = 0; bit < bits; ++bit) {
      bool inside = bit < count && from + bit < bits;
      U one = inside ? static_cast<U>(a[lane]) >> (from + bit) & 1 : sign;
      value |= one << bit;
    }
    result[lane] = static_cast<T>(value);
  }
  store(warp.row<T>(inst, 0), result, mask);
}

// bfi: operands a (what goes in), b (where), position, length.
template <class T>
void insertBits(Warp &warp, const Inst &inst, Mask mask) {
  constexpr uint32_t bits = 8 * sizeof(T);
  const T *a = warp.row<T>(inst, 1), *b = warp.row<T>(inst, 2);
  const uint32_t *position = warp.row<uint32_t>(inst, 3), *length = warp.row<uint32_t>(inst, 4);
  Row<T> result;
  for (int lane = 0; lane < lanes; ++lane) {
    uint32_t from = position[lane] & 0xff, count = length[lane] & 0xff;
    T ones = count >= bits ? ~T(0) : (T(1) << count) - 1;
    T field = from >= bits ? 0 : ones << from;
    T value = from >= bits ? 0 : a[lane] << from;
    result[lane] = (b[lane] & ~field) | (value & field);
  }
  store(warp.row<T>(inst, 0), result, mask);
}

// dp4a: bytes of a and b, signed or not each (mode: bit 0 and bit 1), added to c.
void dot4(Warp &warp, const Inst &inst, Mask mask) {
  const uint32_t *a = warp.row<uint32_t>(inst, 1), *b = warp.row<uint32_t>(inst, 2),
                 *c = warp.row<uint32_t>(inst, 3);
  auto byte = [](uint32_t word, int k, bool isSigned) {
    auto value = static_cast<uint8_t>(word >> 8 * k);
    return isSigned ? static_cast<int>(static_cast<int8_t>(value)) : static_cast<int>(value);
  };
  Row<uint32_t> result;
  for (int lane = 0; lane < lanes; ++lane) {
    uint32_t sum = c[lane];
    for (int k = 0; k < 4; ++k)
      sum +=
          static_cast<uint32_t>(byte(a[lane], k, inst.mode & 1) * byte(b[lane], k, inst.mode & 2));
    result[lane] = sum;
  }
  store(warp.row<uint32_t>(inst, 0), result, mask);
}

void require(Handler handler, Modifiers &modifiers, Inst &inst) {
  if (!handler)
    modifiers.fail();
  inst.run = handler;
}

template <class Op, FloatDecoder decodeFloat>
void decodeBinary(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type type = modifiers.type();
  if (isFloat(type))
    return decodeFloat(decoder, modifiers, inst, type);
  constexpr bool signless = std::is_same_v<Op, Add> || std::is_same_v<Op, Sub>;
  require(signless ? byBits<Binary, Op>(type) : byInteger<Binary, Op>(type), modifiers, inst);
  decoder.simple(inst, type, 3);
}

void decodeMul(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type type = modifiers.type();
  if (isFloat(type))
    return decodeFloatMul(decoder, modifiers, inst, type);
  if (modifiers.take("wide")) {
    require(wideHandler<false>(type), modifiers, inst);
    decoder.expectOperands(3);
    decoder.destination(inst, 0, doubled(type));
    decoder.source(inst, 1, type);
    decoder.source(inst, 2, type);
    return;
  }
  bool high = modifiers.take("hi");
  if (!high && !modifiers.take("lo"))
    modifiers.fail();
  require(high ? byInteger<Binary, MulHi>(type) : byBits<Binary, MulLo>(type), modifiers, inst);
  decoder.simple(inst, type, 3);
}

void decodeMad(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type type = modifiers.type();
  if (isFloat(type))
    return decodeFloatFma(decoder, modifiers, inst, type);
  if (modifiers.take("wide")) {
    require(wideHandler<true>(type), modifiers, inst);
    decoder.expectOperands(4);
    decoder.destination(inst, 0, doubled(type));
    decoder.source(inst, 1, type);
    decoder.source(inst, 2, type);
    decoder.source(inst, 3, doubled(type));
    return;
  }
  bool high = modifiers.take("hi");
  if (!high && !modifiers.take("lo"))
    modifiers.fail();
  require(high ? byInteger<Ternary, MadHi>(type) : byBits<Ternary, MadLo>(type), modifiers, inst);
  decoder.simple(inst, type, 4);
}

template <class Op, FloatDecoder decodeFloat>
void decodeUnary(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type type = modifiers.type();
  if (isFloat(type))
    return decodeFloat(decoder, modifiers, inst, type);
  if (!isSigned(type))
    modifiers.fail();
  require(std::is_same_v<Op, Negate> ? byBits<Unary, Negate>(type) : byInteger<Unary, Op>(type),
          modifiers, inst);
  decoder.simple(inst, type, 2);
}

template <class Op>
void decodeCount(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type type = modifiers.type();
  inst.run = type == Type::B32   ? countBits<Op, uint32_t>
             : type == Type::B64 ? countBits<Op, uint64_t>
                                 : nullptr;
  require(inst.run, modifiers, inst);
  decoder.expectOperands(2);
  decoder.destination(inst, 0, Type::U32);
  decoder.source(inst, 1, type);
}

void decodeFind(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  inst.mode = modifiers.take("shiftamt");
  Type type = modifiers.type();
  require(type == Type::U32   ? findBit<uint32_t>
          : type == Type::S32 ? findBit<int32_t>
          : type == Type::U64 ? findBit<uint64_t>
          : type == Type::S64 ? findBit<int64_t>
                              : static_cast<Handler>(nullptr),
          modifiers, inst);
  decoder.expectOperands(2);
  decoder.destination(inst, 0, Type::U32);
  decoder.source(inst, 1, type);
}

void decodeBrev(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type type = modifiers.type();
  require(sizeOf(type) >= 4 ? byBits<Unary, Brev>(type) : nullptr, modifiers, inst);
  decoder.simple(inst, type, 2);
}

void decodeBfe(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type type = modifiers.type();
  require(type == Type::U32   ? extractBits<uint32_t>
          : type == Type::S32 ? extractBits<int32_t>
          : type == Type::U64 ? extractBits<uint64_t>
          : type == Type::S64 ? extractBits<int64_t>
                              : static_cast<Handler>(nullptr),
          modifiers, inst);
  decoder.expectOperands(4);
  decoder.destination(inst, 0, type);
  decoder.source(inst, 1, type);
  decoder.source(inst, 2, Type::U32);
  decoder.source(inst, 3, Type::U32);
}

void decodeBfi(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type type = modifiers.type();
  require(type == Type::B32   ? insertBits<uint32_t>
          : type == Type::B64 ? insertBits<uint64_t>
                              : static_cast<Handler>(nullptr),
          modifiers, inst);
  decoder.expectOperands(5);
  decoder.destination(inst, 0, type);
  decoder.source(inst, 1, type);
  decoder.source(inst, 2, type);
  decoder.source(inst, 3, Type::U32);
  decoder.source(inst, 4, Type::U32);
}

void decodeDot4(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type a = modifiers.type(), b = modifiers.type();
  if (sizeOf(a) != 4 || sizeOf(b) != 4 || isFloat(a) || isFloat(b))
    modifiers.fail();
  inst.mode = (isSigned(a) ? 1 : 0) | (isSigned(b) ? 2 : 0);
  inst.run = dot4;
  decoder.simple(inst, Type::B32, 4);
}

} // namespace

void addIntegerOps(OpcodeTable &table) {
  table["add"] = decodeBinary<Add, decodeFloatAdd>;
  table["sub"] = decodeBinary<Sub, decodeFloatSub>;
  table["min"] = decodeBinary<Min, decodeFloatMin>;
  table["max"] = decodeBinary<Max, decodeFloatMax>;
  table["div"] = decodeBinary<Div, decodeFloatDiv>;
  table["rem"] = decodeBinary<Rem, decodeNoFloat>;
  table["mul"] = decodeMul;
  table["mad"] = decodeMad;
  table["neg"] = decodeUnary<Negate, decodeFloatNeg>;
  table["abs"] = decodeUnary<Abs, decodeFloatAbs>;
  table["popc"] = decodeCount<Popc>;
  table["clz"] = decodeCount<Clz>;
  table["bfind"] = decodeFind;
  table["brev"] = decodeBrev;
  table["bfe"] = decodeBfe;
  table["bfi"] = decodeBfi;
  table["dp4a"] = decodeDot4;
}

} // namespace ptxsim
