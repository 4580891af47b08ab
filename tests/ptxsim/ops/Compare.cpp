// Comparisons and selections: setp, set, selp, slct, testp.
#include "tests/ptxsim/decode/Decoder.h"
#include "tests/ptxsim/ops/Elementwise.h"
#include "tests/ptxsim/ops/HalfNumbers.h"
#include <limits>
#include <type_traits>
#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace ptxsim {
namespace {

// In the order of `comparisons` below.
enum Comparison { Eq, Ne, Lt, Le, Gt, Ge, Equ, Neu, Ltu, Leu, Gtu, Geu, Num, Nan };
enum Combination : uint32_t { Alone, WithAnd, WithOr, WithXor };

// One byte of 0 or 1 by lane -> a mask.
Mask pack(const Row<uint8_t> &bits) {
#ifdef __AVX2__
  __m256i bytes = _mm256_load_si256(reinterpret_cast<const __m256i *>(bits.value));
  return static_cast<Mask>(_mm256_movemask_epi8(_mm256_slli_epi16(bytes, 7)));
#else
  Mask mask = 0;
  for (int lane = 0; lane < lanes; ++lane)
    mask |= static_cast<Mask>(bits[lane]) << lane;
  return mask;
#endif
}

template <class T, class Test>
Mask each(const T *a, const T *b, Test test) {
  Row<uint8_t> bits;
  for (int lane = 0; lane < lanes; ++lane)
    bits[lane] = test(a[lane], b[lane]);
  return pack(bits);
}

template <class T>
Mask compare(uint32_t comparison, const T *a, const T *b) {
  switch (comparison) {
  case Eq:
    return each(a, b, [](T x, T y) { return x == y; });
  case Ne: // of floats: ordered
    return each(a, b, [](T x, T y) { return (x < y) | (x > y); });
  case Lt:
    return each(a, b, [](T x, T y) { return x < y; });
  case Le:
    return each(a, b, [](T x, T y) { return x <= y; });
  case Gt:
    return each(a, b, [](T x, T y) { return x > y; });
  case Ge:
    return each(a, b, [](T x, T y) { return x >= y; });
  case Equ:
    return ~compare(Ne, a, b);
  case Neu:
    return ~compare(Eq, a, b);
  case Ltu:
    return ~compare(Ge, a, b);
  case Leu:
    return ~compare(Gt, a, b);
  case Gtu:
    return ~compare(Le, a, b);
  case Geu:
    return ~compare(Lt, a, b);
  case Num:
    return each(a, b, [](T x, T y) { return (x == x) & (y == y); });
  default:
    return each(a, b, [](T x, T y) { return (x != x) | (y != y); });
  }
}

// Operands of 16-bit floats are compared as floats, flushed ones with their subnormals gone.
template <class T>
struct AsIs {
  using type = T;
  static const T *rows(const T *from, Row<T> &, bool) { return from; }
};
template <>
struct AsIs<float> {
  using type = float;
  static const float *rows(const float *from, Row<float> &to, bool flushes) {
    if (!flushes)
      return from;
    for (int lane = 0; lane < lanes; ++lane)
      to[lane] = std::fabs(from[lane]) < std::numeric_limits<float>::min() ? 0 : from[lane];
    return to.value;
  }
};
template <float (*convert)(uint16_t)>
struct Widened {
  using type = float;
  static const float *rows(const uint16_t *from, Row<float> &to, bool) {
    for (int lane = 0; lane < lanes; ++lane)
      to[lane] = convert(from[lane]);
    return to.value;
  }
};

// mode: comparison | combination << 8 | negated << 16 | flushes << 17
template <class From, class Stored>
Mask compareRows(Warp &warp, const Inst &inst, int first) {
  using T = typename From::type;
  Row<T> left, right;
  bool flushes = inst.mode >> 17 & 1;
  return compare<T>(inst.mode & 0xff, From::rows(warp.row<Stored>(inst, first), left, flushes),
                    From::rows(warp.row<Stored>(inst, first + 1), right, flushes));
}

Mask combine(Warp &warp, const Inst &inst, Mask result, int operand) {
  uint32_t combination = inst.mode >> 8 & 0xff;
  if (combination == Alone)
    return result;
  Mask other = warp.pred(inst.operand[operand]);
  other = inst.mode >> 16 & 1 ? ~other : other;
  return combination == WithAnd  ? result & other
         : combination == WithOr ? result | other
                                 : result ^ other;
}

// Operands: p, q (or p again), a, b[, c].
template <class From, class Stored>
void setPredicate(Warp &warp, const Inst &inst, Mask mask) {
  Mask result = compareRows<From, Stored>(warp, inst, 2);
  // q is the combination of the opposite (PTX ISA, `setp`).
  Mask opposite = combine(warp, inst, ~result, 4);
  Mask first = combine(warp, inst, result, 4);
  if (inst.mode2)
    storeMask(warp.pred(inst.operand[1]), opposite, mask);
  storeMask(warp.pred(inst.operand[0]), first, mask);
}

// set: all ones, or 1.0 (mode2).
template <class From, class Stored>
void setValue(Warp &warp, const Inst &inst, Mask mask) {
  Mask result = combine(warp, inst, compareRows<From, Stored>(warp, inst, 1), 3);
  Row<uint32_t> values;
  for (int lane = 0; lane < lanes; ++lane)
    values[lane] = result >> lane & 1 ? inst.mode2 : 0;
  store(warp.row<uint32_t>(inst, 0), values, mask);
}

template <bool predicate>
Handler compareHandler(Type type) {
#define PTXSIM_CASE(name, From, Stored)                                                            \
  case Type::name:                                                                                 \
    return predicate ? setPredicate<From, Stored> : setValue<From, Stored>;
  switch (type) {
    PTXSIM_CASE(B16, AsIs<uint16_t>, uint16_t)
    PTXSIM_CASE(U16, AsIs<uint16_t>, uint16_t)
    PTXSIM_CASE(S16, AsIs<int16_t>, int16_t)
    PTXSIM_CASE(B32, AsIs<uint32_t>, uint32_t)
    PTXSIM_CASE(U32, AsIs<uint32_t>, uint32_t)
    PTXSIM_CASE(S32, AsIs<int32_t>, int32_t)
    PTXSIM_CASE(B64, AsIs<uint64_t>, uint64_t)
    PTXSIM_CASE(U64, AsIs<uint64_t>, uint64_t)
    PTXSIM_CASE(S64, AsIs<int64_t>, int64_t)
    PTXSIM_CASE(F32, AsIs<float>, float)
    PTXSIM_CASE(F64, AsIs<double>, double)
    PTXSIM_CASE(F16, Widened<fromF16>, uint16_t)
    PTXSIM_CASE(BF16, Widened<fromBf16>, uint16_t)
  default:
    return nullptr;
  }
#undef PTXSIM_CASE
}

// Takes the comparison, .and/.or/.xor and .ftz.
void takeComparison(Modifiers &modifiers, Inst &inst, Type type) {
  int comparison = modifiers.takeOne(
      {"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"});
  if (comparison >= Equ && !isFloat(type))
    modifiers.fail();
  if (comparison < 0) { // the names of unsigned comparisons
    int unsignedName = modifiers.takeOne({"lo", "ls", "hi", "hs"});
    if (unsignedName < 0 || isSigned(type) || isFloat(type))
      modifiers.fail();
    comparison = Lt + unsignedName;
  }
  int combination = modifiers.takeOne({"and", "or", "xor"});
  inst.mode = static_cast<uint32_t>(comparison) | static_cast<uint32_t>(combination + 1) << 8;
  if (type == Type::F32 && modifiers.take("ftz"))
    inst.mode |= 1u << 17;
}

void combinedPredicate(Decoder &decoder, Inst &inst, size_t from) {
  bool combined = inst.mode >> 8 & 0xff;
  decoder.expectOperands(combined ? from + 1 : from);
  if (!combined)
    return;
  Operand other = decoder.statement().operands[from];
  inst.mode |= other.negated ? 1u << 16 : 0;
  other.negated = false;
  decoder.source(inst, other, Type::Pred);
}

void decodeSetPredicate(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type type = modifiers.type();
  takeComparison(modifiers, inst, type);
  inst.run = compareHandler<true>(type);
  if (!inst.run)
    modifiers.fail();
  decoder.expectOperands(3, 4);
  const Operand &result = decoder.statement().operands[0];
  bool pair = result.kind == Operand::Pair;
  inst.mode2 = pair;
  decoder.destination(inst, pair ? result.parts[0] : result, Type::Pred);
  decoder.destination(inst, pair ? result.parts[1] : result, Type::Pred);
  decoder.source(inst, 1, type);
  decoder.source(inst, 2, type);
  combinedPredicate(decoder, inst, 3);
}

void decodeSet(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type to = modifiers.type(), type = modifiers.type();
  takeComparison(modifiers, inst, type);
  inst.run = compareHandler<false>(type);
  if (!inst.run || (to != Type::U32 && to != Type::S32 && to != Type::F32))
    modifiers.fail();
  inst.mode2 = to == Type::F32 ? 0x3f800000 : ~0u;
  decoder.destination(inst, 0, to);
  decoder.source(inst, 1, type);
  decoder.source(inst, 2, type);
  combinedPredicate(decoder, inst, 3);
}

template <class T>
void select(Warp &warp, const Inst &inst, Mask mask) {
  const T *a = warp.row<T>(inst, 1), *b = warp.row<T>(inst, 2);
  Mask choice = warp.pred(inst.operand[3]);
  Row<T> result;
  for (int lane = 0; lane < lanes; ++lane)
    result[lane] = choice >> lane & 1 ? a[lane] : b[lane];
  store(warp.row<T>(inst, 0), result, mask);
}

Handler selectHandler(Type type) {
  switch (sizeOf(type)) {
  case 2:
    return select<uint16_t>;
  case 4:
    return select<uint32_t>;
  case 8:
    return select<uint64_t>;
  default:
    return nullptr;
  }
}

void decodeSelect(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type type = modifiers.type();
  inst.run = selectHandler(type);
  if (!inst.run)
    modifiers.fail();
  inst.carries = true;
  decoder.expectOperands(4);
  decoder.destination(inst, 0, type);
  decoder.source(inst, 1, type);
  decoder.source(inst, 2, type);
  decoder.source(inst, 3, Type::Pred);
}

// slct: a where c >= 0 (for floats: where c >= -0 and no NaN), else b.
template <class T, class C>
void selectBySign(Warp &warp, const Inst &inst, Mask mask) {
  const T *a = warp.row<T>(inst, 1), *b = warp.row<T>(inst, 2);
  const C *c = warp.row<C>(inst, 3);
  Row<T> result;
  for (int lane = 0; lane < lanes; ++lane)
    result[lane] = c[lane] >= 0 ? a[lane] : b[lane];
  store(warp.row<T>(inst, 0), result, mask);
}

void decodeSelectBySign(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type type = modifiers.type(), by = modifiers.type();
  bool isFloat32 = by == Type::F32;
  if (isFloat32)
    modifiers.take("ftz"); // a flushed value keeps its place against zero
  if (!isFloat32 && by != Type::S32)
    modifiers.fail();
  inst.run = sizeOf(type) == 4
                 ? (isFloat32 ? selectBySign<uint32_t, float> : selectBySign<uint32_t, int32_t>)
             : sizeOf(type) == 8
                 ? (isFloat32 ? selectBySign<uint64_t, float> : selectBySign<uint64_t, int32_t>)
                 : static_cast<Handler>(nullptr);
  if (!inst.run)
    modifiers.fail();
  decoder.expectOperands(4);
  decoder.destination(inst, 0, type);
  decoder.source(inst, 1, type);
  decoder.source(inst, 2, type);
  decoder.source(inst, 3, by);
}

template <class T>
void testProperty(Warp &warp, const Inst &inst, Mask mask) {
  const T *a = warp.row<T>(inst, 1);
  Mask result = 0;
  for (int lane = 0; lane < lanes; ++lane) {
    int kind = std::fpclassify(a[lane]);
    bool holds[] = {kind != FP_NAN && kind != FP_INFINITE,
                    kind == FP_INFINITE,
                    kind != FP_NAN,
                    kind == FP_NAN,
                    kind == FP_NORMAL,
                    kind == FP_SUBNORMAL};
    result |= static_cast<Mask>(holds[inst.mode]) << lane;
  }
  storeMask(warp.pred(inst.operand[0]), result, mask);
}

void decodeTestProperty(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type type = modifiers.type();
  int property =
      modifiers.takeOne({"finite", "infinite", "number", "notanumber", "normal", "subnormal"});
  if (property < 0 || (type != Type::F32 && type != Type::F64))
    modifiers.fail();
  inst.mode = static_cast<uint32_t>(property);
  inst.run = type == Type::F32 ? testProperty<float> : testProperty<double>;
  decoder.expectOperands(2);
  decoder.destination(inst, 0, Type::Pred);
  decoder.source(inst, 1, type);
}

} // namespace

void addCompareOps(OpcodeTable &table) {
  table["setp"] = decodeSetPredicate;
  table["set"] = decodeSet;
  table["selp"] = decodeSelect;
  table["slct"] = decodeSelectBySign;
  table["testp"] = decodeTestProperty;
}

} // namespace ptxsim
