#include "compiler/pipeline/IndexWidth.h"
#include "compiler/dialect/LoraOps.h"
#include "compiler/frontend/Locations.h"
#include "runtime/formats/RowLayout.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

namespace {

constexpr int64_t most = (int64_t(1) << 31) - 1; // what an int of a kernel counts to

/// What is indexed by row * width + column.
struct Extent {
  int64_t rows = 0, width = 1;
  // Spec and model bound neither factor, so their product may not fit 64 bits.
  bool isTooLarge() const { return rows > most / width; }
  bool operator<(const Extent &other) const {
    return double(rows) * double(width) < double(other.rows) * double(other.width);
  }
};

Extent extentOf(MemRefType type) {
  SmallVector<int64_t> strides;
  int64_t offset = 0;
  if (type.getRank() == 0 || failed(type.getStridesAndOffset(strides, offset)))
    return {};
  return {type.getShape()[0], std::max<int64_t>(strides[0], 1)};
}

// Rows and columns as they lie on the device; a vector is no matrix and is not padded.
Extent extentOf(WeightType type) {
  ArrayRef<int64_t> shape = type.getShape();
  if (shape.size() < 2)
    return {shape[0], 1};
  return {formats::rowsPadded(shape[0]), formats::colsPadded(shape[1])};
}

std::string grouped(int64_t number) {
  std::string text = std::to_string(number);
  for (int64_t at = int64_t(text.size()) - 3; at > 0; at -= 3)
    text.insert(size_t(at), 1, ',');
  return text;
}

std::string inWords(const Extent &of) {
  return llvm::formatv("{0} elements, and a CUDA kernel counts to {1}",
                       of.rows <= INT64_MAX / of.width ? grouped(of.rows * of.width)
                                                       : "2^63 or more",
                       grouped(most));
}

IndexFault ofWeight(FrozenOp weight, const Extent &extent) {
  return {{},
          placeOf(weight.getLoc()),
          llvm::formatv(
              "'{0}' has {1} rows of {2} columns, padding included: {3}; no setting makes "
              "it smaller, so train this model on the CPU",
              weight.getSymName(), grouped(extent.rows), grouped(extent.width), inWords(extent))};
}

IndexFault ofTokens(LaunchOp launch, const Extent &extent, const dsl::TrainSpec &train) {
  const int64_t batch = *train.batchSize, length = *train.maxLength, fits = most / extent.width;
  std::string mend;
  if (fits >= length)
    mend += llvm::formatv("batch_size {0} at this length, ", fits / length);
  if (fits >= batch)
    mend += llvm::formatv("max_length {0} at this batch_size, ", fits / batch);
  return {train.maxLength.range ? train.maxLength.range : train.batchSize.range,
          placeOf(launch.getLoc()),
          llvm::formatv("batch_size {0} x max_length {1} is {2} tokens, and '{3}' has {4} columns: "
                        "{5}; at most {6} tokens fit: {7}or train on the CPU",
                        batch, length, grouped(extent.rows), nameOf(launch.getLoc()),
                        grouped(extent.width), inWords(extent), grouped(fits), mend)};
}

} // namespace

std::optional<IndexFault> lorac::findIndexFault(ModuleOp planned, const dsl::Spec &spec) {
  Extent largest;
  LaunchOp launchOf;
  WeightType weightOf;
  planned.walk([&](LaunchOp launch) {
    for (Value buffer : launch.getBuffers()) {
      auto weight = dyn_cast<WeightType>(buffer.getType());
      const Extent extent =
          weight ? extentOf(weight) : extentOf(cast<MemRefType>(buffer.getType()));
      if (extent.isTooLarge() && largest < extent)
        largest = extent, launchOf = launch, weightOf = weight;
    }
  });
  if (!launchOf)
    return std::nullopt;
  if (weightOf)
    for (auto frozen : planned.getOps<FrozenOp>())
      if (frozen.getType() == weightOf)
        return ofWeight(frozen, largest);
  if (largest.rows == int64_t(findOnly<LimitsOp>(planned).getTokens()))
    return ofTokens(launchOf, largest, spec.train);
  return IndexFault{{},
                    placeOf(launchOf.getLoc()),
                    llvm::formatv("'{0}' has {1} rows of {2} columns: {3}; at most {4} rows fit",
                                  nameOf(launchOf.getLoc()), grouped(largest.rows),
                                  grouped(largest.width), inWords(largest),
                                  grouped(most / largest.width))};
}
