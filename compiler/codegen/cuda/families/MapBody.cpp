#include "compiler/codegen/cuda/families/MapBody.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace lorac::cuda;

SmallVector<Value> lorac::cuda::cloneMapBody(DeviceBuilder &d, Block &body, ValueRange arguments) {
  IRMapping known;
  known.map(body.getArguments(), arguments);
  for (Operation &op : body.without_terminator()) {
    Operation *copy = d.builder().clone(op, known);
    copy->setLoc(d.location());
    // exp stays finite: a product of its result with a zero gradient must not be NaN (silu of
    // -100, backward).
    if (auto exp = dyn_cast<math::ExpOp>(copy))
      known.map(op.getResult(0), min(Num{&d, exp.getResult()}, d.number(1e38)).v);
  }
  SmallVector<Value> results;
  for (Value value : body.getTerminator()->getOperands())
    results.push_back(known.lookup(value));
  return results;
}
