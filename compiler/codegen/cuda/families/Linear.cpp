// y = [res +] x·Wᵀ + scale·t·bᵀ and dx [+]= dy·W + dt·a: panels of the frozen weight, 64 deep, come
// by asynchronous copies in stages; a quantized panel is decoded to 16 bits in shared memory while
// the tensor cores work on the one before. The low-rank update is more panels of the same product.
// The parts of a launch read one x (each column of blocks has its part, or each block all of them,
// one after the other), or add to one dx.

#include "compiler/codegen/cuda/ArchLimits.h"
#include "compiler/codegen/cuda/families/LinearEpilogue.h"
#include "compiler/codegen/cuda/families/LinearShape.h"
#include "compiler/codegen/cuda/families/WarpgroupTile.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family linearForwardFamily, linearBackwardFamily;
}

namespace {

constexpr int64_t Depth = LinearShape::panel;
constexpr int64_t RankPanel = 16;

class LinearKernel {
public:
  LinearKernel(Kernel &kernel, const LinearShape &shape)
      : kernel(kernel), shape(shape),
        d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), shape.tile.threads(),
          kernel.compute(), arguments(), scalars()),
        parts(d, shape.parts.size()), rows(d.rows()), firstRow(rows), firstCol(rows), steps(rows),
        inTo(rows), inCol(rows) {
    takeArguments();
  }

  void build() {
    firstRow = d.named("first_row", d.blockY() * tile().rows);
    d.returnIf(rows <= firstRow);
    inTile = SwizzledTile(d, "in_tile", shape.stages() * tile().rows * Depth, Depth,
                          tile().warpgroups ? 1024 : 128);
    frozen.emplace(d, shape.format, shape.frozen(), weights);
    sums.emplace(d, tile());
    if (!shape.inTurn) {
      findPart();
      return buildPart();
    }
    firstCol = d.named("first_col", d.blockX() * tile().cols);
    if (!shape.backward)
      return eachPart([&] {
        buildPart();
        d.barrier();
      });
    withProduct([&](auto &product) {
      eachPart([&] { multiplyBase(product); });
      finish(product);
    });
  }

private:
  const TileShape &tile() const { return shape.tile; }
  const LinearPart &part(size_t index) const { return shape.parts[index]; }
  bool hasLowRank() const {
    return llvm::any_of(shape.parts, [](const LinearPart &part) { return part.lowRank; });
  }

  //===--- arguments: x, then W, t, B and what the epilogue takes of each part; of dX each part's
  // dy, W, dt, A, then what the epilogue takes ---===//

  SmallVector<DeviceBuilder::Argument> arguments() {
    unsigned buffer = 0;
    SmallVector<DeviceBuilder::Argument> all;
    auto epilogue = [&](const LinearPart &part) {
      LinearEpilogue::addArguments(kernel, part.params, shape.backward, buffer, all);
    };
    for (auto [index, part] : llvm::enumerate(shape.parts)) {
      if (shape.backward || index == 0)
        all.push_back(kernel.argument(shape.backward ? "dy" : "x", buffer++));
      llvm::append_range(all, kernel.weightArguments(shape.format));
      if (part.lowRank) {
        all.push_back(kernel.argument(shape.backward ? "dt" : "t", buffer++));
        all.push_back(kernel.argument(shape.backward ? "lora_A" : "lora_B", buffer++));
      }
      if (!shape.backward)
        epilogue(part);
    }
    if (shape.backward)
      epilogue(shape.parts.front());
    return all;
  }
  SmallVector<std::string> scalars() const {
    SmallVector<std::string> names;
    for (const LinearPart &part : shape.parts)
      if (part.lowRank)
        names.append({"rank", "ldt"});
    return names;
  }

  void takeArguments() {
    auto epilogue = [&](const LinearPart &part) {
      epilogues.emplace_back(d, kernel, part.params, shape.backward, shape.width(part));
    };
    for (const LinearPart &part : shape.parts) {
      ins.push_back(shape.backward || ins.empty() ? d.next() : ins.front());
      weights.push_back(FrozenTile::takeArguments(d, shape.format));
      ts.push_back(part.lowRank ? d.next() : Value());
      factors.push_back(part.lowRank ? d.next() : Value());
      // Without an update the rank is 0, and nothing of it is read.
      ranks.push_back(part.lowRank ? d.nextScalar() : d.constant(0));
      ldts.push_back(part.lowRank ? std::optional<Int>(d.nextScalar()) : std::nullopt);
      if (!shape.backward)
        epilogue(part);
    }
    if (shape.backward)
      epilogue(shape.parts.front());
  }

  //===--- parts ---===//

  // The part whose columns the block has, and the first of them.
  void findPart() {
    Int block = d.named("block", d.blockX()), part = d.constant(0), column = block;
    int64_t begin = 0;
    for (size_t index = 1; index < shape.parts.size(); ++index) {
      begin += shape.across(shape.parts[index - 1]);
      Bool isBefore = block < begin;
      part = d.select(isBefore, part, d.constant(index));
      column = d.select(isBefore, column, block - begin);
    }
    parts.set(d.named("part", part));
    firstCol = d.named("first_col", column * tile().cols);
  }

  // Written out one after the other: what differs between parts is then known, and sums stay in the
  // registers in which products on their way expect them.
  void eachPart(llvm::function_ref<void()> body) {
    for (size_t index = 0; index < shape.parts.size(); ++index) {
      parts.set(d.constant(index));
      body();
    }
  }

  template <typename Body>
  void withProduct(Body body) {
    if (tile().warpgroups) {
      WarpgroupTile product(d, tile());
      body(product);
    } else {
      WarpTile product(d, tile());
      body(product);
    }
  }

  void buildPart() {
    withProduct([&](auto &product) {
      multiplyBase(product);
      finish(product);
    });
  }

  void multiplyBase(WarpTile &product) {
    preparePart();
    product.prepare(inTile, frozen->tile(), shape.backward);
    mainLoop(product);
  }
  void multiplyBase(WarpgroupTile &product) {
    preparePart();
    product.prepareAsync(inTile, frozen->tile(), shape.backward);
    groupLoop(product);
  }

  void preparePart() {
    steps = parts.pick("panels", [&](size_t i) { return ceilDiv(shape.depth(part(i)), Depth); });
    frozen->prepare(parts, firstCol);
    prepareIn();
  }

  void finish(WarpTile &product) {
    if (hasLowRank())
      lowRank(product);
    Int width = parts.pick("width", [&](size_t i) { return shape.width(part(i)); });
    sums->each(
        rows, width, firstRow, firstCol, [&](SumsByRows::Pair pair) { product.eachPair(pair); },
        [&](SumsByRows::Place at) {
          if (shape.backward)
            return epilogues.front().finish(*sums, at);
          parts.each([&](size_t index) { epilogues[index].finish(*sums, at); });
        });
  }

  //===--- rows of x or dy ---===//

  Int inBegin(Int stage) { return stage * (tile().rows * Depth * 2); }

  int64_t copies() const { return tile().rows * 8 / tile().threads(); }
  int64_t rowsACopy() const { return tile().threads() / 8; }
  Int ldIn() {
    return parts.pick("ld", [&](size_t i) { return part(i).ldIn; });
  }

  // What a thread's copies have in common, before the loop: one piece of every few rows. Rows that
  // are not there become zero.
  void prepareIn() {
    Int row = d.named("in_row", d.thread() / 8), piece = d.named("in_piece", d.thread() % 8);
    rowStride = ldIn();
    inFrom = d.pointer("in_from", parts.pick("in", ins), (firstRow + row) * *rowStride + piece * 8);
    inTo = d.keep("in_to", inTile.piece(d.constant(0), row, piece));
    inCol = piece * 8;
    // The bytes of each copy, 16 or 0: four to a register, of which taking one out is one
    // instruction.
    inSizes.clear();
    for (int64_t first = 0; first < copies(); first += 4) {
      Int sizes = d.constant(0);
      for (int64_t c = first; c < std::min(first + 4, copies()); ++c)
        sizes = sizes + d.select(firstRow + row + c * rowsACopy() < rows,
                                 d.constant(int64_t(16) << (8 * (c - first))), d.constant(0));
      inSizes.push_back(d.keep("in_sizes", sizes));
    }
    isRagged = llvm::any_of(shape.parts,
                            [&](const LinearPart &part) { return shape.depth(part) % Depth != 0; });
    if (isRagged)
      depth = parts.pick("depth", [&](size_t i) { return shape.depth(part(i)); });
  }

  void loadIn(Int step, Int stage) {
    Value from = d.pointer("from", inFrom, step * Depth);
    Int to = d.named("to", inTo + inBegin(stage));
    for (int64_t c = 0; c < copies(); ++c) {
      Int size = inSizes[c / 4] / (int64_t(1) << (8 * (c % 4))) % 256;
      if (isRagged) // and columns
        size = max(d.constant(0), min(size, (*depth - step * Depth - inCol) * 2));
      d.copyAsync(from, *rowStride * (c * rowsACopy()), inTile.bytes,
                  to + c * rowsACopy() * Depth * 2, size);
    }
  }

  //===--- the base product ---===//

  void load(Int step, Int stage) {
    loadIn(step, stage);
    frozen->load(step, stage);
  }

  void mainLoop(WarpTile &product) {
    int64_t stages = shape.stages();
    for (int64_t stage = 0; stage < stages - 1; ++stage) {
      d.where(d.constant(stage) < steps, [&] { load(d.constant(stage), d.constant(stage)); });
      d.commit();
    }
    bool decodes = frozen->decodes();
    if (decodes) {
      d.wait(stages - 2);
      d.barrier();
      frozen->decode(d.constant(0), d.constant(0), d.constant(0), 0, frozen->decodeRounds());
    }
    Value stage = d.variable("stage", d.constant(0));
    auto later = [&](StringRef name, int64_t ahead) {
      Int sum = d.getInt(stage) + ahead;
      return d.named(name, d.select(sum < stages, sum, sum - stages));
    };
    // Decoding runs a panel ahead, so one panel more must have come, and the last has none to
    // decode.
    d.comment("panels of the frozen weight");
    d.loop("panel", d.constant(0), decodes ? steps - 1 : steps, 1, [&](Int step) {
      d.wait(decodes ? stages - 3 : stages - 2);
      d.barrier();
      d.where(step + (stages - 1) < steps,
              [&] { load(step + (stages - 1), later("load_stage", stages - 1)); });
      d.commit();
      Int now = d.named("now", d.getInt(stage));
      if (decodes)
        multiplyAndDecode(product, step, now, later("next_stage", 1));
      else
        product.multiply(inTile, inBegin(now), frozen->tile(), frozen->begin(now), shape.backward,
                         Depth);
      d.set(stage, later("after", 1));
    });
    if (decodes) {
      d.wait(0);
      d.barrier();
      product.multiply(inTile, inBegin(d.getInt(stage)), frozen->tile(),
                       frozen->begin((steps - 1) % 2), shape.backward, Depth);
    }
    d.wait(0);
    d.barrier();
  }

  // In turns, so that tensor cores have work while codes are looked up.
  void multiplyAndDecode(WarpTile &product, Int step, Int now, Int next) {
    int64_t each = Depth / 16, rounds = frozen->decodeRounds(), turns = std::min(each, rounds);
    for (int64_t turn = 0; turn < turns; ++turn) {
      int64_t k = turn * each / turns, round = turn * rounds / turns;
      product.multiplySteps(inTile, inBegin(now), frozen->tile(), frozen->begin(step % 2),
                            shape.backward, d.constant(k), (turn + 1) * each / turns - k);
      frozen->decode(step + 1, next, (step + 1) % 2, round, (turn + 1) * rounds / turns - round);
    }
  }

  // By warpgroups: products run behind the warps' backs, so those of a panel begin before the
  // panel's before are done, and codes of the next are decoded meanwhile. What two products may be
  // reading is not written: rows come two panels ahead into four stages, decoded tiles are three.
  void groupLoop(WarpgroupTile &product) {
    bool decodes = frozen->decodes();
    auto stageOf = [&](Int step) { return step % shape.stages(); };
    auto loadPanel = [&](Int step, int64_t ahead, bool isIn) {
      d.where(step + ahead < steps, [&] {
        if (isIn)
          loadIn(step + ahead, stageOf(step + ahead));
        if (!isIn || !decodes)
          frozen->load(step + ahead, stageOf(step + ahead));
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
      frozen->decode(zero, zero, zero, 0, frozen->decodeRounds());
    }
    Value buffer = d.variable("buffer", zero);
    d.comment("panels of the frozen weight");
    d.loop("panel", zero, decodes ? steps - 1 : steps, 1, [&](Int step) {
      d.wait(1);
      d.proxyFence();
      d.barrier();
      Int now = d.named("now", decodes ? d.getInt(buffer) : stageOf(step));
      product.issue(inBegin(stageOf(step)), frozen->begin(now));
      loadPanel(step, 2, true);
      if (decodes)
        loadPanel(step, 3, false);
      d.commit();
      if (decodes) {
        Int next = d.named("next", d.select(now + 1 < 3, now + 1, zero));
        frozen->decode(step + 1, stageOf(step + 1), next, 0, frozen->decodeRounds());
        d.set(buffer, next);
      }
      product.wait(1);
    });
    if (decodes) {
      d.wait(0);
      d.proxyFence();
      d.barrier();
      product.issue(inBegin(stageOf(steps - 1)), frozen->begin((steps - 1) % 3));
    }
    product.wait(0);
    d.wait(0);
    d.barrier();
  }

  //===--- the low-rank update ---===//

  // The same product over the rank, 16 of it at a time. The tiles take the place of the first
  // stage, now this quarter of its depth, now the next: what is filled is not what other warps may
  // still multiply.
  void lowRank(WarpTile &product) {
    // dX has one update, whose part has been passed.
    if (shape.backward)
      parts.set(d.constant(
          llvm::find_if(shape.parts, [](const LinearPart &part) { return part.lowRank; }) -
          shape.parts.begin()));
    product.prepare(inTile, frozen->tile(), shape.backward);
    SmallVector<std::optional<Int>> allRanks(ranks.begin(), ranks.end());
    Int rank = parts.pick("part_rank", allRanks), ldt = parts.pick("part_ldt", ldts),
        zero = d.constant(0);
    Value t = parts.pick("part_t", ts), factor = parts.pick("part_factor", factors);
    Num scale = parts.pickNum("scale", [&](size_t i) { return part(i).scale; });
    bool isScaled = llvm::any_of(shape.parts, [](const LinearPart &p) { return p.scale != 1.0; });
    Int width = parts.pick("width", [&](size_t i) { return shape.width(part(i)); });
    d.comment("the low-rank update: the same product over the rank");
    d.loop("begin", zero, rank, RankPanel, [&](Int begin) {
      Int quarter = d.named("quarter", begin / RankPanel % (Depth / RankPanel)),
          from = quarter * RankPanel;
      fillTile(d, inTile, tile().threads(), tile().rows, RankPanel, {zero, from},
               [&](Int row, Int col) {
                 Int at = col + begin;
                 Bool there = firstRow + row < rows && at < rank;
                 return d.loadWhere("t_value", there, t, {(firstRow + row) * ldt + at});
               });
      auto factorAt = [&](Int at, Int col) {
        Bool there = at < rank && firstCol + col < width;
        Int index = shape.backward ? at * part(0).k + firstCol + col : (firstCol + col) * rank + at;
        Num value = d.loadWhere("factor", there, factor, {index});
        return isScaled ? value * scale : value;
      };
      if (shape.backward)
        fillTile(d, frozen->tile(), tile().threads(), RankPanel, tile().cols, {from, zero},
                 [&](Int at, Int col) { return factorAt(at + begin, col); });
      else
        fillTile(d, frozen->tile(), tile().threads(), tile().cols, RankPanel, {zero, from},
                 [&](Int col, Int at) { return factorAt(at + begin, col); });
      d.barrier();
      product.multiplySteps(inTile, zero, frozen->tile(), zero, shape.backward, quarter, 1);
    });
  }

  Kernel &kernel;
  const LinearShape &shape;
  DeviceBuilder d;
  Parts parts;
  SmallVector<Value> ins, ts, factors;
  SmallVector<FrozenTile::Arguments> weights;
  SmallVector<Int> ranks;
  SmallVector<std::optional<Int>> ldts;
  std::vector<LinearEpilogue> epilogues;
  std::optional<FrozenTile> frozen;
  std::optional<SumsByRows> sums;
  SwizzledTile inTile;
  Int rows, firstRow, firstCol, steps, inTo, inCol;
  SmallVector<Int> inSizes;
  std::optional<Int> rowStride, depth;
  bool isRagged = false;
  Value inFrom;
};

template <bool Backward>
LogicalResult build(Kernel &kernel) {
  LinearShape shape = LinearShape::read(kernel.op.getParams(), Backward, kernel.target);
  LinearKernel(kernel, shape).build();
  return success();
}
template <bool Backward>
Grid grid(DictionaryAttr params, const CudaTarget &target, int64_t rows) {
  return LinearShape::read(params, Backward, target).grid(rows);
}

} // namespace

const Family lorac::cuda::linearForwardFamily = {
    "linear_forward", "y = [residual +] x·Wᵀ + scale·t·lora_Bᵀ, of one or more W", grid<false>,
    build<false>};
const Family lorac::cuda::linearBackwardFamily = {
    "linear_backward", "dx [+]= dy·W + dt·lora_A, of one or more W", grid<true>, build<true>};
