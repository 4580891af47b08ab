// 30-backward -> 35-ordered. After Differentiate, so that both directions of an adapter are there
// to be compared and shared.

#include "compiler/passes/Passes.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/MapVector.h"

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

// Work of one way to form the gradients. A byte moved costs as much as `flopsOfByte` FLOPs: between
// a core with AVX2 (about 8) and a large GPU (about 200), and far from any decision for either.
struct Cost {
  static constexpr int64_t flopsOfByte = 16;
  int64_t flops, floats;
  int64_t total() const { return flops + 4 * flopsOfByte * floats; }
};

// Through the narrow middle: dt = dy·B, dA = dtᵀ·x, dB = dyᵀ·t. (t comes from the forward pass.)
Cost narrowCost(const Sizes &s) {
  return {2 * s.tokens * s.r * (2 * s.out + s.in),
          s.tokens * (2 * s.out + s.in + 3 * s.r) + s.r * (2 * s.out + s.in)};
}
// Through the wide one: Z = dyᵀ·x [out, in], dA = Bᵀ·Z, dB = Z·Aᵀ; dt only where dx is wanted.
Cost wideCost(const Sizes &s, bool dx) {
  Cost cost{2 * s.out * s.in * (s.tokens + 2 * s.r),
            s.tokens * (s.out + s.in) + 3 * s.out * s.in + 2 * s.r * (s.out + s.in)};
  if (dx) {
    cost.flops += 2 * s.tokens * s.r * s.out;
    cost.floats += s.tokens * (s.out + s.r) + s.r * s.out;
  }
  return cost;
}

int64_t rows(Value value) { return cast<RankedTensorType>(value.getType()).getDimSize(0); }
int64_t width(Value value) { return cast<RankedTensorType>(value.getType()).getDimSize(1); }
FlatSymbolRefAttr symbolOf(Value factor) { return factor.getDefiningOp<UseOp>().getSymbolAttr(); }
StringRef nameOf(Location loc) {
  auto named = dyn_cast<NameLoc>(loc);
  return named ? named.getName().strref() : StringRef();
}

Value product(OpBuilder &b, Location loc, ProductKind kind, Value a, Value c, double scale) {
  auto left = cast<RankedTensorType>(a.getType()), right = cast<RankedTensorType>(c.getType());
  int64_t rows = left.getDimSize(kind == ProductKind::TN ? 1 : 0),
          cols = right.getDimSize(kind == ProductKind::NT ? 0 : 1);
  auto type = RankedTensorType::get({rows, cols}, b.getF32Type());
  return MatmulOp::create(b, loc, type, ProductKindAttr::get(b.getContext(), kind), a, c,
                          b.getF64FloatAttr(scale));
}

// The updates of one function that read one x: their A are stacked, so that x is read once.
struct Group {
  SmallVector<LowRankOp> forward;
  SmallVector<LowRankBackwardOp> backward;
};

struct OrderProductsPass : lorac::lora::impl::OrderProductsBase<OrderProductsPass> {
  int64_t tokens = 1024;
  llvm::DenseMap<Attribute, FlatSymbolRefAttr> stacks; // first part -> the stack that it begins
  llvm::DenseMap<std::pair<Value, Attribute>, Value> downs; // (x, A) -> x·Aᵀ

  void runOnOperation() override {
    if (auto limits = findOnly<LimitsOp>(getOperation()))
      tokens = limits.getTokens();
    stacks.clear();
    for (auto program : getOperation().getOps<ProgramOp>()) {
      downs.clear();
      llvm::MapVector<Value, Group> groups;
      program.walk([&](LowRankOp op) { groups[op.getX()].forward.push_back(op); });
      program.walk([&](LowRankBackwardOp op) { groups[op.getX()].backward.push_back(op); });
      if (failed(checkFactors(program)))
        return signalPassFailure();
      for (auto &[_, group] : groups) {
        orderForward(group.forward);
        orderBackward(group.backward);
      }
    }
  }

  // Products are shared by the symbol of A.
  static LogicalResult checkFactors(ProgramOp program) {
    auto isNamed = [](Operation *op, Value a) -> WalkResult {
      if (a.getDefiningOp<UseOp>())
        return WalkResult::advance();
      op->emitOpError("has an A that is no lora.use");
      return WalkResult::interrupt();
    };
    return failure(
        program.walk([&](LowRankOp op) { return isNamed(op, op.getA()); }).wasInterrupted() ||
        program.walk([&](LowRankBackwardOp op) { return isNamed(op, op.getA()); })
            .wasInterrupted());
  }

  // The matrix of several A, as a use of a stack in front of the builder's place; a single A is
  // itself.
  Value stacked(OpBuilder &b, Location loc, ArrayRef<Value> factors) {
    if (factors.size() == 1)
      return factors.front();
    int64_t total = 0;
    SmallVector<Attribute> parts;
    for (Value factor : factors) {
      total += rows(factor);
      parts.push_back(symbolOf(factor));
    }
    auto type = RankedTensorType::get({total, width(factors.front())}, b.getF32Type());
    FlatSymbolRefAttr &stack = stacks[parts.front()];
    if (!stack) {
      SymbolTable symbols(getOperation());
      OpBuilder atModule = OpBuilder::atBlockBegin(getOperation().getBody());
      for (Operation &op : *getOperation().getBody())
        if (isa<FrozenOp, ParamOp, StackOp>(op))
          atModule.setInsertionPointAfter(&op);
      auto made = StackOp::create(atModule, loc, b.getStringAttr(stackName(parts)),
                                  b.getArrayAttr(parts), TypeAttr::get(type));
      stack = FlatSymbolRefAttr::get(b.getContext(),
                                     symbols.insert(made, atModule.getInsertionPoint()));
    }
    return UseOp::create(b, loc, type, stack);
  }

  // `…self_attn.q_proj+k_proj+v_proj.lora_A`, by the adapters whose A they are.
  std::string stackName(ArrayRef<Attribute> parts) {
    std::string name;
    for (Attribute part : parts) {
      auto symbol = cast<FlatSymbolRefAttr>(part);
      auto param = SymbolTable::lookupNearestSymbolFrom<ParamOp>(getOperation(), symbol);
      StringRef own = param && param.getAdapter() ? *param.getAdapter() : symbol.getValue();
      name += name.empty() ? own.str() : "+" + own.substr(own.rfind('.') + 1).str();
    }
    return name + ".lora_A";
  }

  // q_proj of one module, k_proj and v_proj of its brothers: `…self_attn.q_proj+k_proj+v_proj`.
  template <typename Op>
  static Location commonName(MutableArrayRef<Op> ops) {
    std::string name = nameOf(ops.front().getLoc()).str();
    for (Op op : ops.drop_front())
      name += "+" + nameOf(op.getLoc()).rsplit('.').second.str();
    return NameLoc::get(StringAttr::get(ops.front()->getContext(), name), ops.front().getLoc());
  }

  // Declared only once, so a stack of A must be the same wherever its first part is used.
  bool canStack(ArrayRef<Value> factors) {
    llvm::DenseSet<Attribute> seen;
    for (Value factor : factors)
      if (!seen.insert(symbolOf(factor)).second || width(factor) != width(factors.front()))
        return false;
    if (FlatSymbolRefAttr known = stacks.lookup(symbolOf(factors.front()))) {
      auto stack = SymbolTable::lookupNearestSymbolFrom<StackOp>(getOperation(), known);
      return llvm::equal(stack.getParts(), factors,
                         [](Attribute part, Value f) { return part == symbolOf(f); });
    }
    return true;
  }

  // t of each update, from one product over the stacked A.
  void orderForward(MutableArrayRef<LowRankOp> ops) {
    if (ops.empty())
      return;
    Value x = ops.front().getX(); // an update in front of it may have become another value
    SmallVector<Value> factors;
    for (LowRankOp op : ops)
      factors.push_back(op.getA());
    if (ops.size() > 1 && canStack(factors)) {
      OpBuilder b(ops.front());
      Location loc = commonName<LowRankOp>(ops);
      Value t = product(b, loc, ProductKind::NT, x, stacked(b, loc, factors), 1.0);
      int64_t from = 0;
      for (LowRankOp op : ops) {
        auto type = RankedTensorType::get({ShapedType::kDynamic, rows(op.getA())}, b.getF32Type());
        downs[{x, symbolOf(op.getA())}] = ColumnsOp::create(b, op.getLoc(), type, t, from);
        from += rows(op.getA());
      }
    }
    for (LowRankOp op : ops) {
      OpBuilder b(op);
      Value t = down(b, op.getLoc(), x, op.getA());
      op.getY().replaceAllUsesWith(
          product(b, op.getLoc(), ProductKind::NT, t, op.getB(), op.getScale().convertToDouble()));
      eraseWithUse(op, op.getA());
    }
  }

  Value down(OpBuilder &b, Location loc, Value x, Value a) {
    Value &t = downs[{x, symbolOf(a)}];
    if (!t)
      t = product(b, loc, ProductKind::NT, x, a, 1.0);
    return t;
  }

  bool takesWide(LowRankBackwardOp op) {
    Sizes sizes{tokens, width(op.getA()), rows(op.getB()), rows(op.getA())};
    return wideCost(sizes, bool(op.getDx())).total() < narrowCost(sizes).total();
  }

  void orderBackward(MutableArrayRef<LowRankBackwardOp> ops) {
    if (ops.empty())
      return;
    // The order of the stack is that of the forward pass; Differentiate emits it backwards.
    SmallVector<LowRankBackwardOp> ordered(llvm::reverse(ops));
    SmallVector<Value> factors, dts;
    for (LowRankBackwardOp op : ordered)
      factors.push_back(op.getA());
    bool stacks = ordered.size() > 1 && canStack(factors);
    bool stackDa = stacks && llvm::none_of(ordered, [&](auto op) { return takesWide(op); }) &&
                   llvm::all_of(ordered, [](auto op) { return gradientOf(op.getDa()); });
    bool stackDx = stacks && areTermsOfSums(ops.drop_back()) && ops.back().getDx();
    for (LowRankBackwardOp op : ordered)
      dts.push_back(orderOne(op, !stackDa, !stackDx));
    if (stackDa || stackDx)
      formStacked(ops, ordered, factors, dts, stackDa, stackDx);
    for (LowRankBackwardOp op : ops)
      eraseWithUse(op, op.getA());
  }

  // The products of one update's gradients, but for those that the stack forms. Returns dt, or null
  // where nobody needs it.
  Value orderOne(LowRankBackwardOp op, bool formDa, bool formDx) {
    OpBuilder b(op);
    Location loc = op.getLoc();
    double scale = op.getScale().convertToDouble();
    bool wide = formDa && takesWide(op);
    Value dt;
    if (!wide || op.getDx())
      dt = product(b, loc, ProductKind::NN, op.getDy(), op.getB(), scale);
    if (wide) {
      Value z = product(b, loc, ProductKind::TN, op.getDy(), op.getX(), 1.0);
      op.getDa().replaceAllUsesWith(product(b, loc, ProductKind::TN, op.getB(), z, scale));
      op.getDb().replaceAllUsesWith(product(b, loc, ProductKind::NT, z, op.getA(), scale));
    } else {
      if (formDa)
        op.getDa().replaceAllUsesWith(product(b, loc, ProductKind::TN, dt, op.getX(), 1.0));
      Value t = down(b, loc, op.getX(), op.getA());
      op.getDb().replaceAllUsesWith(product(b, loc, ProductKind::TN, op.getDy(), t, scale));
    }
    if (op.getDx() && formDx)
      op.getDx().replaceAllUsesWith(product(b, loc, ProductKind::NN, dt, op.getA(), 1.0));
    return dt;
  }

  // dA and dx of all updates of x from dt side by side, where the last of them stands.
  void formStacked(MutableArrayRef<LowRankBackwardOp> ops,
                   MutableArrayRef<LowRankBackwardOp> ordered, ArrayRef<Value> factors,
                   ArrayRef<Value> dts, bool stackDa, bool stackDx) {
    LowRankBackwardOp last = ops.back();
    OpBuilder b(last);
    Location loc = commonName<LowRankBackwardOp>(ordered);
    int64_t total = 0;
    for (Value factor : factors)
      total += rows(factor);
    auto type = RankedTensorType::get({ShapedType::kDynamic, total}, b.getF32Type());
    Value dt = ConcatOp::create(b, loc, type, dts), a = stacked(b, loc, factors);
    if (stackDa) {
      Value da = product(b, loc, ProductKind::TN, dt, last.getX(), 1.0);
      for (LowRankBackwardOp op : ops)
        gradientOf(op.getDa()).erase();
      GradientOp::create(b, loc, a.getDefiningOp<UseOp>().getSymbolAttr(), da);
    }
    if (stackDx) {
      for (LowRankBackwardOp op : ops.drop_back())
        dropTerm(op.getDx());
      // Named as the update that it stands beside: FuseKernels brings it into that base product.
      last.getDx().replaceAllUsesWith(product(b, last.getLoc(), ProductKind::NN, dt, a, 1.0));
    }
  }

  static GradientOp gradientOf(Value da) {
    return da.hasOneUse() ? dyn_cast<GradientOp>(*da.user_begin()) : GradientOp();
  }
  // Each dx is read by one sum, and each by another: then the other terms can take the sums'
  // places.
  static bool areTermsOfSums(MutableArrayRef<LowRankBackwardOp> ops) {
    llvm::DenseSet<Operation *> sums;
    return llvm::all_of(ops, [&](LowRankBackwardOp op) {
      Value dx = op.getDx();
      auto sum = dx && dx.hasOneUse() ? dyn_cast<MapOp>(*dx.user_begin()) : MapOp();
      return sum && sum.isSum() && sums.insert(sum).second;
    });
  }
  static void dropTerm(Value dx) {
    auto sum = cast<MapOp>(*dx.user_begin());
    Value other = sum.getInputs()[sum.getInputs()[0] == dx ? 1 : 0];
    sum.getOutputs().front().replaceAllUsesWith(other);
    sum.erase();
  }
  static void eraseWithUse(Operation *op, Value factor) {
    op->erase();
    if (factor.use_empty())
      factor.getDefiningOp()->erase();
  }
};

} // namespace
