// Programs besides those of the model.

#include "compiler/passes/DevicePrograms.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "runtime/abi.h"

#include <cstddef>
#include <set>

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

static constexpr int64_t span = 4096;

DevicePrograms::DevicePrograms(ModuleOp module, StringRef what)
    : module(module), what(what), kernels(module), b(module.getContext()) {
  std::set<std::optional<ParamRole>> roles;
  for (ParamOp param : module.getOps<ParamOp>()) {
    count += param.count(), pieces += (param.count() + span - 1) / span;
    roles.insert(param.getRole());
  }
  groups = int64_t(roles.size());
}

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
Value DevicePrograms::norm() { return io("norm", {sizeof(LoracNorm) / 4}); }
Value DevicePrograms::local(StringRef label, int64_t count, Type element) {
  return buffer(BufferRole::Local, label, {count}, element);
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

NamedAttribute DevicePrograms::param(StringRef key, StringRef value) {
  return b.getNamedAttr(key, b.getStringAttr(value));
}
NamedAttribute DevicePrograms::param(StringRef key, int64_t value) {
  return b.getNamedAttr(key, b.getI64IntegerAttr(value));
}
NamedAttribute DevicePrograms::places(StringRef key, ArrayRef<int64_t> values) {
  return b.getNamedAttr(key, b.getDenseI64ArrayAttr(values));
}

void DevicePrograms::scalar(Value memory, size_t at, const optimizers::Scalar &scalar,
                            int64_t byGroup) {
  ScalarOp::create(b, b.getUnknownLoc(), memory, int64_t(at), scalar.name,
                   scalar.formula.attribute(b), byGroup ? b.getI64IntegerAttr(byGroup) : nullptr);
}

void DevicePrograms::launch(StringRef name, optimizers::Update &update, StringRef scalars) {
  const auto uniform = int64_t(update.ofAll().size()), byGroup = int64_t(update.ofGroups().size());
  SmallVector<Value> operands{spanTable(), io(scalars, {uniform + byGroup * groups}), norm(),
                              region("params"), region("grads")};
  SmallVector<int64_t> writes;
  if (update.region.front().getTerminator()->getNumOperands() > update.states.size())
    writes.push_back(0); // the parameters
  for (auto [i, state] : llvm::enumerate(update.states)) {
    operands.push_back(region(state));
    writes.push_back(2 + int64_t(i));
  }
  for (auto [i, asked] : llvm::enumerate(update.ofAll()))
    scalar(operands[1], i, asked, 0);
  for (auto [i, asked] : llvm::enumerate(update.ofGroups()))
    scalar(operands[1], update.ofAll().size() + i, asked, byGroup);
  launch({"each",
          {param("what", name), param("regions", 2 + int64_t(update.states.size())),
           param("uniform", uniform), param("by_group", byGroup),
           places("ones", {offsetof(LoracNorm, clip) / 4}), places("writes", writes)},
          &update.region},
         operands, pieces);
}
