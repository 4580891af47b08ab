// Writes one device kernel in func/scf/arith/memref/gpu.

#include "compiler/codegen/cuda/DeviceBuilder.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace lorac::cuda;

DeviceBuilder::DeviceBuilder(OpBuilder &builder, Location loc, StringRef name, int64_t threads,
                             ArrayRef<Argument> arguments)
    : b(builder), loc(loc) {
  SmallVector<Type> types;
  for (const Argument &argument : arguments)
    types.push_back(argument.type);
  func = func::FuncOp::create(b, loc, name, b.getFunctionType(types, {}));
  func->setAttr("cuda.threads", b.getI64IntegerAttr(threads));
  after = b.saveInsertionPoint();
  Block *entry = func.addEntryBlock();
  for (auto [argument, value] : llvm::zip(arguments, entry->getArguments())) {
    value.setLoc(at(argument.name));
    if (argument.written)
      func.setArgAttr(value.getArgNumber(), "cuda.written", b.getUnitAttr());
  }
  b.setInsertionPointToStart(entry);
}

DeviceBuilder::~DeviceBuilder() {
  func::ReturnOp::create(b, loc);
  b.restoreInsertionPoint(after);
}

MemRefType DeviceBuilder::memory(ArrayRef<int64_t> shape, Type element, Space space) {
  MLIRContext *context = element.getContext();
  Attribute where;
  if (space != Space::Global)
    where =
        gpu::AddressSpaceAttr::get(context, space == Space::Shared ? gpu::AddressSpace::Workgroup
                                                                   : gpu::AddressSpace::Private);
  return MemRefType::get(shape, element, MemRefLayoutAttrInterface(), where);
}

Value DeviceBuilder::allocate(StringRef name, ArrayRef<int64_t> shape, Type element, Space space) {
  return memref::AllocaOp::create(b, at(name), memory(shape, element, space));
}

Value DeviceBuilder::table(StringRef name, ArrayRef<float> values) {
  auto type = memory({int64_t(values.size())}, f32(), Space::Global);
  auto module = func->getParentOfType<ModuleOp>();
  if (!module.lookupSymbol<memref::GlobalOp>(name)) {
    OpBuilder top = OpBuilder::atBlockBegin(module.getBody());
    auto data = DenseElementsAttr::get(RankedTensorType::get(type.getShape(), f32()), values);
    memref::GlobalOp::create(top, loc, name, b.getStringAttr("private"), type, data,
                             /*constant=*/true, IntegerAttr());
  }
  return memref::GetGlobalOp::create(b, at(name), type, name);
}

Value DeviceBuilder::thread(StringRef name) {
  Value id = gpu::ThreadIdOp::create(b, loc, b.getIndexType(), gpu::Dimension::x);
  return arith::IndexCastOp::create(b, at(name), i32(), id);
}

Value DeviceBuilder::block(StringRef name, gpu::Dimension dimension) {
  Value id = gpu::BlockIdOp::create(b, loc, b.getIndexType(), dimension);
  return arith::IndexCastOp::create(b, at(name), i32(), id);
}

Value DeviceBuilder::named(StringRef name, Value value) {
  value.getDefiningOp()->setLoc(at(name));
  return value;
}

Value DeviceBuilder::fma(Value x, Value y, Value sum) {
  return math::FmaOp::create(b, loc, x, y, sum);
}

Value DeviceBuilder::load(Value from, ArrayRef<Value> indices) {
  SmallVector<Value> cast;
  for (Value value : indices)
    cast.push_back(index(value));
  return memref::LoadOp::create(b, loc, from, cast);
}

void DeviceBuilder::store(Value value, Value to, ArrayRef<Value> indices) {
  SmallVector<Value> cast;
  for (Value i : indices)
    cast.push_back(index(i));
  memref::StoreOp::create(b, loc, value, to, cast);
}

Value DeviceBuilder::loadWhere(StringRef name, Value condition, Value from,
                               ArrayRef<Value> indices) {
  Type element = cast<MemRefType>(from.getType()).getElementType();
  auto branch =
      scf::IfOp::create(b, at(name), TypeRange{element}, condition, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  scf::YieldOp::create(b, loc, load(from, indices));
  b.setInsertionPointToStart(branch.elseBlock());
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(element));
  scf::YieldOp::create(b, loc, zero);
  return branch.getResult(0);
}

void DeviceBuilder::loop(StringRef name, Value from, Value to, int64_t step, bool unroll,
                         Body body) {
  auto loop = scf::ForOp::create(b, loc, from, to, constant(step));
  takeComment(loop);
  if (unroll)
    loop->setAttr("cuda.unroll", b.getUnitAttr());
  loop.getInductionVar().setLoc(at(name));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  body(loop.getInductionVar());
}

void DeviceBuilder::where(Value condition, llvm::function_ref<void()> body) {
  auto branch = scf::IfOp::create(b, loc, condition, /*withElseRegion=*/false);
  takeComment(branch);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  body();
}

void DeviceBuilder::comment(StringRef words) { pending = words.str(); }

void DeviceBuilder::takeComment(Operation *op) {
  if (!pending.empty())
    op->setAttr("cuda.comment", b.getStringAttr(pending));
  pending.clear();
}
