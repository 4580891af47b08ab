// 40-fused: what is done with a product goes into its kernel. After FuseKernels and the last merge
// of elementwise ops, when products and maps are what they stay.

#include "compiler/passes/Passes.h"
#include "mlir/IR/Builders.h"

namespace lorac::lora {
#define GEN_PASS_DEF_FUSEEPILOGUES
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac::lora;

namespace {

// A map or a rope that reads the product, and the views on the way.
struct Epilogue {
  SmallVector<Operation *> views;
  Operation *op = nullptr;
};

struct FuseEpiloguesPass : lorac::lora::impl::FuseEpiloguesBase<FuseEpiloguesPass> {
  void runOnOperation() override {
    SmallVector<Operation *> products;
    getOperation().walk([&](Operation *op) {
      if (isa<AdaptedLinearOp, AdaptedLinearBackwardOp>(op) && !isa<FusedOp>(op->getParentOp()))
        products.push_back(op);
    });
    for (Operation *product : products)
      if (Epilogue epilogue = epilogueOf(product); epilogue.op)
        fuse(product, epilogue);
  }

  // The first that can stand where the product stands.
  static Epilogue epilogueOf(Operation *product) {
    SmallVector<Epilogue> found;
    for (Operation *user : product->getResult(0).getUsers()) {
      Epilogue epilogue;
      Value read = product->getResult(0);
      while (auto view = dyn_cast<ViewOp>(user)) {
        if (!read.hasOneUse() || !view.getY().hasOneUse())
          break;
        epilogue.views.push_back(view);
        read = view.getY();
        user = *read.user_begin();
      }
      epilogue.op = user;
      if (canStandAt(product, read, user))
        found.push_back(epilogue);
    }
    auto first = llvm::min_element(
        found, [](const Epilogue &x, const Epilogue &y) { return x.op->isBeforeInBlock(y.op); });
    return first == found.end() ? Epilogue() : *first;
  }

  // Whether everything else that it reads is there when the product is. What is recomputed has its
  // place in the backward pass, and joins only what is. A map that reads a row for all tokens stays
  // a kernel of its own.
  static bool canStandAt(Operation *product, Value read, Operation *epilogue) {
    auto map = dyn_cast<MapOp>(epilogue);
    if (!(map && !map.hasRows()) && !isa<RopeOp>(epilogue))
      return false;
    if (epilogue->getBlock() != product->getBlock() ||
        (epilogue->hasAttr("recompute") && !product->hasAttr("recompute")))
      return false;
    return llvm::all_of(epilogue->getOperands(), [&](Value operand) {
      Operation *def = operand.getDefiningOp();
      return operand == read || !def || def->isBeforeInBlock(product);
    });
  }

  static void fuse(Operation *product, const Epilogue &epilogue) {
    OpBuilder b(product);
    Value y = product->getResult(0);
    SmallVector<Value> results(epilogue.op->getResults());
    bool others = llvm::any_of(y.getUsers(), [&](Operation *user) {
      return user != epilogue.op && !llvm::is_contained(epilogue.views, user);
    });
    if (others)
      results.push_back(y);
    auto fused = FusedOp::create(b, product->getLoc(), ValueRange(results).getTypes());
    Block *body = b.createBlock(&fused.getBody());
    SmallVector<Operation *> inside{product};
    llvm::append_range(inside, epilogue.views);
    inside.push_back(epilogue.op);
    for (Operation *op : inside)
      op->moveBefore(body, body->end());
    b.setInsertionPointToEnd(body);
    YieldOp::create(b, product->getLoc(), results);
    for (auto [inner, outer] : llvm::zip(results, fused.getResults()))
      inner.replaceUsesWithIf(
          outer, [&](OpOperand &use) { return !fused->isProperAncestor(use.getOwner()); });
  }
};

} // namespace
