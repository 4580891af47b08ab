// Programs besides those of the model.

#include "compiler/passes/DevicePrograms.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace lorac::lora;

Operation *DevicePrograms::open(StringRef name) {
  b.setInsertionPointToEnd(module.getBody());
  Location loc = module.getLoc();
  auto func = func::FuncOp::create(b, loc, name, b.getFunctionType({}, {}));
  b.setInsertionPointToStart(func.addEntryBlock());
  b.setInsertionPoint(func::ReturnOp::create(b, loc));
  return func;
}

Value DevicePrograms::buffer(BufferRole role, StringRef label, ArrayRef<int64_t> shape,
                             Type element) {
  return BufferOp::create(b, b.getUnknownLoc(), MemRefType::get(shape, element), role, label, -1);
}
Value DevicePrograms::region(StringRef name, int64_t floats) {
  return buffer(BufferRole::Region, name, {floats}, b.getF32Type());
}
Value DevicePrograms::io(StringRef name, ArrayRef<int64_t> shape, bool integers) {
  return buffer(BufferRole::IO, name, shape, integers ? Type(b.getI32Type()) : b.getF32Type());
}
Value DevicePrograms::local(StringRef label, int64_t floats) {
  return buffer(BufferRole::Local, label, {floats}, b.getF32Type());
}

void DevicePrograms::declare(RegionRole kind, StringRef name, int64_t floats) {
  OpBuilder at(module.getContext());
  at.setInsertionPointToEnd(module.getBody());
  if (auto functions = module.getOps<func::FuncOp>(); !functions.empty())
    at.setInsertionPoint(*functions.begin());
  RegionOp::create(at, module.getLoc(), name, kind, floats, -1);
}

void DevicePrograms::launch(KernelKey key, ValueRange operands, int64_t rows,
                            ArrayRef<int64_t> scalars) {
  Location loc = NameLoc::get(b.getStringAttr(what));
  key.params.push_back(b.getNamedAttr("elements", b.getStringAttr(elementsOf(operands))));
  auto op = LaunchOp::create(
      b, loc, kernels.get(key, loc), operands, b.getI64IntegerAttr(0), b.getI64IntegerAttr(rows),
      scalars.empty() ? nullptr : b.getDenseI64ArrayAttr(scalars), b.getUnitAttr());
  op->setAttr("flops", b.getI64IntegerAttr(0));
}

void DevicePrograms::scalar(Value memory, int64_t at, StringRef label, ArrayAttr formula,
                            int64_t byGroup) {
  ScalarOp::create(b, b.getUnknownLoc(), memory, at, label, formula,
                   byGroup ? b.getI64IntegerAttr(byGroup) : nullptr);
}
