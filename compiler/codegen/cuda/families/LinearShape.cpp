#include "compiler/codegen/cuda/families/LinearShape.h"
#include "compiler/codegen/cuda/families/LinearEpilogue.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace {

struct Choice {
  TileShape tile;
  double rate; ///< of an H100 (docs/measured/gpu.md); the largest is 1
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

bool flagOf(DictionaryAttr params, StringRef name) {
  auto value = params.getAs<BoolAttr>(name);
  return value && value.getValue();
}

LinearPart readPart(DictionaryAttr params, bool backward) {
  auto scale = params.getAs<FloatAttr>("scale");
  return {.params = params,
          .n = intParam(params, "n"),
          .k = intParam(params, "k"),
          .ldIn = intParam(params, backward ? "lddy" : "ldx"),
          .lowRank = flagOf(params, "low_rank"),
          .scale = scale ? scale.getValueAsDouble() : 1.0};
}

} // namespace

// Of a warpgroup's panels two are being read, one is there and one comes.
int64_t LinearShape::stagesOf(const TileShape &tile) { return tile.warpgroups ? 4 : 3; }

int64_t LinearShape::across(const LinearPart &part) const {
  return ceilDiv(width(part), tile.cols);
}

FrozenTile::Shape LinearShape::frozenOf(const TileShape &tile) const {
  FrozenTile::Shape shape{.n = {},
                          .k = parts.front().k,
                          .backward = backward,
                          .cols = tile.cols,
                          .threads = tile.threads(),
                          .stages = stagesOf(tile),
                          .buffers = tile.warpgroups ? 3 : 2,
                          .warpgroups = tile.warpgroups,
                          .exactScales = tile.rows < 128};
  for (const LinearPart &part : parts)
    shape.n.push_back(part.n);
  return shape;
}

int64_t LinearShape::sharedBytes(const TileShape &tile) const {
  return std::max(stagesOf(tile) * tile.rows * panel * 2 +
                      FrozenTile::sharedBytes(format, frozenOf(tile)),
                  SumsByRows::sharedBytes(tile));
}

bool LinearShape::fits(const TileShape &tile, const CudaTarget &target) const {
  // Rows of W are stored in multiples of 128.
  auto isStored = [&](const LinearPart &part) {
    return backward || tile.cols <= 128 || roundUp(part.n, 128) % tile.cols == 0;
  };
  return sharedBytes(tile) <= target.sharedPerBlock && llvm::all_of(parts, isStored) &&
         llvm::all_of(parts, [&](const LinearPart &part) {
           return LinearEpilogue::serves(part.params, tile);
         });
}

// Rounds of blocks over the device, each as long as the tile's area and its rate.
void LinearShape::chooseTile(int64_t rows, const CudaTarget &target) {
  double least = std::numeric_limits<double>::infinity();
  for (const Choice &choice : choicesOf(target)) {
    const TileShape &shape = choice.tile;
    int64_t columns = 0;
    for (const LinearPart &part : inTurn ? ArrayRef(parts).take_front() : ArrayRef(parts))
      columns += ceilDiv(width(part), shape.cols);
    int64_t blocks = ceilDiv(rows, shape.rows) * columns;
    double cost =
        double(ceilDiv(blocks, target.multiprocessors) * shape.rows * shape.cols) / choice.rate;
    if (fits(shape, target) && cost < least)
      tile = shape, least = cost;
  }
}

LinearShape LinearShape::read(DictionaryAttr params, bool backward, const CudaTarget &target) {
  LinearShape shape{.backward = backward, .inTurn = false};
  if (auto parts = params.getAs<ArrayAttr>("parts")) {
    for (auto part : parts.getAsRange<DictionaryAttr>())
      shape.parts.push_back(readPart(part, backward));
    shape.inTurn = backward || flagOf(params, "in_turn");
  } else {
    shape.parts.push_back(readPart(params, backward));
  }
  shape.format = *formats::parseWeightFormat(stringParam(shape.parts.front().params, "format"));
  shape.chooseTile(intParam(params, "rows"), target);
  return shape;
}

Grid LinearShape::grid(int64_t rows) const {
  int64_t columns = 0;
  for (const LinearPart &part : inTurn ? ArrayRef(parts).take_front() : ArrayRef(parts))
    columns += across(part);
  return {columns, ceilDiv(rows, tile.rows), 1};
}

std::string lorac::cuda::largestLinearTile(const CudaTarget &target) {
  LinearShape shape{.backward = false, .inTurn = false};
  shape.format = *formats::parseWeightFormat("nf4<64, dq256>");
  shape.parts.push_back({.n = 4096, .k = 4096});
  for (const Choice &choice : choicesOf(target))
    if (shape.sharedBytes(choice.tile) <= target.sharedPerBlock)
      return std::to_string(choice.tile.rows) + " x " + std::to_string(choice.tile.cols);
  return "none";
}
