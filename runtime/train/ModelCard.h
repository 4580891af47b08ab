#pragma once
// README.md of an output folder: what was trained, on what, and how it went.

#include "runtime/formats/Adapter.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/RunConfig.h"

#include <string>
#include <vector>

namespace lorac::train {

struct CardFacts {
  std::string baseModel;
  std::vector<std::string> dataNotes;
  int64_t trainable = 0;
  double seconds = 0;
  int64_t adapterOf = 0; ///< step
};

std::string modelCard(const formats::Adapter &adapter, const RunConfig &run,
                      const TrainerState &state, const CardFacts &facts);

} // namespace lorac::train
