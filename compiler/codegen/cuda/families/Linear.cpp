// y = [res +] x·Wᵀ + scale·t·bᵀ and dx [+]= dy·W + dt·a: panels of the frozen weight, 64 deep, come
// by asynchronous copies in stages; a quantized panel is decoded to 16 bits in shared memory while
// the tensor cores work on the one before. The low-rank update is one more panel, as deep as its
// rank.

#include "compiler/codegen/cuda/Limits.h"
#include "compiler/codegen/cuda/families/FrozenTile.h"
#include "compiler/codegen/cuda/families/LinearEpilogue.h"
#include "compiler/codegen/cuda/families/WarpgroupTile.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family linearForwardFamily, linearBackwardFamily;
}

namespace {

constexpr int64_t Depth = 64;

// Of a warpgroup's panels two are being read, one is there and one comes.
int64_t stagesOf(const TileShape &tile) { return tile.warpgroups ? 4 : 3; }

struct Shape {
  bool backward;
  int64_t n, k, rank, ldIn, ldOut, ldt, ldRes;
  bool residual, accumulate;
  double scale;
  TileShape tile;
  int64_t depth() const { return backward ? n : k; }
  int64_t width() const { return backward ? k : n; }
};

FrozenTile::Shape frozenShape(bool backward, int64_t n, int64_t k, const TileShape &tile) {
  return {.n = n,
          .k = k,
          .backward = backward,
          .cols = tile.cols,
          .threads = tile.threads(),
          .stages = stagesOf(tile),
          .buffers = tile.warpgroups ? 3 : 2,
          .warpgroups = tile.warpgroups,
          .exactScales = tile.rows < 128};
}

int64_t sharedBytes(const TileShape &tile, const FrozenTile::Shape &frozen,
                    const formats::WeightFormat &format) {
  return std::max(stagesOf(tile) * tile.rows * Depth * 2 + FrozenTile::sharedBytes(format, frozen),
                  LinearEpilogue::sharedBytes(tile));
}

struct Choice {
  TileShape tile;
  double rate;
};
constexpr Choice ofWarps[] = {
    {{256, 128, 64, 64}, 1.0}, {{128, 128, 64, 32}, 0.75}, {{64, 64, 32, 32}, 0.6}};
constexpr Choice ofWarpgroups[] = {{{256, 128, 32, 128, true}, 1.0},
                                   {{128, 256, 16, 256, true}, 1.0},
                                   {{128, 128, 16, 128, true}, 0.75},
                                   {{64, 128, 16, 128, true}, 0.6}};
ArrayRef<Choice> choicesOf(const CudaTarget &target) {
  return target.warpgroups() ? ArrayRef<Choice>(ofWarpgroups) : ArrayRef<Choice>(ofWarps);
}

// The tile that should be done first: rounds of blocks over the device, each as long as the tile's
// area and its rate (of an H100, docs/gpu.md; the largest is 1).
TileShape chooseTile(DictionaryAttr params, bool backward, const CudaTarget &target) {
  int64_t n = intParam(params, "n"), k = intParam(params, "k"), rows = intParam(params, "rows"),
          width = backward ? k : n;
  formats::WeightFormat format = *formats::parseWeightFormat(stringParam(params, "format"));
  TileShape best;
  double least = std::numeric_limits<double>::infinity();
  for (const Choice &choice : choicesOf(target)) {
    const TileShape &tile = choice.tile;
    int64_t blocks = ceilDiv(rows, tile.rows) * ceilDiv(width, tile.cols);
    double cost =
        double(ceilDiv(blocks, target.multiprocessors) * tile.rows * tile.cols) / choice.rate;
    // Rows of W are stored in multiples of 128.
    bool stored = backward || tile.cols <= 128 || roundUp(n, 128) % tile.cols == 0;
    bool fits = stored && sharedBytes(tile, frozenShape(backward, n, k, tile), format) <=
                              target.sharedPerBlock;
    if (fits && LinearEpilogue::serves(params, tile) && cost < least)
      best = tile, least = cost;
  }
  return best;
}

class LinearKernel {
public:
  LinearKernel(Kernel &kernel, const Shape &shape)
      : kernel(kernel), shape(shape), format(*formats::parseWeightFormat(kernel.string("format"))),
        d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), shape.tile.threads(),
          kernel.compute(), arguments()),
        in(d.next()), frozen(d, kernel, frozenShape(shape.backward, shape.n, shape.k, shape.tile)),
        rows(d.rows()), firstRow(rows), firstCol(rows), inTo(rows), inCol(rows), inMask(rows) {
    if (shape.rank)
      t = d.next(), factor = d.next();
    epilogue.emplace(d, kernel,
                     LinearEpilogue::Shape{shape.width(), shape.ldOut, shape.ldRes, shape.residual,
                                           shape.accumulate, shape.tile});
  }

  void build() {
    firstRow = d.named("first_row", d.blockY() * shape.tile.rows);
    firstCol = d.named("first_col", d.blockX() * shape.tile.cols);
    d.returnIf(rows <= firstRow);
    inTile = SwizzledTile(d, "in_tile", stages() * shape.tile.rows * Depth, Depth,
                          shape.tile.warpgroups ? 1024 : 128);
    frozen.prepare(firstCol);
    prepareIn();
    if (shape.tile.warpgroups) {
      WarpgroupTile product(d, shape.tile);
      product.prepareAsync(inTile, frozen.tile(), shape.backward);
      groupLoop(product);
      finish(product);
    } else {
      WarpTile product(d, shape.tile);
      product.prepare(inTile, frozen.tile(), shape.backward);
      mainLoop(product);
      finish(product);
    }
  }

private:
  SmallVector<DeviceBuilder::Argument> arguments() {
    unsigned buffer = 0;
    SmallVector<DeviceBuilder::Argument> all{
        kernel.argument(shape.backward ? "dy" : "x", buffer++)};
    llvm::append_range(all, kernel.weightArguments());
    if (shape.rank) {
      all.push_back(kernel.argument(shape.backward ? "dt" : "t", buffer++));
      all.push_back(kernel.argument(shape.backward ? "lora_A" : "lora_B", buffer++));
    }
    LinearEpilogue::addArguments(kernel, buffer, all);
    return all;
  }

  void finish(WarpTile &product) {
    if (shape.rank)
      lowRank(product);
    epilogue->write(rows, firstRow, firstCol,
                    [&](LinearEpilogue::Pair pair) { product.eachPair(pair); });
  }

  int64_t stages() const { return stagesOf(shape.tile); }
  Int inBegin(Int stage) { return stage * (shape.tile.rows * Depth * 2); }

  int64_t copies() const { return shape.tile.rows * 8 / shape.tile.threads(); }
  int64_t rowsACopy() const { return shape.tile.threads() / 8; }

  // What a thread's copies have in common, before the loop: one piece of every few rows. Rows that
  // are not there become zero.
  void prepareIn() {
    Int row = d.named("in_row", d.thread() / 8), piece = d.named("in_piece", d.thread() % 8);
    inFrom = d.pointer("in_from", in, (firstRow + row) * shape.ldIn + piece * 8);
    inTo = d.keep("in_to", inTile.piece(d.constant(0), row, piece));
    inCol = piece * 8;
    // One bit a copy.
    Value mask = d.variable("mask", d.constant(0));
    for (int64_t c = 0; c < copies(); ++c) {
      Bool there = firstRow + row + c * rowsACopy() < rows;
      d.set(mask, d.getInt(mask) + d.select(there, d.constant(int64_t(1) << c), d.constant(0)));
    }
    inMask = d.keep("in_mask", d.getInt(mask));
  }

  void loadIn(Int step, Int stage) {
    Value from = d.pointer("from", inFrom, step * Depth);
    Int to = d.named("to", inTo + inBegin(stage));
    for (int64_t c = 0; c < copies(); ++c) {
      Int size = d.select((inMask & (int64_t(1) << c)) == 0, d.constant(0), d.constant(16));
      if (shape.depth() % Depth) // and columns
        size =
            max(d.constant(0), min(size, (d.constant(shape.depth()) - step * Depth - inCol) * 2));
      d.copyAsync(from, d.constant(c * rowsACopy() * shape.ldIn), inTile.bytes,
                  to + c * rowsACopy() * Depth * 2, size);
    }
  }

  void load(Int step, Int stage) {
    loadIn(step, stage);
    frozen.load(step, stage);
  }

  void mainLoop(WarpTile &product) {
    int64_t steps = ceilDiv(shape.depth(), Depth);
    for (int64_t stage = 0; stage < stages() - 1; ++stage) {
      if (stage < steps)
        load(d.constant(stage), d.constant(stage));
      d.commit();
    }
    bool decodes = frozen.decodes();
    if (decodes) {
      d.wait(stages() - 2);
      d.barrier();
      frozen.decode(d.constant(0), d.constant(0), d.constant(0), 0, frozen.decodeRounds());
    }
    Value stage = d.variable("stage", d.constant(0));
    auto later = [&](StringRef name, int64_t ahead) {
      Int sum = d.getInt(stage) + ahead;
      return d.named(name, d.select(sum < stages(), sum, sum - stages()));
    };
    // Decoding runs a panel ahead, so one panel more must have come, and the last has none to
    // decode.
    d.comment("panels of the frozen weight");
    d.loop("panel", 0, decodes ? steps - 1 : steps, 1, [&](Int step) {
      d.wait(decodes ? stages() - 3 : stages() - 2);
      d.barrier();
      d.where(step + (stages() - 1) < steps,
              [&] { load(step + (stages() - 1), later("load_stage", stages() - 1)); });
      d.commit();
      Int now = d.named("now", d.getInt(stage));
      if (decodes)
        multiplyAndDecode(product, step, now, later("next_stage", 1));
      else
        product.multiply(inTile, inBegin(now), frozen.tile(), frozen.begin(now), shape.backward,
                         Depth);
      d.set(stage, later("after", 1));
    });
    if (decodes) {
      d.wait(0);
      d.barrier();
      product.multiply(inTile, inBegin(d.getInt(stage)), frozen.tile(),
                       frozen.begin(d.constant((steps - 1) % 2)), shape.backward, Depth);
    }
    d.wait(0);
    d.barrier();
  }

  // In turns, so that tensor cores have work while codes are looked up.
  void multiplyAndDecode(WarpTile &product, Int step, Int now, Int next) {
    int64_t steps = Depth / 16, rounds = frozen.decodeRounds(), turns = std::min(steps, rounds);
    for (int64_t turn = 0; turn < turns; ++turn) {
      int64_t k = turn * steps / turns, round = turn * rounds / turns;
      product.multiplySteps(inTile, inBegin(now), frozen.tile(), frozen.begin(step % 2),
                            shape.backward, k, (turn + 1) * steps / turns - k);
      frozen.decode(step + 1, next, (step + 1) % 2, round, (turn + 1) * rounds / turns - round);
    }
  }

  // By warpgroups: products run behind the warps' backs, so those of a panel begin before the
  // panel's before are done, and codes of the next are decoded meanwhile. What two products may be
  // reading is not written: rows come two panels ahead into four stages, decoded tiles are three.
  void groupLoop(WarpgroupTile &product) {
    int64_t steps = ceilDiv(shape.depth(), Depth);
    bool decodes = frozen.decodes();
    auto stageOf = [&](Int step) { return step % stages(); };
    auto loadPanel = [&](Int step, int64_t ahead, bool isIn) {
      d.where(step + ahead < steps, [&] {
        if (isIn)
          loadIn(step + ahead, stageOf(step + ahead));
        if (!isIn || !decodes)
          frozen.load(step + ahead, stageOf(step + ahead));
      });
    };
    Int zero = d.constant(0);
    if (decodes)
      loadPanel(zero, 0, false);
    for (int64_t step = 0; step < 2; ++step) {
      loadPanel(zero, step, true);
      if (decodes)
        loadPanel(zero, step + 1, false);
      d.commit();
    }
    if (decodes) {
      d.wait(1);
      d.barrier();
      frozen.decode(zero, zero, zero, 0, frozen.decodeRounds());
    }
    Value buffer = d.variable("buffer", zero);
    d.comment("panels of the frozen weight");
    d.loop("panel", 0, decodes ? steps - 1 : steps, 1, [&](Int step) {
      d.wait(1);
      d.proxyFence();
      d.barrier();
      Int now = d.named("now", decodes ? d.getInt(buffer) : stageOf(step));
      product.issue(inBegin(stageOf(step)), frozen.begin(now));
      loadPanel(step, 2, true);
      if (decodes)
        loadPanel(step, 3, false);
      d.commit();
      if (decodes) {
        Int next = d.named("next", d.select(now + 1 < 3, now + 1, zero));
        frozen.decode(step + 1, stageOf(step + 1), next, 0, frozen.decodeRounds());
        d.set(buffer, next);
      }
      product.wait(1);
    });
    if (decodes) {
      d.wait(0);
      d.proxyFence();
      d.barrier();
      product.issue(inBegin(d.constant((steps - 1) % stages())),
                    frozen.begin(d.constant((steps - 1) % 3)));
    }
    product.wait(0);
    d.wait(0);
    d.barrier();
  }

  // The same product over the rank; the tiles take the place of the first stage.
  void lowRank(WarpTile &product) {
    for (int64_t begin = 0; begin < shape.rank; begin += Depth) {
      int64_t depth = std::min(Depth, roundUp(shape.rank - begin, 16));
      Int zero = d.constant(0);
      d.comment("the low-rank update: the same product over the rank");
      fillTile(d, inTile, shape.tile.threads(), shape.tile.rows, depth, [&](Int row, Int col) {
        Int rank = col + begin;
        Bool there = firstRow + row < rows && rank < shape.rank;
        return d.loadWhere("t_value", there, t, {(firstRow + row) * shape.ldt + rank});
      });
      auto factorAt = [&](Int rank, Int col) {
        Bool there = rank < shape.rank && firstCol + col < shape.width();
        Int index =
            shape.backward ? rank * shape.k + firstCol + col : (firstCol + col) * shape.rank + rank;
        return d.loadWhere("factor", there, factor, {index}) * shape.scale;
      };
      if (shape.backward)
        fillTile(d, frozen.tile(), shape.tile.threads(), depth, shape.tile.cols,
                 [&](Int rank, Int col) { return factorAt(rank + begin, col); });
      else
        fillTile(d, frozen.tile(), shape.tile.threads(), shape.tile.cols, depth,
                 [&](Int col, Int rank) { return factorAt(rank + begin, col); });
      d.barrier();
      product.multiply(inTile, zero, frozen.tile(), zero, shape.backward, depth);
      if (begin + Depth < shape.rank)
        d.barrier();
    }
  }

  Kernel &kernel;
  Shape shape;
  formats::WeightFormat format;
  DeviceBuilder d;
  Value in, t, factor;
  FrozenTile frozen;
  std::optional<LinearEpilogue> epilogue;
  Int rows, firstRow, firstCol, inTo, inCol, inMask;
  SwizzledTile inTile;
  Value inFrom;
};

LogicalResult buildForward(Kernel &k) {
  Shape shape{false,
              k.integer("n"),
              k.integer("k"),
              k.integer("rank"),
              k.integer("ldx"),
              k.integer("ldy"),
              k.integer("ldt"),
              k.integer("ldr"),
              k.flag("residual"),
              false,
              k.number("scale"),
              chooseTile(k.op.getParams(), false, k.target)};
  LinearKernel(k, shape).build();
  return success();
}

LogicalResult buildBackward(Kernel &k) {
  Shape shape{true,
              k.integer("n"),
              k.integer("k"),
              k.integer("rank"),
              k.integer("lddy"),
              k.integer("lddx"),
              k.integer("lddt"),
              0,
              false,
              k.flag("accumulate"),
              1.0,
              chooseTile(k.op.getParams(), true, k.target)};
  LinearKernel(k, shape).build();
  return success();
}

Grid forwardGrid(DictionaryAttr params, const CudaTarget &target, int64_t rows) {
  TileShape tile = chooseTile(params, false, target);
  return {ceilDiv(intParam(params, "n"), tile.cols), ceilDiv(rows, tile.rows), 1};
}
Grid backwardGrid(DictionaryAttr params, const CudaTarget &target, int64_t rows) {
  TileShape tile = chooseTile(params, true, target);
  return {ceilDiv(intParam(params, "k"), tile.cols), ceilDiv(rows, tile.rows), 1};
}

} // namespace

std::string lorac::cuda::largestLinearTile(const CudaTarget &target) {
  const formats::WeightFormat format = *formats::parseWeightFormat("nf4<64, dq256>");
  for (const Choice &choice : choicesOf(target))
    if (sharedBytes(choice.tile, frozenShape(false, 4096, 4096, choice.tile), format) <=
        target.sharedPerBlock)
      return std::to_string(choice.tile.rows) + " x " + std::to_string(choice.tile.cols);
  return "none";
}

const Family lorac::cuda::linearForwardFamily = {
    "linear_forward", "y = [residual +] x·Wᵀ + scale·t·lora_Bᵀ", forwardGrid, buildForward};
const Family lorac::cuda::linearBackwardFamily = {"linear_backward", "dx [+]= dy·W + dt·lora_A",
                                                  backwardGrid, buildBackward};
