// Gated LoRA: each row of LoRA's update has a trained factor g, which begins as 1.
//   y = x·Wᵀ + g ⊙ (scale·(x·Aᵀ)·Bᵀ), dropout in front of A alone.

#include "compiler/methods/Method.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace lorac::lora;
using namespace lorac::methods;

static Value rewrite(Site &s) {
  Value update = s.lowRank(s.dropped()).y;
  Value gate = s.valueOf(s.declare(ParamRole::LoraGate, {s.out()}, ""));
  return s.sum(s.base(), s.map({update, gate}, [&](ValueRange in) -> Value {
    return arith::MulFOp::create(s.b, s.loc, in[1], in[0]);
  }));
}

namespace lorac::methods {
extern const Method methodGatedLoRA;
}
const Method lorac::methods::methodGatedLoRA = {"gated", rewrite, nullptr};
