// f32 and f64 arithmetic, and the approximations of elementary functions.
// This file is compiled with -frounding-math: directed rounding is the host's own.
#include "tests/ptxsim/ops/Float.h"
#include "tests/ptxsim/ops/Elementwise.h"
#include <cfenv>
#include <cmath>
#include <limits>

namespace ptxsim {
namespace {

// Bits of an instruction's mode.
constexpr uint32_t flushes = 1, saturates = 2;

template <class T>
T flush(T value) { // subnormal: zero with its sign
  return std::fabs(value) < std::numeric_limits<T>::min() ? std::copysign(T(0), value) : value;
}

template <class T>
T saturate(T value) { // NaN: zero
  return value > T(0) ? (value < T(1) ? value : T(1)) : T(0);
}

struct Add {
  template <class T>
  static T apply(T a, T b) {
    return a + b;
  }
};
struct Sub {
  template <class T>
  static T apply(T a, T b) {
    return a - b;
  }
};
struct Mul {
  template <class T>
  static T apply(T a, T b) {
    return a * b;
  }
};
struct Div {
  template <class T>
  static T apply(T a, T b) {
    return a / b;
  }
};
struct Fma {
  static float apply(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
  static double apply(double a, double b, double c) { return __builtin_fma(a, b, c); }
};
struct Neg {
  template <class T>
  static T apply(T a) {
    return -a;
  }
};
struct Abs {
  template <class T>
  static T apply(T a) {
    return std::fabs(a);
  }
};
// The number where one is NaN; -0 is less than +0.
struct Min {
  template <class T>
  static T apply(T a, T b) {
    T least = a < b || (a == b && std::signbit(a)) ? a : b;
    return a != a ? b : b != b ? a : least;
  }
};
struct Max {
  template <class T>
  static T apply(T a, T b) {
    T most = a > b || (a == b && !std::signbit(a)) ? a : b;
    return a != a ? b : b != b ? a : most;
  }
};
template <class Op>
struct OrNan {
  template <class T>
  static T apply(T a, T b) {
    return a != a || b != b ? std::numeric_limits<T>::quiet_NaN() : Op::apply(a, b);
  }
};
struct Sqrt {
  template <class T>
  static T apply(T a) {
    return std::sqrt(a);
  }
};
struct Rcp {
  template <class T>
  static T apply(T a) {
    return T(1) / a;
  }
};
struct Rsqrt {
  template <class T>
  static T apply(T a) {
    return static_cast<T>(1.0 / std::sqrt(static_cast<double>(a)));
  }
};
struct Ex2 {
  static float apply(float a) { return std::exp2(a); }
};
struct Lg2 {
  static float apply(float a) { return std::log2(a); }
};
struct Sin {
  static float apply(float a) { return std::sin(a); }
};
struct Cos {
  static float apply(float a) { return std::cos(a); }
};
struct Tanh {
  static float apply(float a) { return std::tanh(a); }
};

// One lane, with the flushing and saturating that the instruction asks for.
template <class Op, class T, class... Args>
T modified(uint32_t mode, Args... args) {
  T result = mode & flushes ? flush<T>(Op::apply(flush<T>(args)...)) : Op::apply(args...);
  return mode & saturates ? saturate(result) : result;
}

template <class Op, class T, int sources>
void run(Warp &warp, const Inst &inst, Mask mask) {
  const T *a = warp.row<T>(inst, 1);
  const T *b = sources > 1 ? warp.row<T>(inst, 2) : a;
  const T *c = sources > 2 ? warp.row<T>(inst, 3) : a;
  Row<T> result;
  for (int lane = 0; lane < lanes; ++lane)
    if constexpr (sources == 1)
      result[lane] = modified<Op, T>(inst.mode, a[lane]);
    else if constexpr (sources == 2)
      result[lane] = modified<Op, T>(inst.mode, a[lane], b[lane]);
    else
      result[lane] = modified<Op, T>(inst.mode, a[lane], b[lane], c[lane]);
  store(warp.row<T>(inst, 0), result, mask);
}

// Directed rounding is what the host does while its mode is set.
template <class Op, class T, int sources>
void runRounded(Warp &warp, const Inst &inst, Mask mask) {
  std::fesetround(static_cast<int>(inst.mode2));
  run<Op, T, sources>(warp, inst, mask);
  std::fesetround(FE_TONEAREST);
}

template <class Op, class T, int sources>
Handler plain() {
  if constexpr (sources == 1)
    return unary<Op, T>;
  else if constexpr (sources == 2)
    return binary<Op, T>;
  else
    return ternary<Op, T>;
}

template <class Op, class T, int sources>
Handler choose(const Inst &inst) {
  if (inst.mode2 != FE_TONEAREST)
    return runRounded<Op, T, sources>;
  return inst.mode ? run<Op, T, sources> : plain<Op, T, sources>();
}

// Takes .rn .rz .rm .rp .ftz .sat.
void takeArithmeticModifiers(Modifiers &modifiers, Inst &inst, Type type) {
  int rounding = modifiers.takeOne({"rn", "rz", "rm", "rp"});
  constexpr int hostModes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
  inst.mode2 = static_cast<uint32_t>(rounding < 0 ? FE_TONEAREST : hostModes[rounding]);
  if (type == Type::F32)
    inst.mode = (modifiers.take("ftz") ? flushes : 0) | (modifiers.take("sat") ? saturates : 0);
}

template <class Op, int sources>
void decodeArithmetic(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type) {
  if (type != Type::F32 && type != Type::F64)
    modifiers.fail();
  takeArithmeticModifiers(modifiers, inst, type);
  inst.run =
      type == Type::F32 ? choose<Op, float, sources>(inst) : choose<Op, double, sources>(inst);
  decoder.simple(inst, type, sources + 1);
}

template <class Op>
void decodeMinMax(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type) {
  bool nan = modifiers.take("NaN");
  if (nan)
    decodeArithmetic<OrNan<Op>, 2>(decoder, modifiers, inst, type);
  else
    decodeArithmetic<Op, 2>(decoder, modifiers, inst, type);
}

// The approximate forms are as exact here as the host is.
template <class Op>
void decodeFunction(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type type = modifiers.type();
  bool approximate = modifiers.take("approx");
  if (isHalf(type) && approximate && std::is_same_v<Op, Tanh>)
    return decodeHalf(decoder, modifiers, inst, type, HalfOp::Tanh);
  if (isHalf(type) && approximate && std::is_same_v<Op, Ex2>)
    return decodeHalf(decoder, modifiers, inst, type, HalfOp::Ex2);
  if (type != Type::F32 || !approximate)
    modifiers.fail();
  decodeArithmetic<Op, 1>(decoder, modifiers, inst, type);
}

// rcp, sqrt and rsqrt: the f64 approximation has only the upper half of a result's bits.
template <class Op>
struct UpperHalf {
  static double apply(double a) {
    return std::bit_cast<double>(std::bit_cast<uint64_t>(Op::apply(a)) >> 32 << 32);
  }
};

template <class Op>
void decodeRoot(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type type = modifiers.type();
  bool approximate = modifiers.take("approx");
  if (type == Type::F64 && approximate) {
    if (!modifiers.take("ftz") || std::is_same_v<Op, Sqrt>)
      modifiers.fail();
    inst.run = unary<UpperHalf<Op>, double>;
    return decoder.simple(inst, type, 2);
  }
  if (std::is_same_v<Op, Rsqrt> && !approximate)
    modifiers.fail();
  decodeArithmetic<Op, 1>(decoder, modifiers, inst, type);
}

void decodeFma(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  decodeFloatFma(decoder, modifiers, inst, modifiers.type());
}

template <class T>
void copySign(Warp &warp, const Inst &inst, Mask mask) { // the sign of a, the rest of b
  const T *a = warp.row<T>(inst, 1), *b = warp.row<T>(inst, 2);
  Row<T> result;
  for (int lane = 0; lane < lanes; ++lane)
    result[lane] = std::copysign(b[lane], a[lane]);
  store(warp.row<T>(inst, 0), result, mask);
}

void decodeCopySign(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Type type = modifiers.type();
  if (type != Type::F32 && type != Type::F64)
    modifiers.fail();
  inst.run = type == Type::F32 ? copySign<float> : copySign<double>;
  decoder.simple(inst, type, 3);
}

} // namespace

void decodeFloatAdd(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type) {
  if (isHalf(type))
    return decodeHalf(decoder, modifiers, inst, type, HalfOp::Add);
  decodeArithmetic<Add, 2>(decoder, modifiers, inst, type);
}

void decodeFloatSub(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type) {
  if (isHalf(type))
    return decodeHalf(decoder, modifiers, inst, type, HalfOp::Sub);
  decodeArithmetic<Sub, 2>(decoder, modifiers, inst, type);
}

void decodeFloatMul(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type) {
  if (isHalf(type))
    return decodeHalf(decoder, modifiers, inst, type, HalfOp::Mul);
  decodeArithmetic<Mul, 2>(decoder, modifiers, inst, type);
}

void decodeFloatFma(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type) {
  if (isHalf(type))
    return decodeHalf(decoder, modifiers, inst, type, HalfOp::Fma);
  decodeArithmetic<Fma, 3>(decoder, modifiers, inst, type);
}

void decodeFloatDiv(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type) {
  if (type == Type::F32)
    modifiers.takeOne({"approx", "full"});
  decodeArithmetic<Div, 2>(decoder, modifiers, inst, type);
}

void decodeFloatMin(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type) {
  if (isHalf(type))
    return decodeHalf(decoder, modifiers, inst, type, HalfOp::Min);
  decodeMinMax<Min>(decoder, modifiers, inst, type);
}

void decodeFloatMax(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type) {
  if (isHalf(type))
    return decodeHalf(decoder, modifiers, inst, type, HalfOp::Max);
  decodeMinMax<Max>(decoder, modifiers, inst, type);
}

void decodeFloatNeg(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type) {
  if (isHalf(type))
    return decodeHalf(decoder, modifiers, inst, type, HalfOp::Neg);
  decodeArithmetic<Neg, 1>(decoder, modifiers, inst, type);
}

void decodeFloatAbs(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type) {
  if (isHalf(type))
    return decodeHalf(decoder, modifiers, inst, type, HalfOp::Abs);
  decodeArithmetic<Abs, 1>(decoder, modifiers, inst, type);
}

void decodeNoFloat(Decoder &, Modifiers &modifiers, Inst &, Type) { modifiers.fail(); }

void addFloatOps(OpcodeTable &table) {
  table["fma"] = decodeFma;
  table["ex2"] = decodeFunction<Ex2>;
  table["lg2"] = decodeFunction<Lg2>;
  table["sin"] = decodeFunction<Sin>;
  table["cos"] = decodeFunction<Cos>;
  table["tanh"] = decodeFunction<Tanh>;
  table["sqrt"] = decodeRoot<Sqrt>;
  table["rcp"] = decodeRoot<Rcp>;
  table["rsqrt"] = decodeRoot<Rsqrt>;
  table["copysign"] = decodeCopySign;
}

} // namespace ptxsim
