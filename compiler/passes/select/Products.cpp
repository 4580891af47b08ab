// Products: small ones over factors, large ones over frozen weights with their low-rank update.

#include "compiler/passes/select/Selector.h"

using namespace mlir;
using namespace lorac::lora;

void Selector::selectOp(MatmulOp op) {
  auto a = cast<RankedTensorType>(op.getA().getType()),
       c = cast<RankedTensorType>(op.getC().getType());
  // The rows that a launch counts: tokens, or those of a gradient of W.
  bool fixed = !a.isDynamicDim(0), isTn = op.getKind() == ProductKind::TN;
  int64_t rows = fixed ? a.getDimSize(0) : tokens();
  Value sink = gradientPlace(op.getC()), out = sink ? sink : fresh(op.getC(), op.getLoc(), "t");
  buffers[op.getC()] = out;
  Sizes sizes;
  const bool columnsAreRank = rankColumns(op.getC());
  if (isTn)
    sizes.add("i", c.getDimSize(0), rankColumns(op.getA()));
  else
    sizes.add("k", a.getDimSize(1), rankColumns(op.getA()));
  sizes.add("j", c.getDimSize(1), columnsAreRank);
  sizes.add("lda", ld(op.getA()), rankColumns(op.getA()));
  sizes.add("ldb", ld(op.getB()), rankColumns(op.getB()));
  sizes.add("ldc", ld(op.getC()), columnsAreRank);
  SmallVector<NamedAttribute> params = sizesOf(sizes);
  if (!isTn)
    params.push_back(flag("exact", bool(sink) || isInColumns(op.getC()) || !c.isDynamicDim(0)));
  if (isTn && target.isCuda) // two columns of a row are one word
    params.push_back(flag("even", isEven(in(op.getA())) && isEven(in(op.getB()))));
  if (!target.isCuda && columnsAreRank) // how wide the tiles are
    params.push_back(integer("columns", c.getDimSize(1) <= 8 ? 8 : 16));
  params.append({number("scale", op.getScale().convertToDouble()), flag("accumulate", bool(sink))});
  int64_t other = isTn ? c.getDimSize(0) : a.getDimSize(1);
  auto made = launch(op.getLoc(), {("matmul_" + stringifyProductKind(op.getKind())).str(), params},
                     {in(op.getA()), in(op.getB()), out}, 2 * rows * c.getDimSize(1) * other, 0,
                     rows, scalarsOf(sizes));
  made.setFixed(fixed);
}

// Over the Gram matrix, which nothing else reads. The norms stand side by side in the order of
// the terms.
void Selector::selectOp(OrthogonalTermOp op) {
  int64_t r = cols(op.getGram()), all = llvm::range_size(program.getOps<OrthogonalTermOp>());
  Value gram = in(op.getGram()),
        norms = place(BufferRole::IO, "orthogonality", MemRefType::get({all}, b.getF32Type()));
  Value norm =
      SliceOp::create(b, op.getLoc(), MemRefType::get({1}, b.getF32Type()), norms, 4 * terms++);
  Sizes sizes;
  sizes.add("n", r, rankColumns(op.getGram()));
  SmallVector<NamedAttribute> params = sizesOf(sizes);
  params.push_back(number("scale", op.getScale().convertToDouble()));
  launch(op.getLoc(), {"orthogonal_term", params}, {gram, norm}, 4 * r * r, 0, r, scalarsOf(sizes))
      .setFixed(true);
  buffers[op.getGradient()] = gram, buffers[op.getNorm()] = norm;
}

// Where the value is set, it is written there. Its rank comes with the launch, as a linear's.
void Selector::selectOp(WeightNormOp op) {
  auto shape = cast<WeightType>(op.getWeight().getType()).getShape();
  const int64_t n = shape[0], k = shape[1], rank = cols(op.getB());
  Value norm;
  for (Operation *user : op.getNorm().getUsers())
    if (auto set = dyn_cast<SetOp>(user); set && !norm)
      norm = place(BufferRole::Param, set.getSymbol(), MemRefType::get({n}, b.getF32Type()));
  if (!norm)
    norm = fresh(op.getNorm(), op.getLoc(), "weight_norm");
  SmallVector<NamedAttribute> params{integer("n", n), integer("k", k), formatOf(op.getWeight()),
                                     number("scale", op.getScale().convertToDouble())};
  if (target.rankPerKernel)
    params.push_back(integer("rank", rank));
  else if (!target.isCuda)
    params.append({integer("most_rank", mostRank(rank)),
                   b.getNamedAttr("scalars", b.getStrArrayAttr({"rank"}))});
  launch(op.getLoc(), {"weight_norm", params},
         {weight(op.getWeight()), in(op.getA()), in(op.getB()), norm}, 2 * n * k * (rank + 1), 0, n,
         target.rankPerKernel ? DenseI64ArrayAttr() : b.getDenseI64ArrayAttr({rank}))
      .setFixed(true);
  buffers[op.getNorm()] = norm;
}

Selector::Product Selector::productOf(AdaptedLinearOp op) {
  auto shape = cast<WeightType>(op.getWeight().getType()).getShape();
  int64_t rank = op.getT() ? cols(op.getT()) : 0;
  SmallVector<Value> operands{in(op.getX()), weight(op.getWeight())};
  if (op.getT())
    operands.append({in(op.getT()), in(op.getB())});
  if (op.getResidual())
    operands.push_back(in(op.getResidual()));
  SmallVector<NamedAttribute> params =
      linearParams(op.getWeight(), op.getT(),
                   {integer("ldx", ld(op.getX())), integer("ldy", ld(op.getY())),
                    number("scale", op.getScale().convertToDouble()),
                    integer("ldr", op.getResidual() ? ld(op.getResidual()) : 0),
                    flag("residual", bool(op.getResidual()))});
  if (target.sequences && !target.isCuda)
    params.push_back(flag("one_row", true));
  return {{"linear_forward", params},
          operands,
          2 * tokens() * shape[0] * (shape[1] + rank),
          rankScalars(op.getT())};
}

Selector::Product Selector::productOf(AdaptedLinearBackwardOp op) {
  auto shape = cast<WeightType>(op.getWeight().getType()).getShape();
  int64_t rank = op.getDt() ? cols(op.getDt()) : 0;
  SmallVector<Value> operands{in(op.getDy()), weight(op.getWeight())};
  if (op.getDt())
    operands.append({in(op.getDt()), in(op.getA())});
  return {{"linear_backward", linearBackwardParams(op.getWeight(), op.getDt(), ld(op.getDy()),
                                                   ld(op.getDx()), bool(op.getOnto()))},
          operands,
          2 * tokens() * shape[1] * (shape[0] + rank),
          rankScalars(op.getDt())};
}

void Selector::launchProduct(Location loc, Product product, Value result) {
  product.operands.push_back(result);
  launch(loc, product.key, product.operands, product.flops, product.scalars);
}

SmallVector<NamedAttribute> Selector::linearParams(Value w, Value t, ArrayRef<NamedAttribute> more,
                                                   StringRef ldName) {
  auto shape = cast<WeightType>(w.getType()).getShape();
  SmallVector<NamedAttribute> params{integer("n", shape[0]), integer("k", shape[1]), formatOf(w)};
  llvm::append_range(params, rankParams(t, ldName));
  llvm::append_range(params, more);
  return params;
}

SmallVector<NamedAttribute> Selector::linearBackwardParams(Value w, Value dt, int64_t lddy,
                                                           int64_t lddx, bool accumulate) {
  return linearParams(
      w, dt, {integer("lddy", lddy), integer("lddx", lddx), flag("accumulate", accumulate)},
      "lddt");
}

void Selector::selectOp(AdaptedLinearOp op) {
  Value y = over(op.getResidual(), op.getY(), op.getLoc(), "out");
  launchProduct(op.getLoc(), productOf(op), y);
  buffers[op.getY()] = y;
}

void Selector::selectOp(AdaptedLinearBackwardOp op) {
  Value dx = op.getOnto() ? onto(op.getOnto(), op.getDx(), op.getLoc())
                          : fresh(op.getDx(), op.getLoc(), "dx");
  launchProduct(op.getLoc(), productOf(op), dx);
  buffers[op.getDx()] = dx;
}
