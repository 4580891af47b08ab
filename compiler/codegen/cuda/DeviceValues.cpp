// Operators over a kernel's values; constants are folded.

#include "compiler/codegen/cuda/DeviceBuilder.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

template <typename Op, typename T>
static T make(T x, T y) {
  return {x.d, Op::create(x.d->builder(), x.d->location(), x.v, y.v)};
}

static std::optional<int64_t> known(Int x) { return x.d->known(x.v); }

Int cuda::operator+(Int x, Int y) {
  if (known(x) && known(y))
    return x.d->constant(*known(x) + *known(y));
  if (known(x) == 0)
    return y;
  if (known(y) == 0)
    return x;
  return make<arith::AddIOp>(x, y);
}
Int cuda::operator-(Int x, Int y) {
  if (known(x) && known(y))
    return x.d->constant(*known(x) - *known(y));
  if (known(y) == 0)
    return x;
  return make<arith::SubIOp>(x, y);
}
Int cuda::operator*(Int x, Int y) {
  if (known(x) && known(y))
    return x.d->constant(*known(x) * *known(y));
  if (known(x) == 0 || known(y) == 1)
    return x;
  if (known(y) == 0 || known(x) == 1)
    return y;
  return make<arith::MulIOp>(x, y);
}
Int cuda::operator/(Int x, Int y) {
  if (known(x) && known(y))
    return x.d->constant(*known(x) / *known(y));
  if (known(y) == 1)
    return x;
  if (known(y) && llvm::isPowerOf2_64(*known(y)))
    return make<arith::ShRUIOp>(x, x.d->constant(llvm::Log2_64(*known(y))));
  return make<arith::DivUIOp>(x, y);
}
Int cuda::operator%(Int x, Int y) {
  if (known(x) && known(y))
    return x.d->constant(*known(x) % *known(y));
  if (known(y) == 1)
    return x.d->constant(0);
  if (known(y) && llvm::isPowerOf2_64(*known(y)))
    return make<arith::AndIOp>(x, x.d->constant(*known(y) - 1));
  return make<arith::RemUIOp>(x, y);
}
Int cuda::operator&(Int x, Int y) {
  if (known(x) && known(y))
    return x.d->constant(*known(x) & *known(y));
  return make<arith::AndIOp>(x, y);
}
Int cuda::operator^(Int x, Int y) {
  if (known(x) && known(y))
    return x.d->constant(*known(x) ^ *known(y));
  return make<arith::XOrIOp>(x, y);
}
Int cuda::operator+(Int x, int64_t y) { return x + x.d->constant(y); }
Int cuda::operator-(Int x, int64_t y) { return x - x.d->constant(y); }
Int cuda::operator*(Int x, int64_t y) { return x * x.d->constant(y); }
Int cuda::operator/(Int x, int64_t y) { return x / x.d->constant(y); }
Int cuda::operator%(Int x, int64_t y) { return x % x.d->constant(y); }
Int cuda::operator&(Int x, int64_t y) { return x & x.d->constant(y); }
Int cuda::min(Int x, Int y) { return make<arith::MinSIOp>(x, y); }
Int cuda::max(Int x, Int y) { return make<arith::MaxSIOp>(x, y); }

static Bool compare(arith::CmpIPredicate predicate, Int x, Int y) {
  if (known(x) && known(y))
    return x.d->truth(arith::applyCmpPredicate(predicate, APInt(64, *known(x), true),
                                               APInt(64, *known(y), true)));
  return {x.d, arith::CmpIOp::create(x.d->builder(), x.d->location(), predicate, x.v, y.v)};
}
Bool cuda::operator<(Int x, Int y) { return compare(arith::CmpIPredicate::slt, x, y); }
Bool cuda::operator<(Int x, int64_t y) { return x < x.d->constant(y); }
Bool cuda::operator<=(Int x, Int y) { return compare(arith::CmpIPredicate::sle, x, y); }
Bool cuda::operator==(Int x, Int y) { return compare(arith::CmpIPredicate::eq, x, y); }
Bool cuda::operator==(Int x, int64_t y) { return x == x.d->constant(y); }
Bool cuda::operator&&(Bool x, Bool y) {
  if (std::optional<int64_t> first = x.d->known(x.v))
    return *first ? y : x;
  if (std::optional<int64_t> second = x.d->known(y.v))
    return *second ? x : y;
  return make<arith::AndIOp>(x, y);
}

Num cuda::operator+(Num x, Num y) { return make<arith::AddFOp>(x, y); }
Num cuda::operator-(Num x, Num y) { return make<arith::SubFOp>(x, y); }
Num cuda::operator*(Num x, Num y) { return make<arith::MulFOp>(x, y); }
Num cuda::operator/(Num x, Num y) { return make<arith::DivFOp>(x, y); }
Num cuda::operator*(Num x, double y) { return y == 1.0 ? x : x * x.d->number(y); }
Num cuda::max(Num x, Num y) { return make<arith::MaxNumFOp>(x, y); }
Num cuda::min(Num x, Num y) { return make<arith::MinNumFOp>(x, y); }
Bool cuda::operator<(Num x, Num y) {
  return {x.d, arith::CmpFOp::create(x.d->builder(), x.d->location(), arith::CmpFPredicate::OLT,
                                     x.v, y.v)};
}
