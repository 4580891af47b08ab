// Sizes of kernels that are ranks.

#include "compiler/passes/select/Selector.h"

using namespace mlir;
using namespace lorac::lora;

// Scratch of a CPU's kernel has place for so many ranks, or a multiple: a bound that neither the
// updates of one x, stacked, nor ranks that fall should often pass, for each is another kernel.
int64_t Selector::mostRank(int64_t rank) { return llvm::alignTo(rank, 256); }

SmallVector<NamedAttribute> Selector::sizesOf(const Sizes &sizes) {
  SmallVector<NamedAttribute> params;
  for (auto [name, value] : sizes.fixed)
    params.push_back(integer(name, value));
  SmallVector<Attribute> names;
  for (auto [name, value] : sizes.ranks)
    if (target.isCuda || target.rankPerKernel)
      params.push_back(integer(name, value));
    else
      names.push_back(b.getStringAttr(name));
  if (!names.empty())
    params.push_back(b.getNamedAttr("scalars", b.getArrayAttr(names)));
  return params;
}

DenseI64ArrayAttr Selector::scalarsOf(const Sizes &sizes) {
  if (target.isCuda || target.rankPerKernel || sizes.ranks.empty())
    return {};
  SmallVector<int64_t> values;
  for (auto [name, value] : sizes.ranks)
    values.push_back(value);
  return b.getDenseI64ArrayAttr(values);
}

// Whether a value's columns, or its rows, are counted by a rank: factors, and what products make
// of them.
bool Selector::rankColumns(Value value) { return isRank(value, /*columns=*/true); }

bool Selector::isRank(Value value, bool columns) {
  Operation *op = value.getDefiningOp();
  if (auto use = dyn_cast_or_null<UseOp>(op)) {
    Operation *symbol = symbols.lookupNearestSymbolFrom(op, use.getSymbolAttr());
    while (auto stack = dyn_cast_or_null<StackOp>(symbol))
      symbol = symbols.lookupNearestSymbolFrom(op, cast<SymbolRefAttr>(stack.getParts()[0]));
    auto param = dyn_cast_or_null<ParamOp>(symbol);
    return param && param.is(columns ? ParamRole::LoraB : ParamRole::LoraA);
  }
  if (auto product = dyn_cast_or_null<MatmulOp>(op)) {
    const bool isTn = product.getKind() == ProductKind::TN;
    return columns ? isRank(product.getB(), product.getKind() != ProductKind::NT)
                   : isRank(product.getA(), isTn);
  }
  if (auto part = dyn_cast_or_null<ColumnsOp>(op))
    return isRank(part.getX(), columns);
  if (auto view = dyn_cast_or_null<ViewOp>(op))
    return isRank(view.getX(), columns);
  if (auto concat = dyn_cast_or_null<ConcatOp>(op))
    return isRank(concat.getParts().front(), columns);
  return isa_and_nonnull<OrthogonalTermOp>(op);
}

// The rank of an update and t's leading dimension come with the launch, so that a kernel serves
// every rank.
SmallVector<NamedAttribute> Selector::rankParams(Value t, StringRef ldName) {
  if (target.isCuda)
    return {flag("low_rank", bool(t))};
  if (!t || target.rankPerKernel)
    return {integer("rank", t ? cols(t) : 0), integer(ldName, t ? ld(t) : 0)};
  return {integer("most_rank", mostRank(cols(t))),
          b.getNamedAttr("scalars",
                         b.getArrayAttr({b.getStringAttr("rank"), b.getStringAttr(ldName)}))};
}

DenseI64ArrayAttr Selector::rankScalars(Value t) {
  return t && !target.rankPerKernel ? b.getDenseI64ArrayAttr({cols(t), ld(t)})
                                    : DenseI64ArrayAttr();
}
