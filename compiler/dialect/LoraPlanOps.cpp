// Verifiers and accessors of the planned ops.

#include "compiler/dialect/LoraOps.h"

using namespace mlir;
using namespace lorac::lora;

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (!symbols.lookupNearestSymbolFrom<KernelOp>(*this, getKernelAttr())) // launch_c1
    return emitOpError("no kernel is named ") << getKernelAttr();
  return success();
}

LogicalResult RegionOp::verify() {
  if (int64_t(getCount()) < 0) // region_c1
    return emitOpError("has ") << int64_t(getCount()) << " " << stringifyStorage(getStorage());
  return success();
}

Type RegionOp::elementType() {
  Builder b(getContext());
  return isCode(getStorage()) ? Type(b.getI8Type()) : b.getF32Type();
}

int64_t RegionOp::bytes() { return (isCode(getStorage()) ? 1 : 4) * int64_t(getCount()); }

LogicalResult ScalarOp::verify() {
  int64_t depth = 0;
  for (Attribute term : getFormula()) {
    if (auto number = dyn_cast<FloatAttr>(term); number && number.getType().isF64()) {
      ++depth;
      continue;
    }
    auto word = dyn_cast<StringAttr>(term);
    const bool isOfGroup = word && word.getValue() == "weight_decay";
    const bool isInput =
        isOfGroup || (word && llvm::is_contained({"rate", "update"}, word.getValue()));
    const bool isUnary = word && llvm::is_contained({"sqrt", "neg"}, word.getValue());
    const bool isBinary =
        word && llvm::is_contained({"+", "-", "*", "/", "pow", "min", "max"}, word.getValue());
    if (!isInput && !isUnary && !isBinary) // scalar_c1
      return emitOpError("has a formula with ")
             << term << ", neither a number, rate, update, weight_decay nor an operator";
    if (isOfGroup && !getByGroup()) // scalar_c3
      return emitOpError("has a formula with ") << term << ", which is of a group, and no by_group";
    if (depth < (isInput ? 0 : isUnary ? 1 : 2))
      return emitOpError("has a formula with too few numbers before ") << term;
    depth += isInput ? 1 : isUnary ? 0 : -1;
  }
  if (depth != 1)
    return emitOpError("has a formula that leaves ") << depth << " numbers";
  auto type = cast<MemRefType>(getMemory().getType());
  if (type.getRank() != 1 || !type.getElementType().isF32() || int64_t(getAt()) < 0 ||
      int64_t(getAt()) >= type.getNumElements() ||
      (getByGroup() && int64_t(*getByGroup()) < 1)) // scalar_c2
    return emitOpError("has no place among the f32 of ") << type;
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

ArrayRef<int64_t> KernelOp::integers(StringRef name) {
  auto value = getParams().getAs<DenseI64ArrayAttr>(name);
  assert(value && "SelectKernels writes every parameter of the family");
  return value.asArrayRef();
}

SmallVector<Storage> KernelOp::storageOf(DictionaryAttr params) {
  auto names = params.getAs<ArrayAttr>("storage");
  if (!names)
    return SmallVector<Storage>(params.getAs<IntegerAttr>("regions").getInt(), Storage::Floats);
  SmallVector<Storage> all;
  for (StringRef name : names.getAsValueRange<StringAttr>()) {
    std::optional<Storage> storage = symbolizeStorage(name);
    assert(storage && "the passes write no other");
    all.push_back(*storage);
  }
  return all;
}
