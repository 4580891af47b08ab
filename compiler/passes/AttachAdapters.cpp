// 10-model -> 20-adapted. Stands first: everything after it sees a low-rank update as an op of its
// own.

#include "compiler/passes/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

namespace lorac::lora {
#define GEN_PASS_DEF_ATTACHADAPTERS
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac::lora;

namespace {

struct Adapter {
  std::string module;
  int64_t rank;
  double scale, dropout;
  Location loc;
};

Value addMap(OpBuilder &b, Location loc, Value x, Value y) {
  auto map = MapOp::create(b, loc, TypeRange{x.getType()}, ValueRange{x, y});
  OpBuilder::InsertionGuard guard(b);
  Block *block = b.createBlock(&map.getBody(), {}, {b.getF32Type(), b.getF32Type()}, {loc, loc});
  Value sum = arith::AddFOp::create(b, loc, block->getArgument(0), block->getArgument(1));
  YieldOp::create(b, loc, sum);
  return map.getOutputs().front();
}

struct AttachAdaptersPass : lorac::lora::impl::AttachAdaptersBase<AttachAdaptersPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    llvm::StringMap<Adapter> adapters;
    if (failed(readAdapters(module, adapters)))
      return signalPassFailure();
    int64_t stream = 0;
    SmallVector<LinearOp> linears;
    module.walk([&](LinearOp op) { linears.push_back(op); });
    for (LinearOp op : linears) {
      StringRef tensor = op.getWeight().getDefiningOp<UseOp>().getSymbol();
      auto found = adapters.find(tensor.drop_back(tensor.ends_with(".weight") ? 7 : 0));
      if (found == adapters.end() || found->second.rank == 0)
        continue;
      attach(op, found->second, stream++);
      adapters.erase(found);
    }
    if (auto weight = module->getAttrOfType<FloatAttr>("lora.orth_reg_weight"))
      regularize(weight.getValueAsDouble());
    for (auto &[name, adapter] : adapters)
      if (adapter.rank > 0) {
        emitError(adapter.loc) << "no linear of the model is named '" << name << "'";
        signalPassFailure();
      }
  }

  LogicalResult readAdapters(ModuleOp module, llvm::StringMap<Adapter> &adapters) {
    auto list = module->getAttrOfType<ArrayAttr>("lora.adapters");
    if (!list)
      return module.emitError("needs the attribute 'lora.adapters'");
    for (Attribute entry : list) {
      auto table = dyn_cast<DictionaryAttr>(entry);
      auto name = table ? table.getAs<StringAttr>("module") : nullptr;
      auto rank = table ? table.getAs<IntegerAttr>("r") : nullptr;
      auto scale = table ? table.getAs<FloatAttr>("scale") : nullptr;
      if (!name || !rank || !scale || rank.getInt() < 0)
        return module.emitError(
                   "each of 'lora.adapters' needs 'module', 'r' >= 0 and 'scale', got ")
               << entry;
      auto dropout = table.getAs<FloatAttr>("dropout");
      auto loc = table.getAs<LocationAttr>("loc");
      adapters.try_emplace(name.getValue(),
                           Adapter{name.str(), rank.getInt(), scale.getValueAsDouble(),
                                   dropout ? dropout.getValueAsDouble() : 0.0,
                                   loc ? Location(loc) : module.getLoc()});
    }
    return success();
  }

  Value declare(OpBuilder &b, LinearOp op, const Adapter &adapter, StringRef group,
                ArrayRef<int64_t> shape) {
    ModuleOp module = getOperation();
    auto type = RankedTensorType::get(shape, b.getF32Type());
    std::string name = adapter.module + "." + group.str() + ".weight";
    OpBuilder atModule = OpBuilder::atBlockBegin(module.getBody());
    for (Operation &other : *module.getBody())
      if (isa<FrozenOp, ParamOp>(other))
        atModule.setInsertionPointAfter(&other);
    auto param =
        ParamOp::create(atModule, adapter.loc, atModule.getStringAttr(name), TypeAttr::get(type));
    param->setAttr("group", b.getStringAttr(group));
    param->setAttr("module", b.getStringAttr(adapter.module));
    param->setAttr("scale", b.getF64FloatAttr(adapter.scale));
    return UseOp::create(b, adapter.loc, type, name);
  }

  void attach(LinearOp op, const Adapter &adapter, int64_t stream) {
    OpBuilder b(op->getContext());
    b.setInsertionPointAfter(op);
    auto weight = cast<WeightType>(op.getWeight().getType());
    Location loc = NameLoc::get(b.getStringAttr(adapter.module), adapter.loc);
    Value x = op.getX();
    if (adapter.dropout > 0)
      x = DropoutOp::create(b, loc, x.getType(), x, b.getF64FloatAttr(adapter.dropout),
                            b.getI64IntegerAttr(stream));
    Value a = declare(b, op, adapter, "lora_A", {adapter.rank, weight.getShape()[1]});
    Value bFactor = declare(b, op, adapter, "lora_B", {weight.getShape()[0], adapter.rank});
    if (getOperation()->hasAttr("lora.orth_reg_weight")) {
      Value e = declare(b, op, adapter, "lora_E", {adapter.rank, 1});
      SymbolTable(getOperation())
          .lookup(e.getDefiningOp<UseOp>().getSymbol())
          ->setAttr("folded", b.getUnitAttr());
      e.getDefiningOp()->erase();
    }
    Value update = LowRankOp::create(b, loc, op.getY().getType(), x, a, bFactor,
                                     b.getF64FloatAttr(adapter.scale));
    Value sum = addMap(b, loc, op.getY(), update);
    op.getY().replaceUsesWithIf(
        sum, [&](OpOperand &use) { return use.getOwner() != sum.getDefiningOp(); });
  }

  // AdaLoRA's term of the loss, once a step: weight · mean over all A and B of ‖A·Aᵀ - I‖ and
  // ‖Bᵀ·B - I‖ (PEFT, tuners/adalora/model.py). Its gradient by A is weight/adapters · (A·Aᵀ - I)·A
  // / norm. The mean is over the adapters of the spec, also those that no rank is left of.
  void regularize(double weight) {
    ModuleOp module = getOperation();
    SmallVector<ParamOp> factors;
    for (ParamOp param : module.getOps<ParamOp>())
      if (!param->hasAttr("folded"))
        factors.push_back(param);
    auto adapters = module->getAttrOfType<ArrayAttr>("lora.adapters");
    OpBuilder b(module.getContext());
    b.setInsertionPointToEnd(module.getBody());
    auto one = RankedTensorType::get({1}, b.getF32Type());
    auto func = func::FuncOp::create(b, module.getLoc(), "regularize",
                                     b.getFunctionType({}, SmallVector<Type>(factors.size(), one)));
    func->setAttr("adalora", b.getUnitAttr()); // all else is LoRA's at these ranks
    b.setInsertionPointToStart(func.addEntryBlock());
    SmallVector<Value> norms;
    for (ParamOp param : factors) {
      auto type = cast<RankedTensorType>(param.getType());
      bool isA = param->getAttrOfType<StringAttr>("group") == "lora_A";
      int64_t rank = type.getDimSize(isA ? 0 : 1);
      Location loc = param.getLoc();
      auto product = [&](ProductKind kind, Value x, Value y, ArrayRef<int64_t> shape) -> Value {
        return MatmulOp::create(b, loc, RankedTensorType::get(shape, b.getF32Type()),
                                ProductKindAttr::get(b.getContext(), kind), x, y,
                                b.getF64FloatAttr(1.0));
      };
      Value factor = UseOp::create(b, loc, type, param.getSymName());
      Value gram = product(isA ? ProductKind::NT : ProductKind::TN, factor, factor, {rank, rank});
      auto term = OrthogonalTermOp::create(b, loc, gram.getType(), one, gram,
                                           b.getF64FloatAttr(weight / adapters.size()));
      Value gradient = isA ? product(ProductKind::NN, term.getGradient(), factor, type.getShape())
                           : product(ProductKind::NN, factor, term.getGradient(), type.getShape());
      GradientOp::create(b, loc, param.getSymNameAttr(), gradient);
      norms.push_back(term.getNorm());
    }
    func::ReturnOp::create(b, module.getLoc(), norms);
  }
};

} // namespace
