// Arithmetic on f16 and bf16, alone or in pairs. Each operation rounds once.
#include "tests/ptxsim/ops/Elementwise.h"
#include "tests/ptxsim/ops/Float.h"
#include "tests/ptxsim/ops/HalfNumbers.h"

namespace ptxsim {
namespace {

struct F16 {
  static double from(uint16_t bits) { return fromF16(bits); }
  static uint16_t to(double value) { return toF16(oddFloat(value)); }
  static constexpr uint16_t infinity = 0x7c00;
};
struct BF16 {
  static double from(uint16_t bits) { return fromBf16(bits); }
  static uint16_t to(double value) { return toBf16(oddFloat(value)); }
  static constexpr uint16_t infinity = 0x7f80;
};

// Bits of an instruction's mode.
constexpr uint32_t rectifies = 1, saturates = 2, keepsNan = 4;

constexpr uint16_t canonicalNan = 0x7fff;

template <class Number>
bool isNan(uint16_t bits) {
  return (bits & 0x7fff) > Number::infinity;
}

// The smallest, -0 below +0: by the order of sign and magnitude.
inline bool less(uint16_t a, uint16_t b) {
  auto key = [](uint16_t bits) {
    int magnitude = bits & 0x7fff;
    return bits & 0x8000 ? -magnitude - 1 : magnitude;
  };
  return key(a) < key(b);
}

template <class Number, HalfOp op>
uint16_t apply(uint16_t a, uint16_t b, uint16_t c, uint32_t mode) {
  if constexpr (op == HalfOp::Neg)
    return a ^ 0x8000;
  if constexpr (op == HalfOp::Abs)
    return a & 0x7fff;
  if constexpr (op == HalfOp::Min || op == HalfOp::Max) {
    if (isNan<Number>(a) || isNan<Number>(b)) {
      bool both = isNan<Number>(a) && isNan<Number>(b);
      return both || (mode & keepsNan) ? canonicalNan : isNan<Number>(a) ? b : a;
    }
    return less(a, b) == (op == HalfOp::Min) ? a : b;
  }
  double x = Number::from(a), y = Number::from(b);
  double result = 0;
  if constexpr (op == HalfOp::Add)
    result = oddSum(x, y);
  else if constexpr (op == HalfOp::Sub)
    result = oddSum(x, -y);
  else if constexpr (op == HalfOp::Mul)
    result = x * y; // exact
  else if constexpr (op == HalfOp::Fma)
    result = oddSum(x * y, Number::from(c));
  else if constexpr (op == HalfOp::Tanh)
    result = std::tanh(x);
  else if constexpr (op == HalfOp::Ex2)
    result = std::exp2(x);
  if (mode & rectifies)
    result = result < 0 ? 0 : result;
  if (mode & saturates)
    result = result > 0 ? (result < 1 ? result : 1) : 0;
  return Number::to(result);
}

template <class Number, HalfOp op, int sources, class Word>
void run(Warp &warp, const Inst &inst, Mask mask) {
  const Word *a = warp.row<Word>(inst, 1);
  const Word *b = sources > 1 ? warp.row<Word>(inst, 2) : a;
  const Word *c = sources > 2 ? warp.row<Word>(inst, 3) : a;
  Row<Word> result;
  for (int lane = 0; lane < lanes; ++lane) {
    Word word = 0;
    for (unsigned shift = 0; shift < 8 * sizeof(Word); shift += 16) {
      auto part = [&](Word from) { return static_cast<uint16_t>(from >> shift); };
      uint16_t one = apply<Number, op>(part(a[lane]), part(b[lane]), part(c[lane]), inst.mode);
      word |= static_cast<Word>(static_cast<uint32_t>(one) << shift);
    }
    result[lane] = word;
  }
  store(warp.row<Word>(inst, 0), result, mask);
}

template <HalfOp op, int sources>
Handler byType(Type type) {
  switch (type) {
  case Type::F16:
    return run<F16, op, sources, uint16_t>;
  case Type::F16x2:
    return run<F16, op, sources, uint32_t>;
  case Type::BF16:
    return run<BF16, op, sources, uint16_t>;
  default:
    return run<BF16, op, sources, uint32_t>;
  }
}

} // namespace

bool isHalf(Type type) {
  return type == Type::F16 || type == Type::F16x2 || type == Type::BF16 || type == Type::BF16x2;
}

void decodeHalf(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type, HalfOp op) {
  int sources = 2;
  switch (op) {
  case HalfOp::Add:
    inst.run = byType<HalfOp::Add, 2>(type);
    break;
  case HalfOp::Sub:
    inst.run = byType<HalfOp::Sub, 2>(type);
    break;
  case HalfOp::Mul:
    inst.run = byType<HalfOp::Mul, 2>(type);
    break;
  case HalfOp::Fma:
    inst.run = byType<HalfOp::Fma, 3>(type);
    sources = 3;
    break;
  case HalfOp::Min:
    inst.run = byType<HalfOp::Min, 2>(type);
    break;
  case HalfOp::Max:
    inst.run = byType<HalfOp::Max, 2>(type);
    break;
  case HalfOp::Neg:
    inst.run = byType<HalfOp::Neg, 1>(type);
    sources = 1;
    break;
  case HalfOp::Abs:
    inst.run = byType<HalfOp::Abs, 1>(type);
    sources = 1;
    break;
  case HalfOp::Tanh:
    inst.run = byType<HalfOp::Tanh, 1>(type);
    sources = 1;
    break;
  case HalfOp::Ex2: // bf16 has it with .ftz alone; its subnormal results are not flushed here
    inst.run = byType<HalfOp::Ex2, 1>(type);
    modifiers.take("ftz");
    sources = 1;
    break;
  }
  bool arithmetic =
      op == HalfOp::Add || op == HalfOp::Sub || op == HalfOp::Mul || op == HalfOp::Fma;
  if (arithmetic)
    modifiers.take("rn");
  bool isF16 = type == Type::F16 || type == Type::F16x2;
  inst.mode = (op == HalfOp::Fma && modifiers.take("relu") ? rectifies : 0) |
              (arithmetic && isF16 && modifiers.take("sat") ? saturates : 0) |
              (modifiers.take("NaN") ? keepsNan : 0);
  // A register of a pair is a `.b32`, that of one number a `.b16`: sizes are what is checked.
  decoder.simple(inst, type, static_cast<size_t>(sources) + 1);
}

} // namespace ptxsim
