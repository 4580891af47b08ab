#pragma once
// A, E and B of an AdaLoRA run as they were trained. Its adapter is written as plain LoRA, E folded
// into B; its checkpoints have the three apart.

#include "runtime/Result.h"
#include "runtime/formats/Adapter.h"

#include <optional>
#include <string>

namespace lorac::train {

/// `adapter`, which was read from `folder` (a run's output or a checkpoint), with the triplets that
/// the folder or the newest checkpoint in it has. Nothing where there is none, or where one is of
/// other values than the adapter; Exit::ForeignFile for a file that is corrupt.
Result<std::optional<formats::Adapter>> checkpointTriplets(const std::string &folder,
                                                           const formats::Adapter &adapter);

} // namespace lorac::train
