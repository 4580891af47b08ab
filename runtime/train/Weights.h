#pragma once
// The frozen weights, packed once at the start into the parts that the kernels read, and the rope
// tables.

#include "runtime/Result.h"
#include "runtime/formats/ModelSource.h"
#include "runtime/formats/PackedWeight.h"
#include "runtime/train/Arena.h"
#include "runtime/train/Plan.h"
#include "runtime/train/ThreadPool.h"

#include <memory>
#include <string>
#include <vector>

namespace lorac::train {

/// Where a program's weights come from, checked against the plan.
struct WeightRows {
  std::vector<formats::WeightFormat> formats; ///< by weight
  std::vector<std::unique_ptr<formats::RowSource>> rows;
};

/// Opens `source` (a GGUF file or a Hugging Face folder), or draws the weights from `seed` when it
/// is "". Every misfit of the model with the plan is named in one error (Exit::ForeignFile).
Result<WeightRows> openWeights(const Plan &plan, const std::string &source, uint64_t seed);

/// What went wrong with one weight of the model `source`.
Error weightError(const std::string &source, const PlanWeight &weight, const Error &error);

formats::ParallelFor parallelOver(ThreadPool &pool);

/// XXH3-128 of a weight's parts, and of all weights by theirs.
std::string hashWeight(const PlanWeight &weight, const std::vector<void *> &parts);
std::string hashModel(const std::vector<std::string> &hashesOfWeights);

class WeightStore {
public:
  /// Opens the weights and packs them. Pages of the source are let go meanwhile.
  static Result<WeightStore> load(const Plan &plan, const std::string &source, uint64_t seed,
                                  ThreadPool &pool);

  const void *part(int weight, int part) const { return parts[size_t(weight)][size_t(part)]; }
  std::byte *data() const { return memory.data(); } ///< all parts, one after another
  uint64_t bytes() const { return memory.bytes(); }
  /// XXH3-128 over all packed bytes: which model this is, wherever its file lies.
  const std::string &hash() const { return digest; }

private:
  Arena memory;
  std::vector<std::vector<void *>> parts;
  std::string digest;
};

/// Fills a table of either kind.
void fillTable(const PlanTable &table, float *out);

/// Fills a rope table as transformers computes it: angle = position * frequency in float32, cosine
/// and sine rounded from double, then times the factor. `out` is [positions][dim]: cosines in the
/// first half, sines in the second.
void fillRopeTable(const PlanTable &table, float *out);

} // namespace lorac::train
