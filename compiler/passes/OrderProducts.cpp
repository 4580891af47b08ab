// 30-backward -> 35-ordered. After Differentiate, so that both directions of an adapter are there
// to be compared and shared.

#include "compiler/passes/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/PatternMatch.h"

namespace lorac::lora {
#define GEN_PASS_DEF_ORDERPRODUCTS
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac::lora;

namespace {

// The sizes of one update: x [tokens, in], A [r, in], B [out, r].
struct Sizes {
  int64_t tokens, in, out, r;
};

// Backward FLOPs through the narrow middle: t (shared with forward), dt = dy·B, dA = dtᵀ·x, dB =
// dyᵀ·t.
int64_t narrowCost(const Sizes &s) { return 2 * s.tokens * s.r * (2 * s.out + s.in); }
// Through the wide one: Z = dyᵀ·x [out, in], dA = Bᵀ·Z, dB = Z·Aᵀ. dt is still formed where dx is
// wanted.
int64_t wideCost(const Sizes &s) { return 2 * s.tokens * s.out * s.in + 4 * s.r * s.out * s.in; }

struct OrderProductsPass : lorac::lora::impl::OrderProductsBase<OrderProductsPass> {
  // x·Aᵀ by (function, x, A's symbol).
  llvm::DenseMap<std::pair<Value, Attribute>, Value> shared;

  void runOnOperation() override {
    int64_t tokens = 1024;
    if (auto limit = getOperation()->getAttrOfType<IntegerAttr>("lora.max_tokens"))
      tokens = limit.getInt();
    for (auto func : getOperation().getOps<func::FuncOp>()) {
      shared.clear();
      func.walk([&](LowRankOp op) { orderForward(op); });
      func.walk([&](LowRankBackwardOp op) { orderBackward(op, tokens); });
    }
  }

  static Value product(OpBuilder &b, Location loc, ProductKind kind, Value a, Value c,
                       double scale) {
    auto left = cast<RankedTensorType>(a.getType()), right = cast<RankedTensorType>(c.getType());
    int64_t rows = left.getDimSize(kind == ProductKind::TN ? 1 : 0),
            cols = right.getDimSize(kind == ProductKind::NT ? 0 : 1);
    auto type = RankedTensorType::get({rows, cols}, b.getF32Type());
    return MatmulOp::create(b, loc, type, ProductKindAttr::get(b.getContext(), kind), a, c,
                            b.getF64FloatAttr(scale));
  }

  Value down(OpBuilder &b, Location loc, Value x, Value a) {
    Value &t = shared[{x, a.getDefiningOp<UseOp>().getSymbolAttr()}];
    if (!t)
      t = product(b, loc, ProductKind::NT, x, a, 1.0);
    return t;
  }

  void orderForward(LowRankOp op) {
    OpBuilder b(op);
    Value t = down(b, op.getLoc(), op.getX(), op.getA());
    op.getY().replaceAllUsesWith(
        product(b, op.getLoc(), ProductKind::NT, t, op.getB(), op.getScale().convertToDouble()));
    op.erase();
  }

  void orderBackward(LowRankBackwardOp op, int64_t tokens) {
    OpBuilder b(op);
    Location loc = op.getLoc();
    auto a = cast<RankedTensorType>(op.getA().getType());
    auto bType = cast<RankedTensorType>(op.getB().getType());
    Sizes sizes{tokens, a.getDimSize(1), bType.getDimSize(0), a.getDimSize(0)};
    double scale = op.getScale().convertToDouble();
    Value t = down(b, loc, op.getX(), op.getA());
    Value dt = product(b, loc, ProductKind::NN, op.getDy(), op.getB(), scale);
    Value da = product(b, loc, ProductKind::TN, dt, op.getX(), 1.0);
    Value db = product(b, loc, ProductKind::TN, op.getDy(), t, scale);
    // The wide order would need products whose sum is not over tokens; it is cheaper only for ranks
    // above in·out/(in+2·out), where an adapter has more parameters than its target.
    if (wideCost(sizes) < narrowCost(sizes))
      op.emitRemark("rank ") << sizes.r
                             << " is so large that the full gradient of W would cost less ("
                             << wideCost(sizes) << " FLOPs against " << narrowCost(sizes) << ")";
    op.getDa().replaceAllUsesWith(da);
    op.getDb().replaceAllUsesWith(db);
    if (op.getDx())
      op.getDx().replaceAllUsesWith(product(b, loc, ProductKind::NN, dt, op.getA(), 1.0));
    op.erase();
  }
};

} // namespace
