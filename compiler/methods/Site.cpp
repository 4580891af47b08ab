#include "compiler/methods/Site.h"

using namespace mlir;
using namespace lorac::lora;
using namespace lorac::methods;

Site::Site(LinearOp linear, AdapterOp adapter, int64_t stream)
    : linear(linear), adapter(adapter), b(linear.getContext()),
      loc(NameLoc::get(adapter.getSymNameAttr(), adapter.getLoc())), stream(stream) {
  b.setInsertionPointAfter(linear);
}

ParamOp Site::declare(ParamRole role, ArrayRef<int64_t> shape, StringRef suffix) {
  auto module = linear->getParentOfType<ModuleOp>();
  OpBuilder at = OpBuilder::atBlockBegin(module.getBody());
  for (Operation &other : *module.getBody())
    if (isa<FrozenOp, AdapterOp, ParamOp>(other))
      at.setInsertionPointAfter(&other);
  const std::string name = (adapter.getSymName() + "." + stringifyParamRole(role) + suffix).str();
  return ParamOp::create(at, adapter.getLoc(), name, RankedTensorType::get(shape, b.getF32Type()),
                         ParamRoleAttr::get(b.getContext(), role), FlatSymbolRefAttr::get(adapter),
                         IntegerAttr());
}

Value Site::valueOf(ParamOp param) {
  return UseOp::create(b, adapter.getLoc(), param.getType(), param.getSymName());
}

OpBuilder Site::program(StringRef name, When runs) {
  auto module = linear->getParentOfType<ModuleOp>();
  auto program = module.lookupSymbol<ProgramOp>(name);
  if (!program) {
    OpBuilder at = OpBuilder::atBlockEnd(module.getBody());
    program = ProgramOp::create(at, module.getLoc(), runs, name, b.getFunctionType({}, {}));
    at.setInsertionPointToStart(program.addEntryBlock());
    ReturnOp::create(at, module.getLoc());
  }
  return OpBuilder(program.front().getTerminator());
}

Value Site::dropped() {
  FloatAttr p = adapter.getDropoutAttr();
  if (!p || p.getValueAsDouble() <= 0)
    return x();
  return DropoutOp::create(b, loc, x().getType(), x(), p, b.getI64IntegerAttr(stream));
}

Site::Update Site::lowRank(Value x) {
  Value a = valueOf(declare(ParamRole::LoraA, {rank(), in()})),
        factor = valueOf(declare(ParamRole::LoraB, {out(), rank()}));
  Value y = LowRankOp::create(b, loc, base().getType(), x, a, factor, adapter.getScaleAttr());
  return {a, factor, y};
}
