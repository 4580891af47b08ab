#include "compiler/codegen/cpu/families/Columns.h"

using namespace mlir;
using namespace lorac::cpu;

using Values = KernelBuilder::Values;

Values lorac::cpu::overColumns(KernelBuilder &k, int64_t n, ValueRange accumulators,
                               llvm::function_ref<Value(Value, int64_t, Value)> visit) {
  int64_t lanes = k.lanes(), unroll = accumulators.size();
  int64_t whole = n / (lanes * unroll) * (lanes * unroll);
  Values carried(accumulators);
  auto turn = [&](Value column, ValueRange before) {
    Values after;
    for (int64_t u = 0; u < unroll; ++u)
      after.push_back(visit(k.add(column, u * lanes), lanes, before[u]));
    return after;
  };
  if (whole > 0)
    carried = k.forLoop(k.index(0), k.index(whole), lanes * unroll, accumulators, turn);
  for (int64_t column = whole, u = 0; column < n; column += lanes, ++u)
    carried[u] = visit(k.index(column), std::min(lanes, n - column), carried[u]);
  return carried;
}

void lorac::cpu::overColumns(KernelBuilder &k, int64_t n,
                             llvm::function_ref<void(Value, int64_t)> visit) {
  int64_t lanes = k.lanes(), whole = n / lanes * lanes;
  if (whole > 0)
    k.forLoop(k.index(0), k.index(whole), lanes, [&](Value column) { visit(column, lanes); });
  if (whole < n)
    visit(k.index(whole), n - whole);
}

Value lorac::cpu::sumOf(KernelBuilder &k, ValueRange accumulators) {
  Values parts(accumulators);
  while (parts.size() > 1) {
    Values halves;
    for (size_t i = 0; i + 1 < parts.size(); i += 2)
      halves.push_back(k.addf(parts[i], parts[i + 1]));
    if (parts.size() % 2)
      halves.push_back(parts.back());
    parts = halves;
  }
  return k.reduceAdd(parts.front());
}

Value lorac::cpu::keepLive(KernelBuilder &k, Value value, int64_t live, Value other) {
  return live >= k.lanes() ? value : k.select(k.mask(live), value, other);
}

Value lorac::cpu::loadLive(KernelBuilder &k, Value memory, Value column, int64_t live) {
  return live >= k.lanes() ? k.vload(memory, column) : k.vloadMasked(memory, column, k.mask(live));
}

void lorac::cpu::storeLive(KernelBuilder &k, Value value, Value memory, ValueRange at,
                           int64_t live) {
  if (live >= k.lanes())
    k.vstore(value, memory, at);
  else
    k.vstoreMasked(value, memory, at, k.mask(live));
}

// As KernelBuilder's vexp, with the clamps' operands in the order that lets NaN through.
Value lorac::cpu::expOf(KernelBuilder &k, Value x, ExpRange range) {
  auto vector = dyn_cast<VectorType>(x.getType());
  auto c = [&](double value) -> Value {
    if (!vector)
      return k.constF32(value);
    return k.constant(DenseElementsAttr::get(vector, static_cast<float>(value)));
  };
  Type ints = vector ? Type(VectorType::get(vector.getShape(), k.i32())) : k.i32();
  auto i = [&](int32_t value) -> Value {
    if (!vector)
      return k.constI32(value);
    return k.constant(DenseElementsAttr::get(cast<VectorType>(ints), value));
  };
  constexpr double lowest = -87.3, highest = 88.37;
  Value bounded = k.maxf(c(lowest), x);
  if (range == ExpRange::Whole)
    bounded = k.minf(c(highest), bounded);
  Value shift = c(12582912.0);
  Value shifted = k.fma(bounded, c(1.44269504088896341), shift);
  Value n = k.subf(shifted, shift);
  Value r = k.fma(n, c(-0.693359375), bounded);
  r = k.fma(n, c(2.12194440e-4), r);
  Value p = c(1.9875691500e-4);
  for (double coefficient :
       {1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1})
    p = k.fma(p, r, c(coefficient));
  p = k.addf(k.fma(k.mulf(r, r), p, r), c(1.0));
  Value power = k.bitcast(k.shl(k.add(k.bitcast(shifted, ints), i(127)), i(23)), x.getType());
  Value result = k.mulf(p, power);
  result = k.select(k.cmpf(arith::CmpFPredicate::OLT, x, c(lowest)), c(0.0), result);
  if (range == ExpRange::Whole)
    result = k.select(k.cmpf(arith::CmpFPredicate::OGT, x, c(highest)),
                      c(std::numeric_limits<double>::infinity()), result);
  return result;
}

// x = 2^e · (1 + f), f in [√½ - 1, √2 - 1); the polynomial is Cephes' logf.
Value lorac::cpu::logOf(KernelBuilder &k, Value x) {
  auto c = [&](double value) { return k.constF32(value); };
  Value bits = k.bitcast(x, k.i32());
  Value exponent = k.sub(k.shr(bits, k.constI32(23)), k.constI32(127));
  Value mantissa =
      k.bitcast(k.ori(k.andi(bits, k.constI32(0x7fffff)), k.constI32(0x3f800000)), k.f32());
  Value high = k.cmpf(arith::CmpFPredicate::OGT, mantissa, c(1.41421356237));
  mantissa = k.select(high, k.mulf(mantissa, c(0.5)), mantissa);
  Value e = k.toFloat(k.select(high, k.add(exponent, k.constI32(1)), exponent), k.f32());
  Value f = k.subf(mantissa, c(1.0));
  Value square = k.mulf(f, f);
  Value p = c(7.0376836292e-2);
  for (double coefficient : {-1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
                             -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1})
    p = k.fma(p, f, c(coefficient));
  Value y = k.mulf(k.mulf(p, f), square);
  y = k.fma(e, c(-2.12194440e-4), y);
  y = k.fma(square, c(-0.5), y);
  Value result = k.fma(e, c(0.693359375), k.addf(f, y));
  Value finite = k.cmpf(arith::CmpFPredicate::OLT, x, c(std::numeric_limits<double>::infinity()));
  return k.select(finite, result, x);
}

void lorac::cpu::forEachRow(KernelBuilder &k, int64_t tile, llvm::function_ref<void(Value)> row) {
  k.forLoop(k.mul(k.begin(), tile), k.min(k.mul(k.end(), tile), k.rows()), 1, row);
}
