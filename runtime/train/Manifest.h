#pragma once
// manifest.json of a run with AdaLoRA: which programs it ran on, and what became of those it asked
// for.

#include "runtime/train/ranks/ProgramSwap.h"

namespace lorac::train {

Result<void> writeManifest(const std::string &outDir, const RunConfig &run,
                           const std::vector<ProgramRecord> &programs);

} // namespace lorac::train
