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
    const ArrayRef<int64_t> shape = cast<RankedTensorType>(param.getType()).getShape();
    sizes.push_back({n, countAtStart(param), shape[0], n / std::max<int64_t>(shape[0], 1)});
    count += n, pieces += (n + span - 1) / span;
    roles.insert(param.getRole());
  }
  groups = int64_t(roles.size());
}

RegionPrograms::Share RegionPrograms::shareFrom(int64_t elements) const {
  constexpr int64_t block = formats::dynamicBlock;
  Share share;
  for (const Size &size : sizes)
    if (size.atStart >= elements) {
      share.floats += size.now;
      share.spans += (size.now + span - 1) / span;
      share.blocks += (size.now + block - 1) / block;
    }
  return share;
}

int64_t RegionPrograms::countOf(Storage storage) const {
  if (storage == Storage::Parameters)
    return int64_t(sizes.size());
  if (storage != Storage::Rows && storage != Storage::Columns)
    return count;
  int64_t lines = 0;
  for (const Size &size : sizes)
    lines += storage == Storage::Rows ? size.rows : size.columns;
  return lines;
}

void RegionPrograms::open(StringRef name, When runs) {
  results.clear();
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
  if (auto result = results.find(name); result != results.end())
    return result->second.first;
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

Storage RegionPrograms::storageOf(StringRef region) {
  if (auto result = results.find(region); result != results.end())
    return result->second.second;
  auto declared = module.lookupSymbol<RegionOp>(region);
  return declared ? declared.getStorage() : Storage::Floats;
}

Value RegionPrograms::memoryOf(Told &told) {
  auto program = cast<ProgramOp>(b.getInsertionBlock()->getParentOp());
  if (!told.memory)
    told.memory = io(program.getName(), {told.floats});
  return told.memory;
}

RegionPrograms::Place RegionPrograms::placeOf(StringRef one) {
  if (one == "clip")
    return {norm(), offsetof(LoracNorm, clip) / 4};
  return {region(one)};
}

RegionPrograms::Place RegionPrograms::placeOf(const optimizers::One &one, Told &told) {
  if (!one.formula)
    return placeOf(one.name);
  Value memory = memoryOf(told);
  scalar(memory, size_t(told.next), {one.name, *one.formula}, 0);
  return {memory, told.next++};
}

NamedAttribute RegionPrograms::addOnes(SmallVectorImpl<Value> &operands, ArrayRef<Place> ones) {
  SmallVector<int64_t> at;
  for (const Place &one : ones)
    operands.push_back(one.memory), at.push_back(one.at);
  return places("ones", at);
}

Value RegionPrograms::matrixTable() {
  return io("update_matrices", {int64_t(sizes.size()), sizeof(LoracMatrix) / 4}, /*integers=*/true);
}

void RegionPrograms::launch(StringRef name, optimizers::Update &update, Told &told,
                            ArrayRef<Part> parts) {
  Part whole{name.str(), 0, pieces, {}};
  if (parts.empty()) {
    for (StringRef state : update.states)
      whole.storage.push_back(storageOf(state));
    parts = whole;
  }
  const auto uniform = int64_t(update.ofAll().size()), byGroup = int64_t(update.ofGroups().size());
  Value table = spanTable(), memory = memoryOf(told), scalars = memory;
  SmallVector<Value> behind;
  SmallVector<Place> ones;
  for (const std::string &one : update.ones())
    ones.push_back(placeOf(one));
  NamedAttribute placesOfOnes = addOnes(behind, ones);
  behind.append({region("params"), region("grads")});
  if (told.next > 0)
    scalars =
        SliceOp::create(b, b.getUnknownLoc(), MemRefType::get({toldOf(update)}, b.getF32Type()),
                        memory, 4 * told.next);
  for (auto [i, asked] : llvm::enumerate(update.ofAll()))
    scalar(memory, size_t(told.next) + i, asked, 0);
  for (auto [i, asked] : llvm::enumerate(update.ofGroups()))
    scalar(memory, size_t(told.next) + update.ofAll().size() + i, asked, byGroup);
  told.next += toldOf(update);
  SmallVector<int64_t> writes;
  if (update.givesParam())
    writes.push_back(0);
  for (unsigned i = 0; i < update.statesGiven(); ++i)
    writes.push_back(2 + i);
  for (const Part &part : parts) {
    Value spans = table;
    if (part.spans < pieces)
      spans =
          SliceOp::create(b, b.getUnknownLoc(), MemRefType::get({part.spans, 4}, b.getI32Type()),
                          table, 16 * part.first);
    SmallVector<Value> operands{spans, scalars};
    operands.append(behind);
    for (auto [state, storage] : llvm::zip(update.states, part.storage))
      addState(operands, state, storage);
    KernelKey key{"each",
                  {param("what", part.what), param("regions", 2 + int64_t(update.states.size())),
                   param("uniform", uniform), param("by_group", byGroup), placesOfOnes,
                   places("writes", writes)},
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
    if (llvm::any_of(part.storage, isOfLines))
      operands.push_back(matrixTable());
    launch(key, operands, part.spans);
  }
}

// What steps are told lies one behind the other.
void RegionPrograms::launch(StringRef what, optimizers::Steps &steps) {
  using namespace optimizers;
  auto toldByOnes = [](ArrayRef<One> ones) {
    return llvm::count_if(ones, [](const One &one) { return one.formula.has_value(); });
  };
  int64_t floats = 0;
  for (const Step &step : steps.list) {
    if (auto *map = std::get_if<MapStep>(&step))
      floats += toldOf(*map->update);
    else if (auto *mean = std::get_if<MeanStep>(&step))
      floats += toldByOnes(mean->terms->ones) + (mean->keep ? 2 : 0);
    else
      floats += toldByOnes(std::get<SumStep>(step).whole->ones);
  }
  Told told{floats};
  for (Step &step : steps.list) {
    if (auto *map = std::get_if<MapStep>(&step))
      launch((what + map->what).str(), *map->update, told);
    else if (auto *mean = std::get_if<MeanStep>(&step))
      launch(what, *mean, told);
    else
      launch(what, std::get<SumStep>(step), told);
  }
}

// `mean_lines`, a row of the launch a parameter.
void RegionPrograms::launch(StringRef what, optimizers::MeanStep &step, Told &told) {
  SmallVector<Value> operands{matrixTable()};
  SmallVector<Place> ones;
  for (const optimizers::One &one : step.terms->ones)
    ones.push_back(placeOf(one, told));
  if (step.keep) {
    ones.push_back(placeOf({step.result + "_keep", *step.keep}, told));
    ones.push_back(placeOf({step.result + "_take", optimizers::Host(1) - *step.keep}, told));
  }
  NamedAttribute placesOfOnes = addOnes(operands, ones);
  SmallVector<StringRef> storage;
  for (const std::string &name : step.terms->regions) {
    storage.push_back(stringifyStorage(storageOf(name)));
    operands.push_back(region(name));
  }
  if (!module.lookupSymbol<RegionOp>(step.result))
    results[step.result] = {local(step.result, countOf(step.line), b.getF32Type()), step.line};
  operands.push_back(region(step.result));
  launch({"mean_lines",
          {param("what", (what + "_" + step.result).str()),
           param("line", stringifyStorage(step.line)), param("average", step.keep.has_value()),
           b.getNamedAttr("storage", b.getStrArrayAttr(storage)), placesOfOnes},
          &step.terms->region},
         operands, int64_t(sizes.size()));
}

// `sum_spans`, then `sum_whole`, each of whose numbers has a buffer of its own.
void RegionPrograms::launch(StringRef what, optimizers::SumStep &step, Told &told) {
  assert(step.terms->ones.empty() && "a sum reads regions alone");
  const std::string name = (what + "_" + step.what).str();
  SmallVector<Value> operands{spanTable()};
  for (const std::string &each : step.terms->regions)
    operands.push_back(region(each));
  Value sums = local(step.what + " of spans", pieces, b.getF64Type());
  operands.push_back(sums);
  launch({"sum_spans",
          {param("what", name), param("regions", int64_t(step.terms->regions.size()))},
          &step.terms->region},
         operands, pieces);
  SmallVector<Value> whole{sums};
  SmallVector<Place> ones;
  for (const optimizers::One &one : step.whole->ones)
    ones.push_back(placeOf(one, told));
  NamedAttribute placesOfOnes = addOnes(whole, ones);
  for (const std::string &given : step.whole->given) {
    if (!module.lookupSymbol<RegionOp>(given))
      results[given] = {local(given, 1, b.getF32Type()), Storage::Floats};
    whole.push_back(region(given));
  }
  launch({"sum_whole",
          {param("what", name), placesOfOnes,
           places("writes", SmallVector<int64_t>(step.whole->given.size(), 0)),
           param("results", int64_t(step.whole->given.size()))},
          &step.whole->region},
         whole, pieces);
}
