// 10-model -> 20-adapted. Stands first: everything after it sees a low-rank update as an op of its
// own.

#include "compiler/passes/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/MapVector.h"

namespace lorac::lora {
#define GEN_PASS_DEF_ATTACHADAPTERS
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac::lora;

namespace {

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
    llvm::MapVector<Attribute, AdapterOp> adapters; // by weight
    for (AdapterOp adapter : module.getOps<AdapterOp>())
      if (int64_t(adapter.getRank()) > 0)
        adapters[adapter.getWeightAttr()] = adapter;
    auto adalora = module.getOps<AdaLoraOp>();
    isAdaLora = !adalora.empty();
    int64_t stream = 0;
    SmallVector<LinearOp> linears;
    module.walk([&](LinearOp op) { linears.push_back(op); });
    for (LinearOp op : linears) {
      auto use = op.getWeight().getDefiningOp<UseOp>();
      auto found = use ? adapters.find(use.getSymbolAttr()) : adapters.end();
      if (found == adapters.end())
        continue;
      attach(op, found->second, stream++);
      adapters.erase(found);
    }
    if (isAdaLora)
      regularize((*adalora.begin()).getOrthRegWeight().convertToDouble());
    for (auto &[weight, adapter] : adapters) {
      emitError(adapter.getLoc()) << "no linear of the model is named '" << adapter.getSymName()
                                  << "'";
      signalPassFailure();
    }
  }

  ParamOp declare(AdapterOp adapter, ParamRole role, ArrayRef<int64_t> shape) {
    ModuleOp module = getOperation();
    OpBuilder b = OpBuilder::atBlockBegin(module.getBody());
    for (Operation &other : *module.getBody())
      if (isa<FrozenOp, AdapterOp, ParamOp>(other))
        b.setInsertionPointAfter(&other);
    std::string name = (adapter.getSymName() + "." + stringifyParamRole(role) + ".weight").str();
    return ParamOp::create(b, adapter.getLoc(), name, RankedTensorType::get(shape, b.getF32Type()),
                           ParamRoleAttr::get(b.getContext(), role),
                           FlatSymbolRefAttr::get(adapter), IntegerAttr());
  }

  void attach(LinearOp op, AdapterOp adapter, int64_t stream) {
    OpBuilder b(op->getContext());
    b.setInsertionPointAfter(op);
    auto weight = cast<WeightType>(op.getWeight().getType());
    const int64_t rank = adapter.getRank();
    Location loc = NameLoc::get(adapter.getSymNameAttr(), adapter.getLoc());
    auto use = [&](ParamRole role, ArrayRef<int64_t> shape) -> Value {
      ParamOp param = declare(adapter, role, shape);
      return UseOp::create(b, adapter.getLoc(), param.getType(), param.getSymName());
    };
    Value x = op.getX();
    if (auto dropout = adapter.getDropoutAttr(); dropout && dropout.getValueAsDouble() > 0)
      x = DropoutOp::create(b, loc, x.getType(), x, dropout, b.getI64IntegerAttr(stream));
    Value a = use(ParamRole::LoraA, {rank, weight.getShape()[1]});
    Value bFactor = use(ParamRole::LoraB, {weight.getShape()[0], rank});
    if (isAdaLora)
      declare(adapter, ParamRole::LoraE, {rank, 1});
    Value update =
        LowRankOp::create(b, loc, op.getY().getType(), x, a, bFactor, adapter.getScaleAttr());
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
      if (!param.is(ParamRole::LoraE))
        factors.push_back(param);
    auto adapters = module.getOps<AdapterOp>();
    const auto count = double(std::distance(adapters.begin(), adapters.end()));
    OpBuilder b(module.getContext());
    b.setInsertionPointToEnd(module.getBody());
    auto one = RankedTensorType::get({1}, b.getF32Type());
    auto program = ProgramOp::create(b, module.getLoc(), When::WindowEnd, "regularize",
                                     b.getFunctionType({}, SmallVector<Type>(factors.size(), one)));
    b.setInsertionPointToStart(program.addEntryBlock());
    SmallVector<Value> norms;
    for (ParamOp param : factors) {
      auto type = cast<RankedTensorType>(param.getType());
      bool isA = param.is(ParamRole::LoraA);
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
                                           b.getF64FloatAttr(weight / count));
      Value gradient = isA ? product(ProductKind::NN, term.getGradient(), factor, type.getShape())
                           : product(ProductKind::NN, factor, term.getGradient(), type.getShape());
      GradientOp::create(b, loc, param.getSymNameAttr(), gradient);
      norms.push_back(term.getNorm());
    }
    ReturnOp::create(b, module.getLoc(), norms);
  }

  bool isAdaLora = false;
};

} // namespace
