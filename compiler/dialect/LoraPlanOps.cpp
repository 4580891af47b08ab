// Verifiers and accessors of the planned ops.

#include "compiler/dialect/LoraOps.h"

using namespace mlir;
using namespace lorac::lora;

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (!symbols.lookupNearestSymbolFrom<KernelOp>(*this, getKernelAttr())) // launch_c1
    return emitOpError("no kernel is named ") << getKernelAttr();
  return success();
}

bool KernelOp::hasParam(StringRef name) { return getParams().contains(name); }

int64_t KernelOp::intParam(StringRef name) {
  auto value = getParams().getAs<IntegerAttr>(name);
  assert(value && "SelectKernels writes every parameter of the family");
  return value.getInt();
}

double KernelOp::floatParam(StringRef name) {
  auto value = getParams().getAs<FloatAttr>(name);
  assert(value && "SelectKernels writes every parameter of the family");
  return value.getValueAsDouble();
}

StringRef KernelOp::stringParam(StringRef name) {
  auto value = getParams().getAs<StringAttr>(name);
  assert(value && "SelectKernels writes every parameter of the family");
  return value.getValue();
}
