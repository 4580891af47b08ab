#include "compiler/codegen/cpu/KernelBuilder.h"
#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/LowerToLLVM.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <limits>

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

static ArrayRef<Attribute> scalarsOf(lora::KernelOp kernel) {
  auto names = kernel.getParams().getAs<ArrayAttr>("scalars");
  return names ? names.getValue() : ArrayRef<Attribute>();
}

bool lorac::cpu::isScalar(lora::KernelOp kernel, StringRef name) {
  return llvm::any_of(scalarsOf(kernel), [&](Attribute scalar) {
    return cast<StringAttr>(scalar).getValue() == name;
  });
}

KernelBuilder::KernelBuilder(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target,
                             ArrayRef<MemRefType> buffers)
    : b(builder), loc(kernel.getLoc()), kernel(kernel), target(target), numBuffers(buffers.size()) {
  SmallVector<Type> types(buffers.begin(), buffers.end());
  Type index = b.getIndexType(), i32 = b.getI32Type();
  types.append({index, index, b.getF32Type(), i32, i32, i32, index, index, index});
  auto scalars = scalarsOf(kernel);
  types.append(scalars.size(), index);
  types.push_back(dense({std::max<int64_t>(kernel.getScratch(), 64)}, b.getI8Type()));
  func = func::FuncOp::create(b, loc, (kernel.getSymName() + ".body").str(),
                              b.getFunctionType(types, {}));
  func->setAttr("lora.params", kernel.getParams());
  func->setAttr(scalarsOfBody, b.getI64IntegerAttr(scalars.size()));
  if (const Family *family = findFamily(kernel.getFamily())) {
    func->setAttr("lora.family", b.getStringAttr(family->name));
    func->setAttr("lora.formula", b.getStringAttr(family->formula));
  }
  func.setArgAttr(types.size() - 1, LLVM::LLVMDialect::getNoAliasAttrName(), b.getUnitAttr());
  after = b.saveInsertionPoint();
  Block *entry = func.addEntryBlock();
  arguments.assign(entry->args_begin(), entry->args_end());
  b.setInsertionPointToStart(entry);
}

KernelBuilder::~KernelBuilder() {
  func::ReturnOp::create(b, loc);
  b.restoreInsertionPoint(after);
}

MemRefType KernelBuilder::activation(MLIRContext *context, int64_t ld) {
  return dense({manyRows, ld}, Float32Type::get(context));
}

MemRefType KernelBuilder::dense(ArrayRef<int64_t> shape, Type element) {
  return MemRefType::get(shape, element);
}

MemRefType KernelBuilder::rowsOf(lora::KernelOp kernel, StringRef ld) {
  if (isScalar(kernel, ld))
    return dense({int64_t(manyRows) << 16}, Float32Type::get(kernel.getContext()));
  return activation(kernel.getContext(), kernel.intParam(ld));
}

Value KernelBuilder::param(StringRef name) {
  for (auto [i, scalar] : llvm::enumerate(scalarsOf(kernel)))
    if (cast<StringAttr>(scalar).getValue() == name)
      return arguments[numBuffers + 9 + i];
  return index(kernel.intParam(name));
}

Matrix KernelBuilder::matrix(unsigned i, StringRef ld) {
  return {buffer(i), isScalar(kernel, ld) ? param(ld) : Value()};
}

KernelBuilder::Values KernelBuilder::at(const Matrix &matrix, Value row, Value column) {
  if (!matrix.ld)
    return {row, column};
  return {add(mul(row, matrix.ld), column)};
}

Value KernelBuilder::scratch(int64_t byteOffset, ArrayRef<int64_t> shape, Type element) {
  return memref::ViewOp::create(b, loc, dense(shape, element), arguments.back(), index(byteOffset),
                                ValueRange{});
}

Value KernelBuilder::constant(TypedAttr value) {
  Value &known = constants[value];
  if (!known) {
    OpBuilder::InsertionGuard guard(b);
    if (lastConstant)
      b.setInsertionPointAfter(lastConstant);
    else
      b.setInsertionPointToStart(&func.getBody().front());
    auto op = arith::ConstantOp::create(b, loc, value);
    lastConstant = op;
    known = op.getResult();
  }
  return known;
}

Value KernelBuilder::index(int64_t value) { return constant(b.getIndexAttr(value)); }
Value KernelBuilder::constF32(double value) { return constant(b.getF32FloatAttr(value)); }
Value KernelBuilder::constI32(int64_t value) { return constant(b.getI32IntegerAttr(value)); }
Value KernelBuilder::splatF32(double value) {
  return constant(DenseElementsAttr::get(vecF32(), static_cast<float>(value)));
}
Value KernelBuilder::splatI32(int64_t value) {
  return constant(DenseElementsAttr::get(vecI32(), static_cast<int32_t>(value)));
}

Type KernelBuilder::withElement(Value like, Type element) {
  if (auto vector = dyn_cast<VectorType>(like.getType()))
    return VectorType::get(vector.getShape(), element);
  return element;
}

Value KernelBuilder::splatLike(Value like, double value) {
  if (auto vector = dyn_cast<VectorType>(like.getType()))
    return constant(DenseElementsAttr::get(VectorType::get(vector.getShape(), f32()),
                                           static_cast<float>(value)));
  return constF32(value);
}

Value KernelBuilder::splatLikeInt(Value like, int64_t value) {
  if (auto vector = dyn_cast<VectorType>(like.getType()))
    return constant(DenseElementsAttr::get(VectorType::get(vector.getShape(), i32()),
                                           static_cast<int32_t>(value)));
  return constI32(value);
}

Value KernelBuilder::fma(Value x, Value y, Value sum) {
  if (!target.fma)
    return addf(mulf(x, y), sum);
  return math::FmaOp::create(b, loc, x, y, sum);
}

Value KernelBuilder::sqrtf(Value x) { return math::SqrtOp::create(b, loc, x); }

Value KernelBuilder::maxf(Value x, Value y) {
  return select(cmpf(arith::CmpFPredicate::OGT, x, y), x, y);
}
Value KernelBuilder::minf(Value x, Value y) {
  return select(cmpf(arith::CmpFPredicate::OLT, x, y), x, y);
}

void KernelBuilder::forLoop(Value lower, Value upper, int64_t step,
                            llvm::function_ref<void(Value)> body) {
  scf::ForOp::create(b, loc, lower, upper, index(step), ValueRange{},
                     [&](OpBuilder &, Location, Value iv, ValueRange) {
                       body(iv);
                       scf::YieldOp::create(b, loc);
                     });
}

KernelBuilder::Values KernelBuilder::forLoop(Value lower, Value upper, int64_t step,
                                             ValueRange inits,
                                             llvm::function_ref<Values(Value, ValueRange)> body) {
  auto loop = scf::ForOp::create(b, loc, lower, upper, index(step), inits,
                                 [&](OpBuilder &, Location, Value iv, ValueRange carried) {
                                   scf::YieldOp::create(b, loc, body(iv, carried));
                                 });
  return Values(loop.getResults());
}

void KernelBuilder::ifThen(Value condition, llvm::function_ref<void()> then) {
  scf::IfOp::create(b, loc, condition, [&](OpBuilder &, Location) {
    then();
    scf::YieldOp::create(b, loc);
  });
}

KernelBuilder::Values KernelBuilder::ifElse(Value condition, TypeRange,
                                            llvm::function_ref<Values()> then,
                                            llvm::function_ref<Values()> otherwise) {
  auto branch = scf::IfOp::create(
      b, loc, condition, [&](OpBuilder &, Location) { scf::YieldOp::create(b, loc, then()); },
      [&](OpBuilder &, Location) { scf::YieldOp::create(b, loc, otherwise()); });
  return Values(branch.getResults());
}

Value KernelBuilder::load(Value memory, ValueRange at) {
  return memref::LoadOp::create(b, loc, memory, at);
}
void KernelBuilder::store(Value value, Value memory, ValueRange at) {
  memref::StoreOp::create(b, loc, value, memory, at);
}

Value KernelBuilder::vload(VectorType type, Value memory, ValueRange at) {
  return vector::LoadOp::create(b, loc, type, memory, at);
}

void KernelBuilder::vstore(Value value, Value memory, ValueRange at) {
  vector::StoreOp::create(b, loc, value, memory, at);
}

void KernelBuilder::prefetch(Value memory, ValueRange at) {
  memref::PrefetchOp::create(b, loc, memory, at, /*isWrite=*/false, /*localityHint=*/3,
                             /*isDataCache=*/true);
}

Value KernelBuilder::vloadMasked(Value memory, ValueRange at, Value mask) {
  VectorType type = vec(cast<MemRefType>(memory.getType()).getElementType(), lanes());
  return vector::MaskedLoadOp::create(b, loc, type, memory, at, mask,
                                      constant(cast<TypedAttr>(b.getZeroAttr(type))));
}

void KernelBuilder::vstoreMasked(Value value, Value memory, ValueRange at, Value mask) {
  vector::MaskedStoreOp::create(b, loc, memory, at, mask, value);
}

Value KernelBuilder::mask(int64_t n) {
  SmallVector<bool> bits(lanes());
  for (int64_t lane = 0; lane < lanes(); ++lane)
    bits[lane] = lane < n;
  return constant(DenseElementsAttr::get(vec(b.getI1Type(), lanes()), bits));
}

Value KernelBuilder::mask(Value n) {
  SmallVector<int32_t> ramp;
  for (int64_t lane = 0; lane < lanes(); ++lane)
    ramp.push_back(lane);
  Value bounded = min(max(n, index(0)), index(lanes()));
  Value lane = constant(DenseElementsAttr::get(vecI32(), ArrayRef<int32_t>(ramp)));
  return cmpi(arith::CmpIPredicate::slt, lane, broadcast(fromIndex(bounded, i32())));
}

Value KernelBuilder::broadcast(Value scalar, int64_t n) {
  return vector::BroadcastOp::create(b, loc, vec(scalar.getType(), n), scalar);
}

Value KernelBuilder::extract(Value vector, int64_t lane) {
  return vector::ExtractOp::create(b, loc, vector, lane);
}

Value KernelBuilder::insert(Value scalar, Value vector, int64_t lane) {
  return vector::InsertOp::create(b, loc, scalar, vector, lane);
}

Value KernelBuilder::shuffle(Value x, Value y, ArrayRef<int64_t> lanes) {
  return vector::ShuffleOp::create(b, loc, x, y, lanes);
}

// Halves are combined until one lane is left: the order never depends on the target's reduction.
template <typename Combine>
static Value reduceHalves(KernelBuilder &k, Value vector, Combine combine) {
  int64_t n = cast<VectorType>(vector.getType()).getNumElements();
  for (; n > 1; n /= 2) {
    SmallVector<int64_t> low, high;
    for (int64_t lane = 0; lane < n / 2; ++lane) {
      low.push_back(lane);
      high.push_back(lane + n / 2);
    }
    vector = combine(k.shuffle(vector, vector, low), k.shuffle(vector, vector, high));
  }
  return k.extract(vector, 0);
}

Value KernelBuilder::reduceAdd(Value vector) {
  return reduceHalves(*this, vector, [&](Value x, Value y) { return addf(x, y); });
}

Value KernelBuilder::reduceMax(Value vector) {
  return reduceHalves(*this, vector, [&](Value x, Value y) { return maxf(x, y); });
}

// e^x = 2^n · e^r, n = round(x / ln 2), |r| <= ln 2 / 2; the polynomial is Cephes' expf.
Value KernelBuilder::vexp(Value x) {
  auto c = [&](double value) { return splatLike(x, value); };
  x = maxf(c(-87.0), x); // in this order NaN stays
  x = minf(c(87.0), x);
  Value shift = c(12582912.0); // 1.5 · 2^23: adding it rounds to an integer in the low bits
  Value shifted = fma(x, c(1.44269504088896341), shift);
  Value n = subf(shifted, shift);
  Value r = fma(n, c(-0.693359375), x);
  r = fma(n, c(2.12194440e-4), r);
  Value p = c(1.9875691500e-4);
  for (double coefficient :
       {1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1})
    p = fma(p, r, c(coefficient));
  p = addf(fma(mulf(r, r), p, r), c(1.0));
  Value exponent =
      shl(add(bitcast(shifted, withElement(x, i32())), splatLikeInt(x, 127)), splatLikeInt(x, 23));
  return mulf(p, bitcast(exponent, withElement(x, f32())));
}

Value KernelBuilder::polynomial(Value x, ArrayRef<double> coefficients) {
  Value sum = splatLike(x, coefficients.front());
  for (double coefficient : coefficients.drop_front())
    sum = fma(sum, x, splatLike(x, coefficient));
  return sum;
}

Value KernelBuilder::vabs(Value x) {
  return bitcast(andi(bitcast(x, withElement(x, i32())), splatLikeInt(x, 0x7fffffff)),
                 withElement(x, f32()));
}

Value KernelBuilder::withSign(Value x, Value sign) {
  Value bit = andi(bitcast(sign, withElement(sign, i32())), splatLikeInt(sign, -0x80000000LL));
  return bitcast(ori(bitcast(x, withElement(x, i32())), bit), withElement(x, f32()));
}

// x = 2^e · (1 + f), f in [√½ - 1, √2 - 1); the polynomial is Cephes' logf. A subnormal x is
// computed from x · 2^23.
Value KernelBuilder::vlog(Value x) {
  auto c = [&](double value) { return splatLike(x, value); };
  auto i = [&](int64_t value) { return splatLikeInt(x, value); };
  Value tiny = cmpf(arith::CmpFPredicate::OLT, x, c(0x1p-126));
  Value bits = bitcast(select(tiny, mulf(x, c(0x1p23)), x), withElement(x, i32()));
  Value exponent = sub(shr(bits, i(23)), select(tiny, i(150), i(127)));
  Value mantissa = bitcast(ori(andi(bits, i(0x7fffff)), i(0x3f800000)), withElement(x, f32()));
  Value high = cmpf(arith::CmpFPredicate::OGT, mantissa, c(1.41421356237));
  mantissa = select(high, mulf(mantissa, c(0.5)), mantissa);
  Value e = toFloat(select(high, add(exponent, i(1)), exponent), withElement(x, f32()));
  Value f = subf(mantissa, c(1.0));
  Value square = mulf(f, f);
  Value p = polynomial(f, {7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1,
                           1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1,
                           3.3333331174e-1});
  Value y = mulf(mulf(p, f), square);
  y = fma(e, c(-2.12194440e-4), y);
  y = fma(square, c(-0.5), y);
  y = fma(e, c(0.693359375), addf(f, y));
  constexpr double infinity = std::numeric_limits<double>::infinity();
  Value zero = cmpf(arith::CmpFPredicate::OEQ, x, c(0.0));
  y = select(cmpf(arith::CmpFPredicate::OLT, x, c(infinity)), y, c(infinity));
  return select(cmpf(arith::CmpFPredicate::OGT, x, c(0.0)), y,
                select(zero, c(-infinity), c(std::numeric_limits<double>::quiet_NaN())));
}

// x + x³·P(x²) near 0, 1 - 2 / (e^2|x| + 1) beyond; P was fitted to the least relative error.
Value KernelBuilder::vtanh(Value x) {
  auto c = [&](double value) { return splatLike(x, value); };
  Value square = mulf(x, x), size = vabs(x);
  Value p = polynomial(
      square, {-5.717042134e-3, 2.065058446e-2, -5.374349712e-2, 1.333149127e-1, -3.333328392e-1});
  Value small = fma(mulf(p, square), x, x);
  Value large = subf(c(1.0), divf(c(2.0), addf(vexp(addf(size, size)), c(1.0))));
  return select(cmpf(arith::CmpFPredicate::OLT, size, c(0.625)), small, withSign(large, x));
}

// x + x·P(x²) near 0, 1 - e^(-|x|·Q(|x|)) beyond, both fitted to the least relative error.
Value KernelBuilder::verf(Value x) {
  auto c = [&](double value) { return splatLike(x, value); };
  Value square = mulf(x, x), size = minf(c(4.0), vabs(x)); // NaN stays
  Value p = polynomial(square, {8.185092776e-5, -8.097703275e-4, 5.196952077e-3, -2.685770510e-2,
                                1.128366400e-1, -3.761263161e-1, 1.283791664e-1});
  Value q = polynomial(size, {1.198171523e-5, -3.303420706e-4, 3.673229846e-3, -2.382741987e-2,
                              1.063131014e-1, 6.351050020e-1, 1.128659954});
  Value large = subf(c(1.0), vexp(negf(mulf(q, size))));
  return select(cmpf(arith::CmpFPredicate::OLT, size, c(0.95)), fma(p, x, x), withSign(large, x));
}

Value KernelBuilder::f16ToF32(Value bits) {
  if (target.f16c)
    return arith::ExtFOp::create(b, loc, withElement(bits, f32()),
                                 bitcast(bits, withElement(bits, b.getF16Type())));
  // Exponent and mantissa moved into place and scaled by 2^112; infinities and NaN get the top
  // exponent.
  Value wide = zext(bits, withElement(bits, i32()));
  auto c = [&](int64_t value) { return splatLikeInt(bits, value); };
  Value sign = shl(andi(wide, c(0x8000)), c(16));
  Value magnitude = shl(andi(wide, c(0x7fff)), c(13));
  Value scaled = mulf(bitcast(magnitude, withElement(bits, f32())), splatLike(bits, 0x1p112));
  Value special = cmpi(arith::CmpIPredicate::uge, magnitude, c(0x0f800000));
  Value result =
      select(special, ori(magnitude, c(0x7f800000)), bitcast(scaled, withElement(bits, i32())));
  return bitcast(ori(result, sign), withElement(bits, f32()));
}

Value KernelBuilder::bf16ToF32(Value bits) {
  return bitcast(shl(zext(bits, withElement(bits, i32())), splatLikeInt(bits, 16)),
                 withElement(bits, f32()));
}

Value KernelBuilder::intrinsic(StringRef name, Type result, ValueRange args) {
  return LLVM::CallIntrinsicOp::create(b, loc, result, b.getStringAttr(name), args).getResult(0);
}
