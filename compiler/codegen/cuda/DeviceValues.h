#pragma once
// Values of a kernel under construction, with the operators of arithmetic: `row * 64 + lane % 4`
// builds arith ops. What is known while building is folded, so that the printed text holds no `x +
// 0`.

#include "mlir/IR/Value.h"

namespace lorac::cuda {

class DeviceBuilder;

/// An i32. Products, quotients and remainders are of non-negative numbers.
struct Int {
  DeviceBuilder *d;
  mlir::Value v;
  operator mlir::Value() const { return v; }
};
/// An f32, or f64 where both sides of an operator are.
struct Num {
  DeviceBuilder *d;
  mlir::Value v;
  operator mlir::Value() const { return v; }
};
struct Bool {
  DeviceBuilder *d;
  mlir::Value v;
  operator mlir::Value() const { return v; }
};

Int operator+(Int x, Int y);
Int operator-(Int x, Int y);
Int operator*(Int x, Int y);
Int operator/(Int x, Int y);
Int operator%(Int x, Int y);
Int operator&(Int x, Int y);
Int operator^(Int x, Int y);
Int operator+(Int x, int64_t y);
Int operator-(Int x, int64_t y);
Int operator*(Int x, int64_t y);
Int operator/(Int x, int64_t y);
Int operator%(Int x, int64_t y);
Int operator&(Int x, int64_t y);
Int min(Int x, Int y);
Int max(Int x, Int y);
Bool operator<(Int x, Int y);
Bool operator<(Int x, int64_t y);
Bool operator<=(Int x, Int y);
Bool operator==(Int x, Int y);
Bool operator==(Int x, int64_t y);
Bool operator&&(Bool x, Bool y);

Num operator+(Num x, Num y);
Num operator-(Num x, Num y);
Num operator*(Num x, Num y);
Num operator/(Num x, Num y);
Num operator*(Num x, double y);
Num max(Num x, Num y);
Num min(Num x, Num y);
Bool operator<(Num x, Num y);

} // namespace lorac::cuda
