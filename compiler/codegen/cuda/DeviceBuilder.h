#pragma once
// Writes one device kernel in func/scf/arith/memref/gpu: short names, and a name for every value
// that a reader of the CUDA text will meet. Nothing here knows tensor cores yet; CudaPrinter
// refuses what it does not know.

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Builders.h"

namespace lorac::cuda {

/// Where a memref lies.
enum class Space { Global, Shared, Local };

class DeviceBuilder {
public:
  using Value = mlir::Value;
  using Values = llvm::SmallVector<mlir::Value>;
  using Body = llvm::function_ref<void(Value)>;

  struct Argument {
    llvm::StringRef name;
    mlir::Type type;
    bool written = false; ///< false: printed as `const … *__restrict__`
  };

  /// Opens `func.func @name` for `threads` threads a block at the builder's place.
  DeviceBuilder(mlir::OpBuilder &builder, mlir::Location loc, llvm::StringRef name, int64_t threads,
                llvm::ArrayRef<Argument> arguments);
  ~DeviceBuilder();

  mlir::func::FuncOp function() { return func; }
  Value argument(unsigned i) { return func.getArgument(i); }

  static mlir::MemRefType memory(llvm::ArrayRef<int64_t> shape, mlir::Type element, Space space);
  Value allocate(llvm::StringRef name, llvm::ArrayRef<int64_t> shape, mlir::Type element,
                 Space space);
  /// A table in constant memory, by its values.
  Value table(llvm::StringRef name, llvm::ArrayRef<float> values);

  mlir::Type f32() { return b.getF32Type(); }
  mlir::Type i32() { return b.getI32Type(); }
  mlir::Type u8() { return b.getI8Type(); }

  Value constant(int64_t value) {
    return mlir::arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(value));
  }
  Value number(double value) {
    return mlir::arith::ConstantOp::create(b, loc, b.getF32FloatAttr(value));
  }
  Value thread(llvm::StringRef name);
  Value block(llvm::StringRef name, mlir::gpu::Dimension dimension);

  Value named(llvm::StringRef name, Value value);
  Value add(Value x, Value y) { return mlir::arith::AddIOp::create(b, loc, x, y); }
  Value mul(Value x, Value y) { return mlir::arith::MulIOp::create(b, loc, x, y); }
  Value div(Value x, Value y) { return mlir::arith::DivUIOp::create(b, loc, x, y); }
  Value rem(Value x, Value y) { return mlir::arith::RemUIOp::create(b, loc, x, y); }
  Value add(Value x, int64_t y) { return add(x, constant(y)); }
  Value mul(Value x, int64_t y) { return mul(x, constant(y)); }
  Value div(Value x, int64_t y) { return div(x, constant(y)); }
  Value rem(Value x, int64_t y) { return rem(x, constant(y)); }
  Value andi(Value x, Value y) { return mlir::arith::AndIOp::create(b, loc, x, y); }
  Value shr(Value x, Value y) { return mlir::arith::ShRUIOp::create(b, loc, x, y); }
  Value less(Value x, Value y) {
    return mlir::arith::CmpIOp::create(b, loc, mlir::arith::CmpIPredicate::slt, x, y);
  }
  Value both(Value x, Value y) { return mlir::arith::AndIOp::create(b, loc, x, y); }
  Value wide(Value x) { return mlir::arith::ExtUIOp::create(b, loc, i32(), x); }
  Value select(Value condition, Value x, Value y) {
    return mlir::arith::SelectOp::create(b, loc, condition, x, y);
  }
  Value addf(Value x, Value y) { return mlir::arith::AddFOp::create(b, loc, x, y); }
  Value mulf(Value x, Value y) { return mlir::arith::MulFOp::create(b, loc, x, y); }
  Value fma(Value x, Value y, Value sum);

  Value load(Value from, llvm::ArrayRef<Value> indices);
  void store(Value value, Value to, llvm::ArrayRef<Value> indices);
  /// The element where `condition` holds, 0 elsewhere: nothing is read there.
  Value loadWhere(llvm::StringRef name, Value condition, Value from, llvm::ArrayRef<Value> indices);

  void loop(llvm::StringRef name, int64_t from, int64_t to, int64_t step, bool unroll, Body body) {
    loop(name, constant(from), constant(to), step, unroll, body);
  }
  void loop(llvm::StringRef name, Value from, Value to, int64_t step, bool unroll, Body body);
  void where(Value condition, llvm::function_ref<void()> body);
  void barrier() { mlir::gpu::BarrierOp::create(b, loc); }
  /// A line of words above the next loop or branch.
  void comment(llvm::StringRef words);

private:
  mlir::Location at(llvm::StringRef name) { return mlir::NameLoc::get(b.getStringAttr(name), loc); }
  Value index(Value value) {
    return mlir::arith::IndexCastOp::create(b, loc, b.getIndexType(), value);
  }

  void takeComment(mlir::Operation *op);

  mlir::OpBuilder &b;
  mlir::Location loc;
  std::string pending;
  mlir::func::FuncOp func;
  mlir::OpBuilder::InsertPoint after;
};

} // namespace lorac::cuda
