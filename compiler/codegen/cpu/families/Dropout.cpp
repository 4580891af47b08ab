// y [+]= x·keep/(1-p). Element e = row·cols + col is kept where word e%4 of Philox4x32-10 (Salmon
// et al. 2011) at counter {e/4 low, e/4 high, stream, micro}, key {seed, step} is at least p·2^32.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/families/Columns.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace lorac::cpu {
extern const Family dropoutFamily;
}

static FailureOr<KernelShape> describe(Location, DictionaryAttr, const CpuTarget &) {
  return KernelShape{.space = lora::TileSpace::Rows, .tile = 16};
}

namespace {

class DropoutRow {
public:
  DropoutRow(KernelBuilder &k, lora::KernelOp kernel, Value m)
      : k(k), kernel(kernel), m(m), cols(kernel.intParam("cols")), lanes(k.lanes()),
        wide(k.vec(k.builder().getI64Type(), lanes)) {}

  void emit() {
    Type i64 = wide.getElementType();
    Value first = k.fromIndex(k.mul(m, cols), i64);
    // Where rows begin at a counter, each counter serves four columns; else every lane computes its
    // own.
    int64_t shared = cols % 4 == 0 ? cols / (4 * lanes) * (4 * lanes) : 0;
    if (shared > 0)
      k.forLoop(k.index(0), k.index(shared), 4 * lanes,
                [&](Value column) { fourVectors(column, k.add(first, k.fromIndex(column, i64))); });
    if (shared < cols)
      k.forLoop(k.index(shared), k.index(cols), lanes,
                [&](Value column) { oneVector(column, k.add(first, k.fromIndex(column, i64))); });
  }

private:
  using Words = std::array<Value, 4>;

  Value wideConstant(int64_t value) { return k.constant(DenseElementsAttr::get(wide, value)); }
  Value ramp() {
    SmallVector<int64_t> values;
    for (int64_t lane = 0; lane < lanes; ++lane)
      values.push_back(lane);
    return k.constant(DenseElementsAttr::get(wide, ArrayRef<int64_t>(values)));
  }

  /// Upper and lower words of x·factor: even and odd lanes as 64-bit products, which every x86-64
  /// has.
  std::pair<Value, Value> product(Value x, int64_t factor) {
    VectorType pairs = k.vec(wide.getElementType(), lanes / 2);
    auto c = [&](int64_t value) { return k.constant(DenseElementsAttr::get(pairs, value)); };
    Value both = vector::BitCastOp::create(k.builder(), k.location(), pairs, x);
    auto words = [&](Value half) -> Value {
      return vector::BitCastOp::create(k.builder(), k.location(), k.vecI32(),
                                       k.mul(half, c(factor)));
    };
    Value even = words(k.andi(both, c(0xffffffff))), odd = words(k.shr(both, c(32)));
    SmallVector<int64_t> upper, lower;
    for (int64_t lane = 0; lane < lanes; lane += 2) {
      lower.append({lane, lanes + lane});
      upper.append({lane + 1, lanes + lane + 1});
    }
    return {k.shuffle(even, odd, upper), k.shuffle(even, odd, lower)};
  }

  /// Philox at one 64-bit counter a lane.
  Words philox(Value counter) {
    Words c{k.trunc(counter, k.vecI32()), k.trunc(k.shr(counter, wideConstant(32)), k.vecI32()),
            k.splatI32(static_cast<int32_t>(kernel.intParam("stream"))), k.broadcast(k.micro())};
    Value low = k.broadcast(k.seed()), high = k.broadcast(k.step());
    for (int round = 0; round < 10; ++round) {
      if (round > 0) {
        low = k.add(low, k.splatI32(static_cast<int32_t>(0x9E3779B9)));
        high = k.add(high, k.splatI32(static_cast<int32_t>(0xBB67AE85)));
      }
      auto [firstHigh, firstLow] = product(c[0], 0xD2511F53);
      auto [secondHigh, secondLow] = product(c[2], 0xCD9E8D57);
      c = {k.xori(k.xori(secondHigh, c[1]), low), secondLow, k.xori(k.xori(firstHigh, c[3]), high),
           firstLow};
    }
    return c;
  }

  /// Columns column..column + 4·lanes; `element` is a multiple of 4.
  void fourVectors(Value column, Value element) {
    Value counter = k.add(k.broadcast(k.shr(element, i64Constant(2)), lanes), ramp());
    Words words = philox(counter);
    // Lane g of word j belongs to element 4g + j: four vectors interleaved.
    for (int64_t part = 0; part < 4; ++part) {
      SmallVector<int64_t> pairs, quads;
      for (int64_t i = 0; i < lanes / 4; ++i) {
        int64_t group = part * (lanes / 4) + i;
        pairs.append({group, lanes + group});
      }
      Value even = k.shuffle(words[0], words[1], pairs), odd = k.shuffle(words[2], words[3], pairs);
      int64_t half = lanes / 2;
      for (int64_t i = 0; i < lanes / 4; ++i)
        quads.append({2 * i, 2 * i + 1, half + 2 * i, half + 2 * i + 1});
      apply(k.add(column, part * lanes), k.shuffle(even, odd, quads));
    }
  }

  /// Columns column..column + lanes at any element.
  void oneVector(Value column, Value element) {
    Value elements = k.add(k.broadcast(element, lanes), ramp());
    Words words = philox(k.shr(elements, wideConstant(2)));
    Value word = k.trunc(k.andi(elements, wideConstant(3)), k.vecI32());
    Value random = words[0];
    for (int64_t j = 1; j < 4; ++j)
      random = k.select(k.equal(word, k.splatI32(j)), words[j], random);
    apply(column, random);
  }

  void apply(Value column, Value random) {
    double p = kernel.floatParam("p");
    auto threshold = static_cast<uint32_t>(p * 4294967296.0);
    Value keep =
        k.cmpi(arith::CmpIPredicate::uge, random, k.splatI32(static_cast<int32_t>(threshold)));
    Value value = k.select(keep, k.mulf(k.vload(k.buffer(0), {m, column}), k.splatF32(1 / (1 - p))),
                           k.splatF32(0));
    if (kernel.intParam("accumulate"))
      value = k.addf(k.vload(k.buffer(1), {m, column}), value);
    k.vstore(value, k.buffer(1), {m, column});
  }

  Value i64Constant(int64_t value) { return k.constant(k.builder().getI64IntegerAttr(value)); }

  KernelBuilder &k;
  lora::KernelOp kernel;
  Value m;
  int64_t cols, lanes;
  VectorType wide;
};

} // namespace

static LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  MLIRContext *context = kernel.getContext();
  KernelBuilder k(kernel, builder, target,
                  {KernelBuilder::activation(context, kernel.intParam("ldx")),
                   KernelBuilder::activation(context, kernel.intParam("ldy"))});
  forEachRow(k, kernel.getTile(), [&](Value m) { DropoutRow(k, kernel, m).emit(); });
  return success();
}

static int64_t flops(DictionaryAttr params, int64_t rows) {
  return rows * intParam(params, "cols");
}

const Family lorac::cpu::dropoutFamily = {
    "dropout", "y [+]= x · (Philox4x32-10(element) >= p·2^32) / (1 - p)", describe, build, flops};
