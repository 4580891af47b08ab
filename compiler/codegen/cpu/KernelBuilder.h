#pragma once
// Writes one kernel body in func/scf/vector/memref/arith: short names for what kernels do all the
// time.

#include "compiler/codegen/cpu/Target.h"
#include "compiler/dialect/LoraOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/DenseMap.h"

namespace lorac::cpu {

/// Rows of a buffer whose real number of rows is known at run time: static shapes give bare
/// pointers.
constexpr int64_t manyRows = 1 << 24;

/// Whether a parameter of a kernel comes with the launch: `scalars` names those that do, in order.
bool isScalar(lora::KernelOp kernel, llvm::StringRef name);

/// A matrix in a buffer, whose leading dimension may be known at run time only.
struct Matrix {
  mlir::Value memory;
  mlir::Value ld; ///< null: the memory has two dimensions
};

class KernelBuilder {
public:
  using Value = mlir::Value;
  using Values = llvm::SmallVector<mlir::Value>;

  /// Opens `func.func @<kernel>.body(buffers…, tokens, segments, loss_scale, seed, step, micro,
  /// rows, begin, end, scalars…, scratch)` at the builder's place. `buffers` are static memref
  /// types in the family's order; see activation(), dense().
  KernelBuilder(lora::KernelOp kernel, mlir::OpBuilder &builder, const CpuTarget &target,
                llvm::ArrayRef<mlir::MemRefType> buffers);
  /// Closes the function.
  ~KernelBuilder();

  /// `[tokens, ld]` of `element`.
  static mlir::MemRefType activation(mlir::MLIRContext *context, int64_t ld);
  static mlir::MemRefType dense(llvm::ArrayRef<int64_t> shape, mlir::Type element);
  /// Rows of f32 whose leading dimension is the kernel's parameter `ld`; see matrix().
  static mlir::MemRefType rowsOf(lora::KernelOp kernel, llvm::StringRef ld);

  // What the launch passes.
  Value buffer(unsigned i) { return arguments[i]; }
  Value tokens() { return arguments[numBuffers + 0]; }    ///< index
  Value segments() { return arguments[numBuffers + 1]; }  ///< index
  Value lossScale() { return arguments[numBuffers + 2]; } ///< f32
  Value seed() { return arguments[numBuffers + 3]; }      ///< i32
  Value step() { return arguments[numBuffers + 4]; }      ///< i32
  Value micro() { return arguments[numBuffers + 5]; }     ///< i32
  Value rows() { return arguments[numBuffers + 6]; }      ///< index
  Value begin() { return arguments[numBuffers + 7]; }     ///< index: first tile
  Value end() { return arguments[numBuffers + 8]; }       ///< index: one past the last tile
  /// An integer parameter of the kernel, a constant or of the launch: index.
  Value param(llvm::StringRef name);
  /// Buffer i, made by rowsOf(kernel, ld).
  Matrix matrix(unsigned i, llvm::StringRef ld);
  Values at(const Matrix &matrix, Value row, Value column);
  /// A view of the worker's scratch at a byte offset (a multiple of 64).
  Value scratch(int64_t byteOffset, llvm::ArrayRef<int64_t> shape, mlir::Type element);
  Value scratchF32(int64_t byteOffset, llvm::ArrayRef<int64_t> shape) {
    return scratch(byteOffset, shape, f32());
  }

  // Types.
  mlir::Type f32() { return b.getF32Type(); }
  mlir::Type i32() { return b.getI32Type(); }
  mlir::Type i8() { return b.getI8Type(); }
  mlir::Type i16() { return b.getI16Type(); }
  mlir::Type indexType() { return b.getIndexType(); }
  int64_t lanes() const { return target.vectorLanes; }
  mlir::VectorType vec(mlir::Type element, int64_t n) {
    return mlir::VectorType::get({n}, element);
  }
  mlir::VectorType vecF32() { return vec(f32(), lanes()); }
  mlir::VectorType vecI32() { return vec(i32(), lanes()); }

  // Constants, made once in the entry block.
  Value index(int64_t value);
  Value constF32(double value);
  Value constI32(int64_t value);
  /// Every lane of the target's vector.
  Value splatF32(double value);
  Value splatI32(int64_t value);
  /// Any attribute with its type (for instance a lane table).
  Value constant(mlir::TypedAttr value);

  // Arithmetic: floats and vectors of floats.
  Value addf(Value x, Value y) { return mlir::arith::AddFOp::create(b, loc, x, y); }
  Value subf(Value x, Value y) { return mlir::arith::SubFOp::create(b, loc, x, y); }
  Value mulf(Value x, Value y) { return mlir::arith::MulFOp::create(b, loc, x, y); }
  Value divf(Value x, Value y) { return mlir::arith::DivFOp::create(b, loc, x, y); }
  Value negf(Value x) { return mlir::arith::NegFOp::create(b, loc, x); }
  /// One rounding where the target has FMA, product and sum elsewhere; scalars and vectors.
  Value fma(Value x, Value y, Value sum);
  Value sqrtf(Value x);
  /// The greater of two; `y` where `x` is NaN.
  Value maxf(Value x, Value y);
  Value minf(Value x, Value y);
  Value cmpf(mlir::arith::CmpFPredicate predicate, Value x, Value y) {
    return mlir::arith::CmpFOp::create(b, loc, predicate, x, y);
  }

  // Arithmetic: integers, indices and vectors of integers.
  Value add(Value x, Value y) { return mlir::arith::AddIOp::create(b, loc, x, y); }
  Value sub(Value x, Value y) { return mlir::arith::SubIOp::create(b, loc, x, y); }
  Value mul(Value x, Value y) { return mlir::arith::MulIOp::create(b, loc, x, y); }
  Value add(Value x, int64_t y) { return y == 0 ? x : add(x, index(y)); }
  Value sub(Value x, int64_t y) { return y == 0 ? x : sub(x, index(y)); }
  Value mul(Value x, int64_t y) { return y == 1 ? x : mul(x, index(y)); }
  Value ceilDiv(Value x, int64_t y) { return div(add(x, y - 1), y); }
  Value div(Value x, int64_t y) { return mlir::arith::DivUIOp::create(b, loc, x, index(y)); }
  Value rem(Value x, int64_t y) { return mlir::arith::RemUIOp::create(b, loc, x, index(y)); }
  Value min(Value x, Value y) { return mlir::arith::MinSIOp::create(b, loc, x, y); }
  Value max(Value x, Value y) { return mlir::arith::MaxSIOp::create(b, loc, x, y); }
  Value andi(Value x, Value y) { return mlir::arith::AndIOp::create(b, loc, x, y); }
  Value ori(Value x, Value y) { return mlir::arith::OrIOp::create(b, loc, x, y); }
  Value xori(Value x, Value y) { return mlir::arith::XOrIOp::create(b, loc, x, y); }
  Value shl(Value x, Value y) { return mlir::arith::ShLIOp::create(b, loc, x, y); }
  Value shr(Value x, Value y) { return mlir::arith::ShRUIOp::create(b, loc, x, y); }
  Value cmpi(mlir::arith::CmpIPredicate predicate, Value x, Value y) {
    return mlir::arith::CmpIOp::create(b, loc, predicate, x, y);
  }
  Value less(Value x, Value y) { return cmpi(mlir::arith::CmpIPredicate::slt, x, y); }
  Value equal(Value x, Value y) { return cmpi(mlir::arith::CmpIPredicate::eq, x, y); }
  Value select(Value condition, Value x, Value y) {
    return mlir::arith::SelectOp::create(b, loc, condition, x, y);
  }

  // Conversions; scalars and vectors alike.
  Value zext(Value x, mlir::Type to) { return mlir::arith::ExtUIOp::create(b, loc, to, x); }
  Value sext(Value x, mlir::Type to) { return mlir::arith::ExtSIOp::create(b, loc, to, x); }
  Value trunc(Value x, mlir::Type to) { return mlir::arith::TruncIOp::create(b, loc, to, x); }
  Value bitcast(Value x, mlir::Type to) { return mlir::arith::BitcastOp::create(b, loc, to, x); }
  Value toFloat(Value x, mlir::Type to) { return mlir::arith::SIToFPOp::create(b, loc, to, x); }
  /// Signed integer (i32) to index and back.
  Value toIndex(Value x) { return mlir::arith::IndexCastOp::create(b, loc, indexType(), x); }
  /// Unsigned: i8, i16 or i32 to index.
  Value toIndexUnsigned(Value x) {
    return mlir::arith::IndexCastUIOp::create(b, loc, indexType(), x);
  }
  Value fromIndex(Value x, mlir::Type to) {
    return mlir::arith::IndexCastOp::create(b, loc, to, x);
  }

  // Control. The lambdas write the bodies; loops carry `inits`.
  void forLoop(Value lower, Value upper, int64_t step, llvm::function_ref<void(Value)> body);
  Values forLoop(Value lower, Value upper, int64_t step, mlir::ValueRange inits,
                 llvm::function_ref<Values(Value, mlir::ValueRange)> body);
  void ifThen(Value condition, llvm::function_ref<void()> then);
  Values ifElse(Value condition, mlir::TypeRange results, llvm::function_ref<Values()> then,
                llvm::function_ref<Values()> otherwise);

  // Memory: scalars, and the target's f32 vectors unless a type is given. Vector accesses need no
  // alignment.
  Value load(Value memory, mlir::ValueRange at);
  void store(Value value, Value memory, mlir::ValueRange at);
  Value vload(Value memory, mlir::ValueRange at) { return vload(vecF32(), memory, at); }
  Value vload(mlir::VectorType type, Value memory, mlir::ValueRange at);
  void vstore(Value value, Value memory, mlir::ValueRange at);
  /// Asks for the cache line at an address, which need not exist.
  void prefetch(Value memory, mlir::ValueRange at);
  /// As many of the memory's elements as the target has lanes; those whose mask is off read 0 and
  /// touch no memory.
  Value vloadMasked(Value memory, mlir::ValueRange at, Value mask);
  void vstoreMasked(Value value, Value memory, mlir::ValueRange at, Value mask);
  /// The first `n` lanes, known when the kernel is made; n may exceed the lanes or be negative.
  Value mask(int64_t n);
  /// The first `n` lanes; `n` is an index value.
  Value mask(Value n);
  Value broadcast(Value scalar) { return broadcast(scalar, lanes()); }
  Value broadcast(Value scalar, int64_t n);
  Value extract(Value vector, int64_t lane);
  Value insert(Value scalar, Value vector, int64_t lane);
  Value shuffle(Value x, Value y, llvm::ArrayRef<int64_t> lanes);
  /// Sum and maximum of the lanes in a fixed tree order.
  Value reduceAdd(Value vector);
  Value reduceMax(Value vector);

  // Functions without libm.
  /// e^x, relative error about 2e-7. Clamped to e^±87: never 0 or infinite; NaN for NaN. Scalars
  /// and vectors.
  Value vexp(Value x);
  /// ln x, error 1 ulp; -infinity at 0, NaN below it.
  Value vlog(Value x);
  /// Relative error 2e-7; made of vexp.
  Value vtanh(Value x);
  Value verf(Value x);
  /// Bits of an f16 (i16, scalar or vector) as f32; exact, also for subnormals, infinities and NaN.
  Value f16ToF32(Value bits);
  /// Bits of a bf16 (i16, scalar or vector) as f32.
  Value bf16ToF32(Value bits);
  /// Calls an LLVM intrinsic by its full name.
  Value intrinsic(llvm::StringRef name, mlir::Type result, mlir::ValueRange args);

  mlir::OpBuilder &builder() { return b; }
  mlir::Location location() const { return loc; }
  const CpuTarget &cpu() const { return target; }
  mlir::func::FuncOp function() { return func; }

private:
  Value vabs(Value x);
  /// The magnitude of x with the sign of `sign`.
  Value withSign(Value x, Value sign);
  /// Σ coefficients[i]·x^(n-1-i)
  Value polynomial(Value x, llvm::ArrayRef<double> coefficients);
  /// The type with the same shape as `like` and another element.
  mlir::Type withElement(Value like, mlir::Type element);
  Value splatLike(Value like, double value);
  Value splatLikeInt(Value like, int64_t value);

  mlir::OpBuilder &b;
  mlir::Location loc;
  lora::KernelOp kernel;
  const CpuTarget &target;
  mlir::func::FuncOp func;
  mlir::OpBuilder::InsertPoint after;
  unsigned numBuffers;
  Values arguments;
  llvm::DenseMap<mlir::Attribute, Value> constants;
  mlir::Operation *lastConstant = nullptr;
};

} // namespace lorac::cpu
