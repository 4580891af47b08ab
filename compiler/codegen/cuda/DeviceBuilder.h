#pragma once
// Writes one device kernel in func/scf/arith/memref/gpu and the device dialect: short names, and a
// name for every value that a reader of the CUDA text will meet.

#include "compiler/codegen/cuda/DeviceDialect.h"
#include "compiler/codegen/cuda/DeviceValues.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Builders.h"

#include <optional>

namespace lorac::cuda {

/// Where a memref lies.
enum class Space { Global, Shared, Local };

class DeviceBuilder {
public:
  using Value = mlir::Value;
  using Type = mlir::Type;
  using Indices = llvm::ArrayRef<Int>;

  struct Argument {
    std::string name;
    mlir::Type type;
    bool written = false; ///< false: printed as `const … *__restrict__`
  };

  /// Opens `func.func @name` for `threads` threads a block at the builder's place; `compute` is the
  /// 16-bit type of activations. To the arguments come `step` (by the op device.step), `begin` and
  /// `count`, then the launch's `scalars`.
  DeviceBuilder(mlir::OpBuilder &builder, mlir::Location loc, llvm::StringRef name, int64_t threads,
                Type compute, llvm::ArrayRef<Argument> arguments,
                llvm::ArrayRef<std::string> scalars = {});
  ~DeviceBuilder();
  DeviceBuilder(const DeviceBuilder &) = delete;

  mlir::func::FuncOp function() { return func; }
  /// There are no more blocks than a few on a multiprocessor: ptxas need not save registers for
  /// more.
  void fewBlocks() { func->setAttr("cuda.few_blocks", b.getUnitAttr()); }
  /// The buffers in the order of the arguments, one a call.
  Value next() { return func.getArgument(taken++); }
  /// The scalars in their order, one a call.
  Int nextScalar() { return {this, func.getArgument(buffers + 2 + takenScalars++)}; }
  mlir::OpBuilder &builder() { return b; }

  // Types.
  Type f32() { return b.getF32Type(); }
  Type i32() { return b.getI32Type(); }
  Type u8() { return b.getI8Type(); }
  Type word() { return b.getIntegerType(32, /*isSigned=*/false); }
  Type compute() { return computeType; }

  // Memory. Shared memory is dynamic; places in it are dealt out one behind the other, aligned to
  // 128 bytes or more.
  static mlir::MemRefType memory(llvm::ArrayRef<int64_t> shape, Type element, Space space);
  Value local(llvm::StringRef name, llvm::ArrayRef<int64_t> shape, Type element);
  Value shared(llvm::StringRef name, int64_t elements, Type element, int64_t align = 128);
  /// A place over what lies there from byte `offset` on, which is no longer needed.
  Value sharedFrom(int64_t offset, llvm::StringRef name, int64_t elements, Type element);
  /// The bytes of a place that `shared` has dealt out.
  Value bytesOf(llvm::StringRef name, Value shared);
  int64_t sharedBytes() const { return sharedTop; }

  // Values.
  Int constant(int64_t value);
  Num number(double value) { return number(value, f32()); }
  Num number(double value, Type type);
  Bool truth(bool value);
  std::optional<int64_t> known(Value value);
  Int thread();
  Int lane() { return named("lane", thread() % 32); }
  Int warp() { return named("warp", thread() / 32); }
  Int block(mlir::gpu::Dimension dimension);
  Int blockX() { return block(mlir::gpu::Dimension::x); }
  Int blockY() { return block(mlir::gpu::Dimension::y); }
  Int stepInt(llvm::StringRef field);
  Num stepNum(llvm::StringRef field);
  /// The launch's rows that exist in this micro-batch (docs/cuda.md).
  Int rows();

  template <typename T>
  T named(llvm::StringRef name, T value) {
    setName(name, value.v);
    return value;
  }

  /// In a register of its own from here on.
  Int keep(llvm::StringRef name, Int value);
  /// The memory from an element on, as a pointer with a name.
  Value pointer(llvm::StringRef name, Value memory, Int index);
  Num fma(Num x, Num y, Num sum);
  Num select(Bool condition, Num x, Num y);
  Int select(Bool condition, Int x, Int y);
  /// One of two memories of a type.
  Value select(llvm::StringRef name, Bool condition, Value x, Value y);
  Num exp(Num x);
  Num exp2(Num x);
  Num log(Num x);
  Num sqrt(Num x);
  Num tanh(Num x);
  Num toNum(Int x);
  Num toF64(Num x);
  Num toF32(Num x);
  Int bits(Num x);
  /// 16-bit numbers are widened to float32.
  Num loadNum(Value from, Indices indices);
  /// Bytes are widened, without a sign.
  Int loadInt(Value from, Indices indices);
  /// A byte with its sign.
  Num loadSigned(Value from, Indices indices);
  Value loadWord(Value from, Indices indices);
  /// Narrowed to the memory's element.
  void store(Value value, Value to, Indices indices);
  /// The element where `condition` holds, 0 elsewhere: nothing is read there.
  Num loadWhere(llvm::StringRef name, Bool condition, Value from, Indices indices);
  Int loadIntWhere(llvm::StringRef name, Bool condition, Value from, Indices indices);

  // A variable: a local array of no dimension.
  Value variable(llvm::StringRef name, Num initial);
  Value variable(llvm::StringRef name, Int initial);
  Num get(Value variable) { return loadNum(variable, {}); }
  Int getInt(Value variable) { return loadInt(variable, {}); }
  void set(Value variable, Value value) { store(value, variable, {}); }

  // Control.
  using IntBody = llvm::function_ref<void(Int)>;
  void loop(llvm::StringRef name, Int from, Int to, int64_t step, IntBody body) {
    loopOf(name, from, to, constant(step), false, body);
  }
  void loop(llvm::StringRef name, int64_t from, int64_t to, int64_t step, IntBody body) {
    loop(name, constant(from), constant(to), step, body);
  }
  /// Steps by a value that the launch knows only.
  void loopBy(llvm::StringRef name, Int from, Int to, Int step, IntBody body) {
    loopOf(name, from, to, step, false, body);
  }
  void unrolled(llvm::StringRef name, int64_t count, IntBody body) {
    loopOf(name, constant(0), constant(count), constant(1), true, body);
  }
  void where(Bool condition, llvm::function_ref<void()> body);
  void where(Bool condition, llvm::function_ref<void()> body, llvm::function_ref<void()> otherwise);
  void returnIf(Bool condition) { device::ReturnIfOp::create(b, loc, condition.v); }
  void barrier() { mlir::gpu::BarrierOp::create(b, loc); }
  /// A line of words above the next statement with a body, or barrier.
  void comment(llvm::StringRef words);

  // Warps.
  Num shuffleXor(Num x, int64_t mask);
  Num shuffle(Num x, Int lane);
  Num warpSum(Num x);
  Num warpMax(Num x);

  // Device ops.
  Bool philoxAtLeast(Int row, int64_t columns, Int column, int64_t stream, Int micro, Int seed,
                     Int step, uint32_t threshold);
  void copy(Value from, Indices fromIndices, Value to, Indices toIndices, int64_t bytes);
  void copyAsync(Value from, Int fromIndex, Value to, Int toIndex);
  void copyAsync(Value from, Int fromIndex, Value to, Int toIndex, Int size);
  void commit() { device::CommitOp::create(b, loc); }
  void wait(int64_t groups) { device::WaitOp::create(b, loc, b.getI64IntegerAttr(groups)); }
  void ldmatrix(Value from, Int index, bool trans, Value registers, Indices indices);
  void mma(Value sums, Indices sumIndices, Value a, Indices aIndices, Value b0, Value b1);
  // Warpgroups.
  Int descriptor(llvm::StringRef name, Value memory, Int index, int64_t lead);
  void warpgroupMma(Value sums, Indices sumIndices, Int a, Int b, bool trans);
  void warpgroupFence(Value sums) { device::WarpgroupFenceOp::create(b, loc, sums); }
  void warpgroupCommit() { device::WarpgroupCommitOp::create(b, loc); }
  /// `sums` can be used where no group is left.
  void warpgroupWait(int64_t groups, Value sums) {
    device::WarpgroupWaitOp::create(b, loc, b.getI64IntegerAttr(groups), groups ? Value() : sums);
  }
  void proxyFence() { device::ProxyFenceOp::create(b, loc); }

  // Packed numbers.
  Value pack(Num low, Num high);
  Num unpack(Value word, bool high);
  Value mulPairs(Value x, Value y);
  /// The low halves of two registers as one, or the high ones.
  Value zip(Value x, Value y, bool high);
  /// Two neighbouring 16-bit numbers at an even index.
  void storePair(Value pair, Value to, Int index);
  Value namedWord(llvm::StringRef name, Value word) {
    setName(name, word);
    return word;
  }
  Value codeTable(llvm::StringRef name, Value scratch, llvm::ArrayRef<float> values);
  void decode(Value word, Value table, Value registers, Indices indices);
  Num byteOf(Value word, int64_t byte);

  mlir::Location location() const { return loc; }

private:
  friend Int operator+(Int, Int);
  friend struct Arithmetic;

  mlir::Location at(llvm::StringRef name) { return mlir::NameLoc::get(b.getStringAttr(name), loc); }
  Value index(Value value);
  llvm::SmallVector<Value> cast(Indices indices);
  void setName(llvm::StringRef name, Value value);
  void loopOf(llvm::StringRef name, Int from, Int to, Int step, bool unroll, IntBody body);
  void takeComment(mlir::Operation *op);
  template <typename T>
  T loadOr(llvm::StringRef name, Bool condition, T zero, llvm::function_ref<T()> load);

  mlir::OpBuilder &b;
  mlir::Location loc;
  Type computeType;
  std::string pending;
  mlir::func::FuncOp func;
  unsigned taken = 0, takenScalars = 0, buffers = 0;
  int64_t sharedTop = 0, sharedAlign = 128;
  mlir::OpBuilder::InsertPoint after;
  std::optional<Int> threadId;
  Value rowsValue;
};

} // namespace lorac::cuda
