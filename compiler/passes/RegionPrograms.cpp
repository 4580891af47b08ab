// Programs besides those of the model.

#include "compiler/passes/RegionPrograms.h"
#include "runtime/abi.h"
#include "runtime/formats/Dynamic8.h"
#include "runtime/formats/StateLayout.h"

#include <cstddef>
#include <set>

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

static constexpr int64_t span = formats::spanFloats;

// Of elements, before AdaLoRA's ranks fell.
static int64_t countAtStart(ParamOp param) {
  auto adapter =
      param.getAdapterAttr()
          ? SymbolTable::lookupNearestSymbolFrom<AdapterOp>(param, param.getAdapterAttr())
          : AdapterOp();
  if (!adapter || !adapter.getFalls())
    return param.count();
  return param.count() / int64_t(adapter.getRank()) * (*adapter.getFalls())[0];
}

RegionPrograms::RegionPrograms(ModuleOp module, StringRef what)
    : module(module), what(what), kernels(module), b(module.getContext()) {
  std::set<std::optional<ParamRole>> roles;
  for (ParamOp param : module.getOps<ParamOp>()) {
    const int64_t n = param.count();
    sizes.push_back({n, countAtStart(param)});
    count += n, pieces += (n + span - 1) / span;
    roles.insert(param.getRole());
  }
  groups = int64_t(roles.size());
}

RegionPrograms::Share RegionPrograms::shareFrom(int64_t elements) const {
  constexpr int64_t block = formats::dynamicBlock;
  Share share;
  for (auto [n, atStart] : sizes)
    if (atStart >= elements) {
      share.floats += n;
      share.spans += (n + span - 1) / span;
      share.blocks += (n + block - 1) / block;
    }
  return share;
}

void RegionPrograms::open(StringRef name, When runs) {
  b.setInsertionPointToEnd(module.getBody());
  Location loc = module.getLoc();
  auto program = ProgramOp::create(b, loc, runs, name, b.getFunctionType({}, {}));
  b.setInsertionPointToStart(program.addEntryBlock());
  b.setInsertionPoint(ReturnOp::create(b, loc));
}

Value RegionPrograms::buffer(BufferRole role, StringRef label, ArrayRef<int64_t> shape,
                             Type element) {
  return BufferOp::create(b, b.getUnknownLoc(), MemRefType::get(shape, element), role, label, -1);
}
Value RegionPrograms::region(StringRef name, int64_t floats) {
  Type element = b.getF32Type();
  if (auto declared = module.lookupSymbol<RegionOp>(name))
    floats = int64_t(declared.getCount()), element = declared.elementType();
  return buffer(BufferRole::Region, name, {floats}, element);
}
Value RegionPrograms::io(StringRef name, ArrayRef<int64_t> shape, bool integers) {
  return buffer(BufferRole::IO, name, shape, integers ? Type(b.getI32Type()) : b.getF32Type());
}
Value RegionPrograms::norm() { return io("norm", {sizeof(LoracNorm) / 4}); }
Value RegionPrograms::local(StringRef label, int64_t count, Type element) {
  return buffer(BufferRole::Local, label, {count}, element);
}

void RegionPrograms::declare(RegionRole kind, StringRef name, int64_t count, Storage storage) {
  OpBuilder at(module.getContext());
  at.setInsertionPointToEnd(module.getBody());
  if (auto functions = module.getOps<ProgramOp>(); !functions.empty())
    at.setInsertionPoint(*functions.begin());
  RegionOp::create(at, module.getLoc(), name, kind, storage, count, -1);
}

void RegionPrograms::launch(KernelKey key, ValueRange operands, int64_t rows,
                            ArrayRef<int64_t> scalars) {
  Location loc = NameLoc::get(b.getStringAttr(what));
  key.params.push_back(b.getNamedAttr("elements", b.getStringAttr(elementsOf(operands))));
  LaunchOp::create(b, loc, kernels.get(key, loc), operands, b.getI64IntegerAttr(0),
                   b.getI64IntegerAttr(rows),
                   scalars.empty() ? nullptr : b.getDenseI64ArrayAttr(scalars), b.getUnitAttr(),
                   b.getI64IntegerAttr(0), DenseI64ArrayAttr());
}

NamedAttribute RegionPrograms::param(StringRef key, StringRef value) {
  return b.getNamedAttr(key, b.getStringAttr(value));
}
NamedAttribute RegionPrograms::param(StringRef key, int64_t value) {
  return b.getNamedAttr(key, b.getI64IntegerAttr(value));
}
NamedAttribute RegionPrograms::places(StringRef key, ArrayRef<int64_t> values) {
  return b.getNamedAttr(key, b.getDenseI64ArrayAttr(values));
}

void RegionPrograms::scalar(Value memory, size_t at, const optimizers::Scalar &scalar,
                            int64_t byGroup) {
  ScalarOp::create(b, b.getUnknownLoc(), memory, int64_t(at), scalar.name,
                   scalar.formula.attribute(b), byGroup ? b.getI64IntegerAttr(byGroup) : nullptr);
}

void RegionPrograms::addState(SmallVectorImpl<Value> &to, StringRef name, Storage storage) {
  to.push_back(
      region(storage == Storage::Compact ? (name + formats::compactSuffix).str() : name.str()));
  if (isCode(storage))
    to.push_back(region((name + formats::absmaxSuffix).str()));
}

void RegionPrograms::launch(StringRef name, optimizers::Update &update, StringRef scalars,
                            ArrayRef<Part> parts) {
  const Part whole{name.str(), 0, pieces,
                   SmallVector<Storage>(update.states.size(), Storage::Floats)};
  if (parts.empty())
    parts = whole;
  const auto uniform = int64_t(update.ofAll().size()), byGroup = int64_t(update.ofGroups().size());
  Value table = spanTable();
  SmallVector<Value> told{io(scalars, {uniform + byGroup * groups}), norm(), region("params"),
                          region("grads")};
  for (auto [i, asked] : llvm::enumerate(update.ofAll()))
    scalar(told[0], i, asked, 0);
  for (auto [i, asked] : llvm::enumerate(update.ofGroups()))
    scalar(told[0], update.ofAll().size() + i, asked, byGroup);
  SmallVector<int64_t> writes;
  if (update.region.front().getTerminator()->getNumOperands() > update.states.size())
    writes.push_back(0); // the parameters
  for (size_t i = 0; i < update.states.size(); ++i)
    writes.push_back(2 + int64_t(i));
  for (const Part &part : parts) {
    Value spans = table;
    if (part.spans < pieces)
      spans =
          SliceOp::create(b, b.getUnknownLoc(), MemRefType::get({part.spans, 4}, b.getI32Type()),
                          table, 16 * part.first);
    SmallVector<Value> operands{spans};
    operands.append(told);
    for (auto [state, storage] : llvm::zip(update.states, part.storage))
      addState(operands, state, storage);
    KernelKey key{"each",
                  {param("what", part.what), param("regions", 2 + int64_t(update.states.size())),
                   param("uniform", uniform), param("by_group", byGroup),
                   places("ones", {offsetof(LoracNorm, clip) / 4}), places("writes", writes)},
                  &update.region};
    if (llvm::any_of(part.storage, [](Storage storage) { return storage != Storage::Floats; })) {
      SmallVector<StringRef> words(2, stringifyStorage(Storage::Floats));
      for (Storage storage : part.storage)
        words.push_back(stringifyStorage(storage));
      key.params.push_back(b.getNamedAttr("storage", b.getStrArrayAttr(words)));
    }
    if (llvm::any_of(part.storage, isCode))
      operands.push_back(
          buffer(BufferRole::Table, "dynamic8", {2, formats::dynamicTableFloats}, b.getF32Type()));
    launch(key, operands, part.spans);
  }
}
