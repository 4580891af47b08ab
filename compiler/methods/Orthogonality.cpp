#include "compiler/methods/Orthogonality.h"

using namespace mlir;
using namespace lorac::lora;

// The gradient by A is weight/adapters · (A·Aᵀ - I)·A / norm.
void lorac::methods::addOrthogonality(ModuleOp module, double weight, bool whole) {
  SmallVector<ParamOp> factors;
  for (ParamOp param : module.getOps<ParamOp>())
    if (param.is(ParamRole::LoraA) || param.is(ParamRole::LoraB))
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
    const bool isA = param.is(ParamRole::LoraA);
    const int64_t rank = type.getDimSize(isA ? 0 : 1);
    Location loc = param.getLoc();
    auto product = [&](ProductKind kind, Value x, Value y, ArrayRef<int64_t> shape) -> Value {
      return MatmulOp::create(b, loc, RankedTensorType::get(shape, b.getF32Type()),
                              ProductKindAttr::get(b.getContext(), kind), x, y,
                              b.getF64FloatAttr(1.0));
    };
    Value factor = UseOp::create(b, loc, type, param.getSymName());
    Value gram = product(isA ? ProductKind::NT : ProductKind::TN, factor, factor, {rank, rank});
    auto term = OrthogonalTermOp::create(b, loc, gram.getType(), one, gram,
                                         b.getF64FloatAttr(weight / count),
                                         whole ? b.getUnitAttr() : UnitAttr());
    Value gradient = isA ? product(ProductKind::NN, term.getGradient(), factor, type.getShape())
                         : product(ProductKind::NN, factor, term.getGradient(), type.getShape());
    GradientOp::create(b, loc, param.getSymNameAttr(), gradient);
    norms.push_back(term.getNorm());
  }
  ReturnOp::create(b, module.getLoc(), norms);
}

void lorac::methods::addAskedOrthogonality(ModuleOp module) {
  for (OrthogonalityOp asked : llvm::make_early_inc_range(module.getOps<OrthogonalityOp>()))
    addOrthogonality(module, asked.getWeight().convertToDouble(), /*whole=*/true);
}
