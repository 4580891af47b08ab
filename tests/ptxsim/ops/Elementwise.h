// Handlers that apply one function to every lane, and the choice of the C++ type by the PTX type.
#ifndef PTXSIM_OPS_ELEMENTWISE_H
#define PTXSIM_OPS_ELEMENTWISE_H

#include "tests/ptxsim/machine/Warp.h"

namespace ptxsim {

/// Inactive lanes are computed too and thrown away, so that loops stay plain: no `apply` may trap.
template <class Op, class T>
void unary(Warp &warp, const Inst &inst, Mask mask) {
  const T *a = warp.row<T>(inst, 1);
  Row<T> result;
  for (int lane = 0; lane < lanes; ++lane)
    result[lane] = Op::apply(a[lane]);
  store(warp.row<T>(inst, 0), result, mask);
}

template <class Op, class T>
void binary(Warp &warp, const Inst &inst, Mask mask) {
  const T *a = warp.row<T>(inst, 1), *b = warp.row<T>(inst, 2);
  Row<T> result;
  for (int lane = 0; lane < lanes; ++lane)
    result[lane] = Op::apply(a[lane], b[lane]);
  store(warp.row<T>(inst, 0), result, mask);
}

template <class Op, class T>
void ternary(Warp &warp, const Inst &inst, Mask mask) {
  const T *a = warp.row<T>(inst, 1), *b = warp.row<T>(inst, 2), *c = warp.row<T>(inst, 3);
  Row<T> result;
  for (int lane = 0; lane < lanes; ++lane)
    result[lane] = Op::apply(a[lane], b[lane], c[lane]);
  store(warp.row<T>(inst, 0), result, mask);
}

/// Handlers of one shape by type: `Shape<Op, T>::run`.
template <class Op, class T>
struct Unary {
  static constexpr Handler run = unary<Op, T>;
};
template <class Op, class T>
struct Binary {
  static constexpr Handler run = binary<Op, T>;
};
template <class Op, class T>
struct Ternary {
  static constexpr Handler run = ternary<Op, T>;
};

/// Null for a type that is not an integer of 16 to 64 bits. Types of bits count as unsigned.
template <template <class, class> class Shape, class Op>
Handler byInteger(Type type) {
  switch (type) {
  case Type::B16:
  case Type::U16:
    return Shape<Op, uint16_t>::run;
  case Type::B32:
  case Type::U32:
    return Shape<Op, uint32_t>::run;
  case Type::B64:
  case Type::U64:
    return Shape<Op, uint64_t>::run;
  case Type::S16:
    return Shape<Op, int16_t>::run;
  case Type::S32:
    return Shape<Op, int32_t>::run;
  case Type::S64:
    return Shape<Op, int64_t>::run;
  default:
    return nullptr;
  }
}

/// The same for operations to which the sign is nothing.
template <template <class, class> class Shape, class Op>
Handler byBits(Type type) {
  return isFloat(type) ? nullptr : byInteger<Shape, Op>(asUnsigned(type));
}

} // namespace ptxsim

#endif
