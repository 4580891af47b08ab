// out = [base +] in·M [+ scale·t·F]: the adapted NF4 linear and its dX share one shape of kernel, a
// 64x64 tile of outputs, 16 deep. Forward: M = Wᵀ, F = Bᵀ. Backward: M = W, F = A. W is decoded
// while its tile is filled, so it never exists as a matrix.

#include "compiler/codegen/cuda/AdaptedLinear.h"
#include "compiler/codegen/cuda/DeviceBuilder.h"
#include "runtime/formats/Codebooks.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace lorac::cuda;
using namespace lorac::lora;

namespace {

constexpr int64_t Tile = 64, Depth = 16, Threads = 256,
                  PerThread = 4; // 16x16 threads, 4x4 outputs each

struct Shape {
  bool backward;
  int64_t n, k, rank;
  int64_t
      ldt; ///< floats from a row of t to the next: more than the rank where t is a stack's columns
  int64_t block;
  bool base;
  double scale;
  int64_t depth() const { return backward ? n : k; }
  int64_t width() const { return backward ? k : n; }
};

class Kernel {
  using Value = mlir::Value;

public:
  Kernel(OpBuilder &builder, Location loc, StringRef name, const Shape &shape)
      : shape(shape), d(builder, loc, name, Threads, arguments(builder)) {
    unsigned next = 0;
    in = d.argument(next++), codes = d.argument(next++), absmax = d.argument(next++),
    nested = d.argument(next++);
    if (shape.rank)
      t = d.argument(next++), factor = d.argument(next++);
    if (shape.base)
      base = d.argument(next++);
    out = d.argument(next++), rows = d.argument(next++);
  }

  func::FuncOp build() {
    nf4 = d.table("nf4_codes", lorac::formats::nf4Codes);
    thread = d.thread("thread");
    Value rowBlock = d.block("row_block", gpu::Dimension::y),
          colBlock = d.block("col_block", gpu::Dimension::x);
    firstRow = d.named("first_row", d.mul(rowBlock, Tile));
    firstCol = d.named("first_col", d.mul(colBlock, Tile));
    myRow = d.named("my_row", d.mul(d.div(thread, Tile / PerThread), PerThread));
    myCol = d.named("my_col", d.mul(d.rem(thread, Tile / PerThread), PerThread));
    inTile = d.allocate("in_tile", {Depth, Tile + 4}, d.f32(),
                        Space::Shared); // + 4: rows begin in different banks
    mTile = d.allocate("m_tile", {Depth, Tile + 4}, d.f32(), Space::Shared);
    sum = d.allocate("sum", {PerThread, PerThread}, d.f32(), Space::Local);

    d.comment(shape.base ? "each sum is one chain that starts from the value it is added to"
                         : "each sum is one chain");
    eachOutput([&](Value i, Value j, Value row, Value col, Value inside) {
      Value start = shape.base ? d.loadWhere("start", inside, base, {at(row, shape.width(), col)})
                               : d.number(0);
      d.store(start, sum, {i, j});
    });
    panels(
        shape.depth(), in, shape.depth(),
        [&](Value deep, Value col) { return decodeAt(deep, col); },
        "panels of the frozen weight, decoded as they are read");
    if (shape.rank)
      panels(
          shape.rank, t, shape.ldt, [&](Value deep, Value col) { return factorAt(deep, col); },
          "the low-rank update: the same product over the rank");
    eachOutput([&](Value i, Value j, Value row, Value col, Value inside) {
      d.where(inside, [&] { d.store(d.load(sum, {i, j}), out, {at(row, shape.width(), col)}); });
    });
    return d.function();
  }

private:
  Shape shape;
  DeviceBuilder d;
  Value in, codes, absmax, nested, t, factor, base, out, rows;
  Value nf4, thread, firstRow, firstCol, myRow, myCol, inTile, mTile, sum;

  SmallVector<DeviceBuilder::Argument> arguments(OpBuilder &b) {
    auto flat = [&](Type element) { return MemRefType::get({ShapedType::kDynamic}, element); };
    Type f = flat(b.getF32Type()), u = flat(b.getI8Type());
    SmallVector<DeviceBuilder::Argument> all{
        {shape.backward ? "dy" : "x", f}, {"codes", u}, {"absmax", u}, {"nested", f}};
    if (shape.rank)
      all.append({{shape.backward ? "dt" : "t", f}, {shape.backward ? "lora_A" : "lora_B", f}});
    if (shape.base)
      all.push_back({shape.backward ? "onto" : "residual", f});
    all.push_back({shape.backward ? "dx" : "y", f, /*written=*/true});
    all.push_back({"rows", b.getI32Type()});
    return all;
  }

  Value at(Value row, int64_t width, Value col) { return d.add(d.mul(row, width), col); }

  void eachOutput(llvm::function_ref<void(Value, Value, Value, Value, Value)> body) {
    d.loop("i", 0, PerThread, 1, true, [&](Value i) {
      d.loop("j", 0, PerThread, 1, true, [&](Value j) {
        Value row = d.named("row", d.add(d.add(firstRow, myRow), i));
        Value col = d.named("col", d.add(d.add(firstCol, myCol), j));
        Value inside =
            d.named("inside", d.both(d.less(row, rows), d.less(col, d.constant(shape.width()))));
        body(i, j, row, col, inside);
      });
    });
  }

  // sum += left[rows, depth]·right[depth, width], tile by tile; rows of left are `ld` apart.
  void panels(int64_t depth, Value left, int64_t ld, llvm::function_ref<Value(Value, Value)> right,
              StringRef words) {
    d.comment(words);
    d.loop("deep", 0, depth, Depth, false, [&](Value deep) {
      d.loop("e", thread, d.constant(Tile * Depth), Threads, false, [&](Value e) {
        Value r = d.named("r", d.div(e, Depth)), k = d.named("k", d.rem(e, Depth));
        Value inside =
            d.both(d.less(d.add(firstRow, r), rows), d.less(d.add(deep, k), d.constant(depth)));
        d.store(d.loadWhere("value", inside, left, {at(d.add(firstRow, r), ld, d.add(deep, k))}),
                inTile, {k, r});
      });
      d.loop("e", thread, d.constant(Tile * Depth), Threads, false, [&](Value e) {
        // Neighbouring threads read neighbouring elements of W's rows.
        Value k = d.named("k", shape.backward ? d.div(e, Tile) : d.rem(e, Depth));
        Value c = d.named("c", shape.backward ? d.rem(e, Tile) : d.div(e, Depth));
        d.store(d.number(0), mTile, {k, c});
        Value inside = d.both(d.less(d.add(deep, k), d.constant(depth)),
                              d.less(d.add(firstCol, c), d.constant(shape.width())));
        d.where(inside, [&] { d.store(right(d.add(deep, k), d.add(firstCol, c)), mTile, {k, c}); });
      });
      d.barrier();
      d.loop("k", 0, Depth, 1, true, [&](Value k) {
        d.loop("i", 0, PerThread, 1, true, [&](Value i) {
          d.loop("j", 0, PerThread, 1, true, [&](Value j) {
            Value x = d.load(inTile, {k, d.add(myRow, i)}), m = d.load(mTile, {k, d.add(myCol, j)});
            d.store(d.fma(x, m, d.load(sum, {i, j})), sum, {i, j});
          });
        });
      });
      d.barrier();
    });
  }

  // W[n, k]; blocks run over the flat matrix and straddle rows.
  Value decodeAt(Value deep, Value col) {
    Value flat = d.named("flat", shape.backward ? at(deep, shape.k, col) : at(col, shape.k, deep));
    Value pair = d.wide(d.load(codes, {d.div(flat, 2)}));
    Value even = d.less(d.rem(flat, 2), d.constant(1)); // the first of a pair is in the high nibble
    Value code = d.named(
        "code", d.andi(d.shr(pair, d.select(even, d.constant(4), d.constant(0))), d.constant(15)));
    Value block = d.named("block", d.div(flat, shape.block));
    Value map = d.load(nested, {d.wide(d.load(absmax, {block}))});
    Value scale =
        d.named("scale", d.addf(d.mulf(map, d.load(nested, {d.add(d.div(block, 256), 257)})),
                                d.load(nested, {d.constant(256)})));
    return d.mulf(d.load(nf4, {code}), scale);
  }

  Value factorAt(Value deep, Value col) {
    if (shape.backward)
      return d.load(factor, {at(deep, shape.k, col)});
    return d.mulf(d.load(factor, {at(col, shape.rank, deep)}), d.number(shape.scale));
  }
};

FailureOr<LinearKernel> build(Operation *op, const Shape &shape, WeightType weight,
                              ModuleOp device) {
  if (weight.getFormat() != FormatKind::NF4 || !weight.getDoubleQuant())
    return op->emitError(
               "the CUDA target has kernels for double-quantized NF4 weights so far, got ")
           << weight;
  std::string rank;
  if (shape.rank)
    rank = "_r" + std::to_string(shape.rank);
  if (shape.ldt != shape.rank)
    rank += "of" + std::to_string(shape.ldt);
  std::string name = llvm::formatv("adapted_linear{0}_nf4_{1}x{2}{3}{4}",
                                   shape.backward ? "_backward" : "", shape.n, shape.k, rank,
                                   shape.base ? (shape.backward ? "_onto" : "_residual") : "");
  LinearKernel kernel;
  kernel.preface = shape.backward ? "dx = " + std::string(shape.base ? "onto + " : "") + "dy·W" +
                                        (shape.rank ? " + dt·lora_A" : "")
                                  : "y = " + std::string(shape.base ? "residual + " : "") + "x·Wᵀ" +
                                        (shape.rank ? " + scale·t·lora_Bᵀ" : "");
  kernel.preface += llvm::formatv("\nW [{0}, {1}] is NF4 in blocks of {2}, scales in 8 bits: "
                                  "nested = map[256], offset, nested absmax.",
                                  shape.n, shape.k, shape.block);
  kernel.preface += llvm::formatv(
      "\ngrid ({0}, ceil(rows / {1})), {2} threads; activations [rows, n], row-major, dense.",
      (shape.width() + Tile - 1) / Tile, Tile, Threads);
  if (shape.ldt != shape.rank)
    kernel.preface += llvm::formatv("\n{0}: {1} of {2} columns, those of one module of a stack.",
                                    shape.backward ? "dt" : "t", shape.rank, shape.ldt);
  OpBuilder builder = OpBuilder::atBlockEnd(device.getBody());
  Location place =
      op->getLoc(); // without its name: names are for values that the reader of the CUDA text meets
  if (auto named = dyn_cast<NameLoc>(place))
    place = named.getChildLoc();
  kernel.function = Kernel(builder, place, name, shape).build();
  return kernel;
}

} // namespace

static int64_t columnsOf(Value t) {
  return t ? cast<RankedTensorType>(t.getType()).getDimSize(1) : 0;
}

// Columns of the matrix that t lies in.
static int64_t strideOf(Value t) {
  auto columns = t ? t.getDefiningOp<ColumnsOp>() : ColumnsOp();
  return columnsOf(columns ? columns.getX() : t);
}

FailureOr<LinearKernel> lorac::cuda::buildAdaptedLinear(AdaptedLinearOp op, ModuleOp device) {
  auto weight = cast<WeightType>(op.getWeight().getType());
  return build(op,
               {false, weight.getShape()[0], weight.getShape()[1], columnsOf(op.getT()),
                strideOf(op.getT()), weight.getBlock(), bool(op.getResidual()),
                op.getScale().convertToDouble()},
               weight, device);
}

FailureOr<LinearKernel> lorac::cuda::buildAdaptedLinearBackward(AdaptedLinearBackwardOp op,
                                                                ModuleOp device) {
  auto weight = cast<WeightType>(op.getWeight().getType());
  return build(op,
               {true, weight.getShape()[0], weight.getShape()[1], columnsOf(op.getDt()),
                strideOf(op.getDt()), weight.getBlock(), bool(op.getOnto()), 1.0},
               weight, device);
}
