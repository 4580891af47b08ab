// What follows a product in one lora.fused.

#include "compiler/passes/select/Selector.h"

using namespace mlir;
using namespace lorac::lora;

// On a CPU a launch after another is as fast as one kernel (docs/design.md, "What fusion is for,
// and where it stops"); on a GPU the product's kernel goes on with its result.
void Selector::selectOp(FusedOp op) {
  Block &body = op.getBody().front();
  Operation *product = &body.front(), *epilogue = body.getTerminator()->getPrevNode();
  if (!target.isCuda || !selectWithEpilogue(product, epilogue, body.getTerminator()))
    for (Operation &inner : body.without_terminator())
      (void)select(&inner); // ops of the kinds that the verifier allows have kernels
  for (auto [outer, inner] : llvm::zip(op.getOutputs(), body.getTerminator()->getOperands()))
    buffers[outer] = in(inner);
}

bool Selector::ropeFits(RopeOp op) { return 128 % headDim(op) == 0 && headDim(op) % 16 == 0; }

// False, and nothing done, where the device's linears have no such epilogue.
bool Selector::selectWithEpilogue(Operation *op, Operation *epilogue, Operation *yield) {
  auto forward = dyn_cast<AdaptedLinearOp>(op);
  auto backward = dyn_cast<AdaptedLinearBackwardOp>(op);
  if ((forward && forward.getResidual()) || (backward && backward.getOnto()))
    return false;
  auto isProduct = [&](Value value) { return rootOf(value) == op->getResult(0); };
  bool keeps = llvm::any_of(yield->getOperands(), isProduct);
  if (auto rope = dyn_cast<RopeOp>(epilogue); rope && !(keeps || !ropeFits(rope))) {
    Product product = forward ? productOf(forward) : productOf(backward);
    Value y = fresh(rope.getY(), rope.getLoc(), "rope");
    product.key.params.append({b.getNamedAttr("epilogue", b.getStringAttr("rope")),
                               integer("rope", headDim(rope)), flag("inverse", rope.getInverse())});
    product.operands.append({in(rope.getPositions()), ropeTable(rope)});
    launchProduct(op->getLoc(), product, y);
    buffers[rope.getY()] = y;
    return true;
  }
  auto map = dyn_cast<MapOp>(epilogue);
  if (!map || map.hasRows() || cols(map.getOutputs().front()) != cols(op->getResult(0)))
    return false;
  Product product = forward ? productOf(forward) : productOf(backward);
  if (keeps) {
    Value y = fresh(op->getResult(0), op->getLoc(), forward ? "out" : "dx");
    product.operands.push_back(y);
    buffers[op->getResult(0)] = y;
  }
  // Where an argument of the body comes from: the product (-1), or one of the other operands.
  SmallVector<int64_t> sources, lds;
  SmallVector<Value> others;
  for (Value input : map.getInputs()) {
    sources.push_back(isProduct(input) ? -1 : int64_t(others.size()));
    if (!isProduct(input))
      others.push_back(input), product.operands.push_back(in(input)), lds.push_back(ld(input));
  }
  placeOutputs(map, others, [&](Value buffer, int64_t lead) {
    product.operands.push_back(buffer), lds.push_back(lead);
  });
  product.key.params.append({b.getNamedAttr("epilogue", b.getStringAttr("map")),
                             flag("keeps", keeps),
                             b.getNamedAttr("sources", b.getDenseI64ArrayAttr(sources)),
                             b.getNamedAttr("lds", b.getDenseI64ArrayAttr(lds))});
  product.key.body = &map.getBody();
  launch(op->getLoc(), product.key, product.operands, product.flops, product.scalars);
  return true;
}
