// Writes one device kernel.

#include "compiler/codegen/cuda/DeviceBuilder.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

DeviceBuilder::DeviceBuilder(OpBuilder &builder, Location location, StringRef name, int64_t threads,
                             Type compute, ArrayRef<Argument> arguments,
                             ArrayRef<std::string> scalars)
    : b(builder), loc(location), computeType(compute) {
  // Names are for values that the reader of the CUDA text meets, not for what the spec calls the
  // op.
  while (auto named = dyn_cast<NameLoc>(loc))
    loc = named.getChildLoc();
  SmallVector<Argument> all(arguments);
  all.push_back({"begin", i32()});
  all.push_back({"count", i32()});
  for (const std::string &scalar : scalars)
    all.push_back({scalar, i32()});
  buffers = arguments.size();
  SmallVector<Type> types;
  for (const Argument &argument : all)
    types.push_back(argument.type);
  func = func::FuncOp::create(b, loc, name, b.getFunctionType(types, {}));
  func->setAttr("cuda.threads", b.getI64IntegerAttr(threads));
  after = b.saveInsertionPoint();
  Block *entry = func.addEntryBlock();
  for (auto [argument, value] : llvm::zip(all, entry->getArguments())) {
    value.setLoc(at(argument.name));
    if (argument.written)
      func.setArgAttr(value.getArgNumber(), "cuda.written", b.getUnitAttr());
  }
  b.setInsertionPointToStart(entry);
}

DeviceBuilder::~DeviceBuilder() {
  func->setAttr("cuda.shared", b.getI64IntegerAttr(sharedTop));
  if (sharedAlign > 128)
    func->setAttr("cuda.shared_align", b.getI64IntegerAttr(sharedAlign));
  func::ReturnOp::create(b, loc);
  b.restoreInsertionPoint(after);
}

//===--- memory ---===//

MemRefType DeviceBuilder::memory(ArrayRef<int64_t> shape, Type element, Space space) {
  MLIRContext *context = element.getContext();
  Attribute where;
  if (space != Space::Global)
    where =
        gpu::AddressSpaceAttr::get(context, space == Space::Shared ? gpu::AddressSpace::Workgroup
                                                                   : gpu::AddressSpace::Private);
  return MemRefType::get(shape, element, MemRefLayoutAttrInterface(), where);
}

Value DeviceBuilder::local(StringRef name, ArrayRef<int64_t> shape, Type element) {
  return memref::AllocaOp::create(b, at(name), memory(shape, element, Space::Local));
}

Value DeviceBuilder::shared(StringRef name, int64_t elements, Type element, int64_t align) {
  int64_t offset = (sharedTop + align - 1) / align * align,
          bytes = elements * element.getIntOrFloatBitWidth() / 8;
  sharedAlign = std::max(sharedAlign, align);
  sharedTop = (offset + bytes + 127) / 128 * 128;
  return device::SharedOp::create(b, at(name), memory({elements}, element, Space::Shared),
                                  b.getI64IntegerAttr(offset));
}

Value DeviceBuilder::sharedFrom(int64_t offset, StringRef name, int64_t elements, Type element) {
  sharedTop = std::max(sharedTop, offset + elements * element.getIntOrFloatBitWidth() / 8);
  return device::SharedOp::create(b, at(name), memory({elements}, element, Space::Shared),
                                  b.getI64IntegerAttr(offset));
}

Value DeviceBuilder::bytesOf(StringRef name, Value shared) {
  auto type = llvm::cast<MemRefType>(shared.getType());
  int64_t bytes = type.getNumElements() * type.getElementTypeBitWidth() / 8;
  return device::SharedOp::create(b, at(name), memory({bytes}, u8(), Space::Shared),
                                  shared.getDefiningOp<device::SharedOp>().getOffsetAttr());
}

Int DeviceBuilder::keep(StringRef name, Int value) {
  return {this, device::KeepOp::create(b, at(name), i32(), value.v)};
}
Value DeviceBuilder::pointer(StringRef name, Value memory, Int index) {
  return device::AdvanceOp::create(b, at(name), memory.getType(), memory, index.v);
}

Value DeviceBuilder::index(Value value) {
  return arith::IndexCastOp::create(b, loc, b.getIndexType(), value);
}

SmallVector<Value> DeviceBuilder::cast(Indices indices) {
  SmallVector<Value> all;
  for (Int value : indices)
    all.push_back(index(value));
  return all;
}

static SmallVector<Value> values(ArrayRef<Int> indices) {
  SmallVector<Value> all;
  for (Int value : indices)
    all.push_back(value);
  return all;
}

static Type elementOf(Value memory) {
  return llvm::cast<MemRefType>(memory.getType()).getElementType();
}

Num DeviceBuilder::loadNum(Value from, Indices indices) {
  Value value = memref::LoadOp::create(b, loc, from, cast(indices));
  if (value.getType().getIntOrFloatBitWidth() < 32)
    value = arith::ExtFOp::create(b, loc, f32(), value);
  return {this, value};
}

Int DeviceBuilder::loadInt(Value from, Indices indices) {
  Value value = memref::LoadOp::create(b, loc, from, cast(indices));
  if (value.getType().isInteger(8))
    value = arith::ExtUIOp::create(b, loc, i32(), value);
  return {this, value};
}

Num DeviceBuilder::loadSigned(Value from, Indices indices) {
  Value byte = memref::LoadOp::create(b, loc, from, cast(indices));
  return {this, arith::SIToFPOp::create(b, loc, f32(), byte)};
}

Value DeviceBuilder::loadWord(Value from, Indices indices) {
  return memref::LoadOp::create(b, loc, from, cast(indices));
}

void DeviceBuilder::store(Value value, Value to, Indices indices) {
  Type element = elementOf(to);
  if (value.getType().isF32() && !element.isF32())
    value = arith::TruncFOp::create(b, loc, element, value);
  if (value.getType().isInteger(32) && element.isInteger(8))
    value = arith::TruncIOp::create(b, loc, element, value);
  memref::StoreOp::create(b, loc, value, to, cast(indices));
}

template <typename T>
T DeviceBuilder::loadOr(StringRef name, Bool condition, T zero, llvm::function_ref<T()> load) {
  if (std::optional<int64_t> always = known(condition))
    return *always ? named(name, load()) : zero;
  auto branch = scf::IfOp::create(b, at(name), TypeRange{zero.v.getType()}, condition.v,
                                  /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  Value loaded = load().v;
  scf::YieldOp::create(b, loc, loaded);
  b.setInsertionPointToStart(branch.elseBlock());
  Value otherwise = arith::ConstantOp::create(b, loc, b.getZeroAttr(zero.v.getType()));
  scf::YieldOp::create(b, loc, otherwise);
  return {this, branch.getResult(0)};
}

Num DeviceBuilder::loadWhere(StringRef name, Bool condition, Value from, Indices indices) {
  return loadOr<Num>(name, condition, number(0), [&] { return loadNum(from, indices); });
}
Int DeviceBuilder::loadIntWhere(StringRef name, Bool condition, Value from, Indices indices) {
  return loadOr<Int>(name, condition, constant(0), [&] { return loadInt(from, indices); });
}

Value DeviceBuilder::variable(StringRef name, Num initial) {
  Value place = local(name, {}, initial.v.getType());
  set(place, initial);
  return place;
}
Value DeviceBuilder::variable(StringRef name, Int initial) {
  Value place = local(name, {}, i32());
  set(place, initial);
  return place;
}

//===--- values ---===//

Int DeviceBuilder::constant(int64_t value) {
  assert(value == int32_t(value) && "indices of a kernel fit 32 bits");
  return {this, arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(int32_t(value)))};
}
Num DeviceBuilder::number(double value, Type type) {
  return {this, arith::ConstantOp::create(b, loc, b.getFloatAttr(type, value))};
}
Bool DeviceBuilder::truth(bool value) {
  return {this, arith::ConstantOp::create(b, loc, b.getBoolAttr(value))};
}

std::optional<int64_t> DeviceBuilder::known(Value value) {
  if (auto constant = value.getDefiningOp<arith::ConstantOp>())
    if (auto whole = dyn_cast<IntegerAttr>(constant.getValue()))
      return whole.getType().isInteger(1) ? int64_t(!whole.getValue().isZero()) : whole.getInt();
  return std::nullopt;
}

void DeviceBuilder::setName(StringRef name, Value value) {
  Operation *op = value.getDefiningOp();
  if (op && !isa<arith::ConstantOp>(op))
    op->setLoc(at(name));
}

Int DeviceBuilder::thread() {
  if (!threadId) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&func.front());
    Value id = gpu::ThreadIdOp::create(b, loc, b.getIndexType(), gpu::Dimension::x);
    threadId = Int{this, arith::IndexCastOp::create(b, at("thread"), i32(), id)};
  }
  return *threadId;
}

Int DeviceBuilder::block(gpu::Dimension dimension) {
  Value id = gpu::BlockIdOp::create(b, loc, b.getIndexType(), dimension);
  return {this, arith::IndexCastOp::create(b, loc, i32(), id)};
}

Int DeviceBuilder::stepInt(StringRef field) {
  return {this, device::StepOp::create(b, at(field), i32(), b.getStringAttr(field))};
}
Num DeviceBuilder::stepNum(StringRef field) {
  return {this, device::StepOp::create(b, at(field), f32(), b.getStringAttr(field))};
}

Int DeviceBuilder::rows() {
  if (!rowsValue) {
    Int begin{this, func.getArgument(buffers)}, count{this, func.getArgument(buffers + 1)};
    Int left = max(constant(0), min(stepInt("tokens") - begin, count));
    rowsValue = named("rows", select(begin < 0, count, left));
  }
  return {this, rowsValue};
}

Num DeviceBuilder::fma(Num x, Num y, Num sum) {
  return {this, math::FmaOp::create(b, loc, x.v, y.v, sum.v)};
}
Num DeviceBuilder::select(Bool condition, Num x, Num y) {
  if (std::optional<int64_t> always = known(condition))
    return *always ? x : y;
  return {this, arith::SelectOp::create(b, loc, condition.v, x.v, y.v)};
}
Int DeviceBuilder::select(Bool condition, Int x, Int y) {
  if (std::optional<int64_t> always = known(condition))
    return *always ? x : y;
  return {this, arith::SelectOp::create(b, loc, condition.v, x.v, y.v)};
}
Value DeviceBuilder::select(StringRef name, Bool condition, Value x, Value y) {
  if (std::optional<int64_t> always = known(condition))
    return *always ? x : y;
  return arith::SelectOp::create(b, at(name), condition.v, x, y);
}
Num DeviceBuilder::exp(Num x) { return {this, math::ExpOp::create(b, loc, x.v)}; }
Num DeviceBuilder::exp2(Num x) { return {this, math::Exp2Op::create(b, loc, x.v)}; }
Num DeviceBuilder::log(Num x) { return {this, math::LogOp::create(b, loc, x.v)}; }
Num DeviceBuilder::sqrt(Num x) { return {this, math::SqrtOp::create(b, loc, x.v)}; }
Num DeviceBuilder::tanh(Num x) { return {this, math::TanhOp::create(b, loc, x.v)}; }
Num DeviceBuilder::toNum(Int x) { return {this, arith::SIToFPOp::create(b, loc, f32(), x.v)}; }
Num DeviceBuilder::toF64(Num x) {
  return {this, arith::ExtFOp::create(b, loc, b.getF64Type(), x.v)};
}
Num DeviceBuilder::toF32(Num x) { return {this, arith::TruncFOp::create(b, loc, f32(), x.v)}; }
Int DeviceBuilder::bits(Num x) { return {this, arith::BitcastOp::create(b, loc, i32(), x.v)}; }

//===--- control ---===//

void DeviceBuilder::loopOf(StringRef name, Int from, Int to, Int step, bool unroll, IntBody body) {
  if (known(from) && known(to) && known(step) && *known(to) - *known(from) <= *known(step)) {
    pending.clear(); // the words were for a loop
    if (*known(from) < *known(to))
      body(from);
    return;
  }
  auto loop = scf::ForOp::create(b, loc, from.v, to.v, step.v);
  takeComment(loop);
  if (unroll)
    loop->setAttr("cuda.unroll", b.getUnitAttr());
  loop.getInductionVar().setLoc(at(name));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  body({this, loop.getInductionVar()});
}

void DeviceBuilder::where(Bool condition, llvm::function_ref<void()> body) {
  if (std::optional<int64_t> always = known(condition)) {
    if (*always)
      body();
    return;
  }
  auto branch = scf::IfOp::create(b, loc, condition.v, /*withElseRegion=*/false);
  takeComment(branch);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  body();
}

void DeviceBuilder::where(Bool condition, llvm::function_ref<void()> body,
                          llvm::function_ref<void()> otherwise) {
  auto branch = scf::IfOp::create(b, loc, condition.v, /*withElseRegion=*/true);
  takeComment(branch);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  body();
  b.setInsertionPointToStart(branch.elseBlock());
  otherwise();
}

void DeviceBuilder::comment(StringRef words) { pending = words.str(); }

void DeviceBuilder::takeComment(Operation *op) {
  if (!pending.empty())
    op->setAttr("cuda.comment", b.getStringAttr(pending));
  pending.clear();
}

//===--- warps ---===//

Num DeviceBuilder::shuffleXor(Num x, int64_t mask) {
  return {this, gpu::ShuffleOp::create(b, loc, x.v, constant(mask).v, constant(32).v,
                                       gpu::ShuffleMode::XOR)
                    .getShuffleResult()};
}
Num DeviceBuilder::shuffle(Num x, Int lane) {
  return {this, gpu::ShuffleOp::create(b, loc, x.v, lane.v, constant(32).v, gpu::ShuffleMode::IDX)
                    .getShuffleResult()};
}
Num DeviceBuilder::warpSum(Num x) {
  for (int64_t mask : {16, 8, 4, 2, 1})
    x = named("partial", x + shuffleXor(x, mask));
  return x;
}
Num DeviceBuilder::warpMax(Num x) {
  for (int64_t mask : {16, 8, 4, 2, 1})
    x = named("largest", max(x, shuffleXor(x, mask)));
  return x;
}

//===--- device ops ---===//

Bool DeviceBuilder::philoxAtLeast(Int row, int64_t columns, Int column, int64_t stream, Int micro,
                                  Int seed, Int step, uint32_t threshold) {
  return {this, device::PhiloxOp::create(b, loc, b.getI1Type(), row.v, constant(columns).v,
                                         column.v, constant(stream).v, micro.v, seed.v, step.v,
                                         b.getI64IntegerAttr(threshold))};
}

void DeviceBuilder::copy(Value from, Indices fromIndices, Value to, Indices toIndices,
                         int64_t bytes) {
  device::CopyOp::create(b, loc, from, values(fromIndices), to, values(toIndices),
                         b.getI64IntegerAttr(bytes));
}
void DeviceBuilder::copyAsync(Value from, Int fromIndex, Value to, Int toIndex) {
  device::CopyAsyncOp::create(b, loc, from, fromIndex.v, to, toIndex.v, Value());
}
void DeviceBuilder::copyAsync(Value from, Int fromIndex, Value to, Int toIndex, Int size) {
  device::CopyAsyncOp::create(b, loc, from, fromIndex.v, to, toIndex.v,
                              known(size) == 16 ? Value() : size.v);
}
void DeviceBuilder::ldmatrix(Value from, Int index, bool trans, Value registers, Indices indices) {
  device::LdMatrixOp::create(b, loc, from, index.v, registers, values(indices),
                             trans ? b.getUnitAttr() : UnitAttr());
}
void DeviceBuilder::mma(Value sums, Indices sumIndices, Value a, Indices aIndices, Value b0,
                        Value b1) {
  device::MmaOp::create(b, loc, sums, values(sumIndices), a, values(aIndices), b0, b1,
                        TypeAttr::get(computeType));
}
Int DeviceBuilder::descriptor(StringRef name, Value memory, Int index, int64_t lead) {
  return {this, device::DescriptorOp::create(b, at(name), i32(), memory, index.v,
                                             b.getI64IntegerAttr(lead))};
}
void DeviceBuilder::warpgroupMma(Value sums, Indices sumIndices, Int a, Int b_, bool trans) {
  device::WarpgroupMmaOp::create(b, loc, sums, values(sumIndices), a.v, b_.v,
                                 TypeAttr::get(computeType), trans ? b.getUnitAttr() : UnitAttr());
}
Value DeviceBuilder::pack(Num low, Num high) {
  return device::PackOp::create(b, loc, word(), low.v, high.v, TypeAttr::get(computeType));
}
Num DeviceBuilder::unpack(Value word, bool high) {
  return {this, device::UnpackOp::create(b, loc, f32(), word, TypeAttr::get(computeType),
                                         high ? b.getUnitAttr() : UnitAttr())};
}
Value DeviceBuilder::mulPairs(Value x, Value y) {
  return device::MulPairsOp::create(b, loc, word(), x, y, TypeAttr::get(computeType));
}
Value DeviceBuilder::zip(Value x, Value y, bool high) {
  return device::ZipOp::create(b, loc, word(), x, y, high);
}
void DeviceBuilder::storePair(Value pair, Value to, Int index) {
  device::StorePairOp::create(b, loc, pair, to, index.v);
}
Value DeviceBuilder::codeTable(StringRef name, Value scratch, ArrayRef<float> values) {
  return device::CodeTableOp::create(b, at(name), device::CodesType::get(b.getContext()), scratch,
                                     b.getDenseF32ArrayAttr(values), TypeAttr::get(computeType));
}
void DeviceBuilder::decode(Value word, Value table, Value registers, Indices indices) {
  device::DecodeOp::create(b, loc, word, table, registers, values(indices));
}
Num DeviceBuilder::byteOf(Value word, int64_t byte) {
  return {this, device::ByteOp::create(b, loc, f32(), word, b.getI64IntegerAttr(byte))};
}
