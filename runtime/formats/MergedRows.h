#pragma once
// Rows of a weight as a base holds them, and with adapters merged into them.

#include "runtime/Result.h"
#include "runtime/formats/Adapter.h"
#include "runtime/formats/ModelSource.h"

#include <memory>
#include <vector>

namespace lorac::formats {

/// What one adapter adds to one weight: weight · scale · B·A. With DoRA's magnitudes m it is
/// weight · (m / |row of V| · V - W), where V = W + scale · B·A; a row of V that is all zeros stays
/// as it is.
struct WeightUpdate {
  const AdapterModule *module = nullptr; ///< without triplets (foldTriplets); not copied
  double weight = 1;
};

/// Rows of W with updates, each of W itself: their sum in float32, in the order of `updates`.
class MergedRows : public RowSource {
public:
  MergedRows(std::unique_ptr<RowSource> base, std::vector<WeightUpdate> updates);

  void readRow(int64_t row, float *out) const override;
  /// A row of W, and the same merged.
  void readBoth(int64_t row, float *base, float *merged) const;
  void done(int64_t begin, int64_t end) const override { base->done(begin, end); }
  bool hasUpdates() const { return !updates.empty(); }
  const RowSource &baseRows() const { return *base; }

private:
  void apply(int64_t row, float *values) const;

  std::unique_ptr<RowSource> base;
  std::vector<WeightUpdate> updates;
};

/// The rows as a base of `format` holds them: packed into memory of their own, and read from there.
/// Errors are those of packWeight.
Result<std::unique_ptr<RowSource>> heldRows(const RowSource &source, const WeightFormat &format);

} // namespace lorac::formats
