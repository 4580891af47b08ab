// AdaLoRA's programs, by the table of modules (LoracTriplets); a tile is a module. The update
// B·diag(E)·A runs as one of LoRA: F = B·diag(E) stands in B's place (@fold), then B again
// (@unfold); of the gradient by F become those by B and E (@unfold_grads). A score of each triplet
// is formed from the importance (@scores; AdaLoRA, eq. 7); triplets that are masked or died become
// zero (@zero_triplets). Sums are in float64.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/families/Columns.h"
#include "runtime/abi.h"
#include "runtime/formats/Dynamic8.h"

#include <cstddef>

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace lorac::cpu {
extern const Family foldTripletsFamily, unfoldTripletsFamily, unfoldGradientsFamily,
    tripletScoresFamily, tripletZerosFamily;
}

using Values = KernelBuilder::Values;

static constexpr int64_t fields = sizeof(LoracTriplets) / sizeof(int32_t), flat = manyRows << 16;
static constexpr int64_t partials = 8; // sums that a row of A is added to in turn

static FailureOr<KernelShape> describe(Location, DictionaryAttr, const CpuTarget &) {
  return KernelShape{.space = lora::TileSpace::Rows, .tile = 1, .scratch = partials * 8};
}

static MemRefType table(OpBuilder &b) {
  return KernelBuilder::dense({manyRows, fields}, b.getI32Type());
}
static MemRefType floats(OpBuilder &b) { return KernelBuilder::dense({flat}, b.getF32Type()); }

namespace {

// One module's row of the table, as index values.
struct Triplets {
  Triplets(KernelBuilder &k, Value table, Value module) {
    auto field = [&](size_t offset) {
      return k.toIndex(k.load(table, {module, k.index(int64_t(offset / sizeof(int32_t)))}));
    };
    a = field(offsetof(LoracTriplets, a)), b = field(offsetof(LoracTriplets, b));
    e = field(offsetof(LoracTriplets, e)), rank = field(offsetof(LoracTriplets, rank));
    in = field(offsetof(LoracTriplets, in)), out = field(offsetof(LoracTriplets, out));
    unfolded = field(offsetof(LoracTriplets, unfolded));
    first = field(offsetof(LoracTriplets, first));
  }
  Value a, b, e, rank, in, out, unfolded, first;
};

} // namespace

// The kernel of a family that takes the table and then regions of floats: `body` for each module.
static LogicalResult
overModules(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target, unsigned regions,
            llvm::function_ref<void(KernelBuilder &k, const Triplets &of)> body) {
  SmallVector<MemRefType> buffers(1 + regions, floats(builder));
  buffers[0] = table(builder);
  KernelBuilder k(kernel, builder, target, buffers);
  forEachRow(k, kernel.getTile(), [&](Value module) { body(k, Triplets(k, k.buffer(0), module)); });
  return success();
}

// `body` for each vector of columns of B, and the mask of those that are there.
static void overColumnsOfB(KernelBuilder &k, const Triplets &of,
                           llvm::function_ref<void(Value column, Value mask)> body) {
  k.forLoop(k.index(0), of.rank, k.lanes(),
            [&](Value column) { body(column, k.mask(k.sub(of.rank, column))); });
}

static Value placeInB(KernelBuilder &k, const Triplets &of, Value row, Value column) {
  return k.add(k.mul(row, of.rank), column);
}

static Value toF64(KernelBuilder &k, Value x) {
  return arith::ExtFOp::create(
      k.builder(), k.location(),
      k.vec(k.builder().getF64Type(), cast<VectorType>(x.getType()).getNumElements()), x);
}
static Value toF32(KernelBuilder &k, Value x) {
  Type to = k.f32();
  if (auto vector = dyn_cast<VectorType>(x.getType()))
    to = k.vec(to, vector.getNumElements());
  return arith::TruncFOp::create(k.builder(), k.location(), to, x);
}
static Value countF64(KernelBuilder &k, Value index) {
  return k.toFloat(k.fromIndex(index, k.i32()), k.builder().getF64Type());
}

// Σ over the rows of B of `term(place in B)`, in their order, for a vector of columns.
static Value sumOverRows(KernelBuilder &k, const Triplets &of, Value column,
                         llvm::function_ref<Value(Value at)> term) {
  Value none = k.constant(DenseElementsAttr::get(k.vec(k.builder().getF64Type(), k.lanes()), 0.0));
  return k.forLoop(k.index(0), of.out, 1, {none}, [&](Value row, ValueRange sums) {
    return Values{k.addf(sums[0], term(placeInB(k, of, row, column)))};
  })[0];
}

static LogicalResult buildFold(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  return overModules(kernel, builder, target, 2, [](KernelBuilder &k, const Triplets &of) {
    Value params = k.buffer(1), unfolded = k.buffer(2);
    overColumnsOfB(k, of, [&](Value column, Value mask) {
      Value e = k.vloadMasked(params, k.add(of.e, column), mask);
      k.forLoop(k.index(0), of.out, 1, [&](Value row) {
        Value at = placeInB(k, of, row, column);
        Value b = k.vloadMasked(params, k.add(of.b, at), mask);
        k.vstoreMasked(b, unfolded, k.add(of.unfolded, at), mask);
        k.vstoreMasked(k.mulf(b, e), params, k.add(of.b, at), mask);
      });
    });
  });
}

static LogicalResult buildUnfold(lora::KernelOp kernel, OpBuilder &builder,
                                 const CpuTarget &target) {
  return overModules(kernel, builder, target, 2, [](KernelBuilder &k, const Triplets &of) {
    Value unfolded = k.buffer(1), params = k.buffer(2);
    Value count = k.mul(of.out, of.rank);
    k.forLoop(k.index(0), count, k.lanes(), [&](Value i) {
      Value mask = k.mask(k.sub(count, i));
      k.vstoreMasked(k.vloadMasked(unfolded, k.add(of.unfolded, i), mask), params, k.add(of.b, i),
                     mask);
    });
  });
}

static LogicalResult buildGradients(lora::KernelOp kernel, OpBuilder &builder,
                                    const CpuTarget &target) {
  return overModules(kernel, builder, target, 2, [](KernelBuilder &k, const Triplets &of) {
    Value params = k.buffer(1), grads = k.buffer(2);
    overColumnsOfB(k, of, [&](Value column, Value mask) {
      Value e = k.vloadMasked(params, k.add(of.e, column), mask);
      Value sum = sumOverRows(k, of, column, [&](Value at) {
        Value place = k.add(of.b, at), g = k.vloadMasked(grads, place, mask);
        k.vstoreMasked(k.mulf(g, e), grads, place, mask);
        return k.mulf(toF64(k, g), toF64(k, k.vloadMasked(params, place, mask)));
      });
      k.vstoreMasked(toF32(k, sum), grads, k.add(of.e, column), mask);
    });
  });
}

// The mean of `s·u` over `count` neighbours: eight partial sums, added in order.
static Value meanOfRow(KernelBuilder &k, Value s, Value u, Value begin, Value count) {
  Type f64 = k.builder().getF64Type();
  Value sums = k.scratch(0, {partials}, f64);
  VectorType narrow = k.vec(k.f32(), partials), wide = k.vec(f64, partials);
  Value whole = k.mul(k.div(count, partials), partials);
  Value total =
      k.forLoop(k.index(0), whole, partials, {k.constant(DenseElementsAttr::get(wide, 0.0))},
                [&](Value i, ValueRange sum) {
                  Value at = k.add(begin, i);
                  return Values{k.addf(
                      sum[0], toF64(k, k.mulf(k.vload(narrow, s, at), k.vload(narrow, u, at))))};
                })[0];
  k.vstore(total, sums, k.index(0));
  k.forLoop(whole, count, 1, [&](Value i) {
    Value at = k.add(begin, i), lane = k.sub(i, whole);
    Value term =
        arith::ExtFOp::create(k.builder(), k.location(), f64, k.mulf(k.load(s, at), k.load(u, at)));
    k.store(k.addf(k.load(sums, lane), term), sums, lane);
  });
  Value sum = k.load(sums, k.index(0));
  for (int64_t lane = 1; lane < partials; ++lane)
    sum = k.addf(sum, k.load(sums, k.index(lane)));
  return toF32(k, k.divf(sum, countF64(k, count)));
}

static LogicalResult buildScores(lora::KernelOp kernel, OpBuilder &builder,
                                 const CpuTarget &target) {
  return overModules(kernel, builder, target, 3, [](KernelBuilder &k, const Triplets &of) {
    Value s = k.buffer(1), u = k.buffer(2), scores = k.buffer(3);
    k.forLoop(k.index(0), of.rank, 1, [&](Value i) {
      k.store(meanOfRow(k, s, u, k.add(of.a, k.mul(i, of.in)), of.in), scores, k.add(of.first, i));
    });
    overColumnsOfB(k, of, [&](Value column, Value mask) {
      auto product = [&](Value at) {
        return k.mulf(k.vloadMasked(s, at, mask), k.vloadMasked(u, at, mask));
      };
      Value sum =
          sumOverRows(k, of, column, [&](Value at) { return toF64(k, product(k.add(of.b, at))); });
      Value ofB = toF32(k, k.divf(sum, k.broadcast(countF64(k, of.out))));
      Value place = k.add(of.first, column);
      Value ofBoth = k.addf(k.vloadMasked(scores, place, mask), ofB);
      k.vstoreMasked(k.addf(product(k.add(of.e, column)), ofBoth), scores, place, mask);
    });
  });
}

namespace {

// Where one region has a factor's numbers, and what zero is there.
struct ZeroedRegion {
  ZeroedRegion(KernelBuilder &k, lora::Storage storage, Value memory)
      : storage(storage), memory(memory) {
    if (!lora::isCode(storage)) {
      zero = k.constF32(0);
      return;
    }
    const bool isSigned = storage == lora::Storage::DynamicSigned;
    zero = k.constant(k.builder().getI8IntegerAttr(int8_t(
        formats::dynamicZero(isSigned ? formats::Dynamic8::Signed : formats::Dynamic8::Unsigned))));
  }

  // Of a factor whose elements begin at `base` of whole regions; `own`: at so many of compact ones,
  // or less than 0, where its states have 8 bits. `part` visits elements, counted from the factor's
  // first.
  void clear(KernelBuilder &k, Value base, Value own,
             llvm::function_ref<void(llvm::function_ref<void(Value)>)> part) const {
    auto all = [&] {
      part([&](Value i) {
        k.store(zero, memory, k.add(storage == lora::Storage::Compact ? own : base, i));
      });
    };
    if (storage == lora::Storage::Floats)
      return all();
    Value isOfCodes = k.less(own, k.index(0));
    k.ifThen(lora::isCode(storage) ? isOfCodes : k.cmpi(arith::CmpIPredicate::sge, own, k.index(0)),
             all);
  }

  lora::Storage storage;
  Value memory, zero;
};

} // namespace

// All regions that a parameter has a place in, as many as the launch brings; the parameters first.
// Where some are of other storages (`storage`), the table `owns` says where factors lie in them.
static LogicalResult buildZeros(lora::KernelOp kernel, OpBuilder &builder,
                                const CpuTarget &target) {
  const SmallVector<lora::Storage> storage = lora::KernelOp::storageOf(kernel.getParams());
  const bool hasOwns =
      llvm::any_of(storage, [](lora::Storage of) { return of != lora::Storage::Floats; });
  MemRefType integers = KernelBuilder::dense({flat}, builder.getI32Type());
  SmallVector<MemRefType> buffers{table(builder), integers};
  if (hasOwns)
    buffers.push_back(KernelBuilder::dense({manyRows, 3}, builder.getI32Type()));
  for (lora::Storage of : storage)
    buffers.push_back(lora::isCode(of) ? KernelBuilder::dense({flat}, builder.getI8Type())
                                       : floats(builder));
  KernelBuilder k(kernel, builder, target, buffers);
  SmallVector<ZeroedRegion> regions;
  for (auto [i, of] : llvm::enumerate(storage))
    regions.emplace_back(k, of, k.buffer(unsigned(2 + hasOwns + i)));
  forEachRow(k, kernel.getTile(), [&](Value module) {
    const Triplets of(k, k.buffer(0), module);
    auto own = [&](int64_t factor) {
      return hasOwns ? k.toIndex(k.load(k.buffer(2), {module, k.index(factor)})) : k.index(0);
    };
    Value ownA = own(0), ownB = own(1), ownE = own(2), none = k.index(0);
    k.forLoop(none, of.rank, 1, [&](Value i) {
      Value state = k.load(k.buffer(1), k.add(of.first, i));
      k.ifThen(k.less(state, k.constI32(LORAC_TRIPLET_ALIVE)),
               [&] { k.store(k.constF32(0), regions.front().memory, k.add(of.e, i)); });
      k.ifThen(k.equal(state, k.constI32(LORAC_TRIPLET_DEAD)), [&] {
        for (const ZeroedRegion &region : regions) {
          region.clear(k, of.a, ownA, [&](llvm::function_ref<void(Value)> zero) {
            Value row = k.mul(i, of.in);
            k.forLoop(none, of.in, 1, [&](Value column) { zero(k.add(row, column)); });
          });
          region.clear(k, of.b, ownB, [&](llvm::function_ref<void(Value)> zero) {
            k.forLoop(none, of.out, 1, [&](Value row) { zero(placeInB(k, of, row, i)); });
          });
          region.clear(k, of.e, ownE, [&](llvm::function_ref<void(Value)> zero) { zero(i); });
        }
      });
    });
  });
  return success();
}

static int64_t flops(DictionaryAttr, int64_t) { return 0; }

const Family lorac::cpu::foldTripletsFamily = {
    "fold_triplets", "unfolded = B, B = B·diag(E), of each module", describe, buildFold, flops};
const Family lorac::cpu::unfoldTripletsFamily = {"unfold_triplets", "B = unfolded, of each module",
                                                 describe, buildUnfold, flops};
const Family lorac::cpu::unfoldGradientsFamily = {
    "unfold_gradients", "dE_i = Σ_rows dB[row, i]·B[row, i], dB = dB·diag(E)", describe,
    buildGradients, flops};
const Family lorac::cpu::tripletScoresFamily = {
    "triplet_scores", "s(E_i) + mean of s over row i of A + over column i of B, s = Ibar·Ubar",
    describe, buildScores, flops};
const Family lorac::cpu::tripletZerosFamily = {
    "triplet_zeros", "E = 0 of masked triplets; A, B, E of dead ones, in every region", describe,
    buildZeros, flops};
