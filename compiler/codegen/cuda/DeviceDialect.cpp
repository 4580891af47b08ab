// The `device` dialect.

#include "compiler/codegen/cuda/DeviceDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace lorac::device;

#include "compiler/codegen/cuda/DeviceDialect.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "compiler/codegen/cuda/DeviceTypes.cpp.inc"
#define GET_OP_CLASSES
#include "compiler/codegen/cuda/DeviceOps.cpp.inc"

void DeviceDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "compiler/codegen/cuda/DeviceTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "compiler/codegen/cuda/DeviceOps.cpp.inc"
      >();
}

LogicalResult WarpgroupMmaOp::verify() {
  auto type = cast<MemRefType>(getSums().getType());
  if (type.getRank() != int64_t(getSumIndices().size()) + 2 || type.getShape().back() != 4)
    return emitOpError("needs sums of N/8 x 4 registers");
  int64_t columns = type.getDimSize(type.getRank() - 2) * 8;
  if (columns != 128 && columns != 256)
    return emitOpError("multiplies 128 or 256 columns, got ") << columns;
  if (!getElement().isBF16() && !getElement().isF16())
    return emitOpError("multiplies bf16 or f16, got ") << getElement();
  return success();
}

LogicalResult MmaOp::verify() {
  auto four = [](Value fragment, unsigned indices) {
    auto type = cast<MemRefType>(fragment.getType());
    return type.getRank() == int64_t(indices) + 1 && type.getShape().back() == 4;
  };
  if (!four(getSums(), getSumIndices().size()) || !four(getA(), getAIndices().size()))
    return emitOpError("needs fragments of four registers");
  if (!getElement().isBF16() && !getElement().isF16())
    return emitOpError("multiplies bf16 or f16, got ") << getElement();
  return success();
}
