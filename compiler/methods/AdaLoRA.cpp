// AdaLoRA (Zhang et al. 2023): LoRA's products with B·diag(E) folded into B, so E stands in none of
// them; beside the model's programs the orthogonality term of the loss (docs/adalora.md).

#include "compiler/methods/Method.h"

using namespace mlir;
using namespace lorac::lora;
using namespace lorac::methods;

static Value rewrite(Site &s) {
  Value y = s.sum(s.base(), s.lowRank(s.dropped()).y);
  s.declare(ParamRole::LoraE, {s.rank(), 1});
  return y;
}

// The term once a step: weight · mean over all A and B of ‖A·Aᵀ - I‖ and ‖Bᵀ·B - I‖ (PEFT,
// tuners/adalora/model.py). Its gradient by A is weight/adapters · (A·Aᵀ - I)·A / norm. The mean is
// over the adapters of the spec, also those that no rank is left of.
static void addRegularize(ModuleOp module, double weight) {
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
                                         b.getF64FloatAttr(weight / count));
    Value gradient = isA ? product(ProductKind::NN, term.getGradient(), factor, type.getShape())
                         : product(ProductKind::NN, factor, term.getGradient(), type.getShape());
    GradientOp::create(b, loc, param.getSymNameAttr(), gradient);
    norms.push_back(term.getNorm());
  }
  ReturnOp::create(b, module.getLoc(), norms);
}

static void addPrograms(ModuleOp module) {
  for (AdaLoraOp adalora : llvm::make_early_inc_range(module.getOps<AdaLoraOp>()))
    addRegularize(module, adalora.getOrthRegWeight().convertToDouble());
}

namespace lorac::methods {
extern const Method methodAdaLoRA;
}
const Method lorac::methods::methodAdaLoRA = {"adalora", rewrite, addPrograms};
