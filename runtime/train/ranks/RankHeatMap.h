#pragma once
// Rank by module over time, as an SVG file: a row a module, a column an allocation.

#include "runtime/Result.h"
#include "runtime/train/ranks/RankAllocator.h"

#include <string>
#include <vector>

namespace lorac::train {

/// What a run's allocations gave.
struct RankHistory {
  std::string title;                ///< of the run
  std::vector<std::string> modules; ///< model.layers.0.self_attn.q_proj
  struct Column {
    int64_t step = 0;
    RankPattern ranks; ///< live, beside `modules`
  };
  std::vector<Column> columns; ///< the first: before training
};

/// The allocations of a run, from its metrics; `modules` as the run's.
Result<RankHistory> readRankHistory(const std::string &metricsFile,
                                    const std::vector<std::string> &modules);

/// The picture. Of more columns than are worth drawing, neighbours with the same ranks are drawn
/// once, and then every n-th; the last always.
std::string rankHeatMap(const RankHistory &history);

} // namespace lorac::train
