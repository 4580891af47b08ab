#pragma once
// AdaLoRA's part of trainer_state.json, and the records of programs as the manifest has them too.
// Only for .cpp files.

#include "runtime/train/Checkpoint.h"
#include "runtime/train/JsonFields.h"

namespace lorac::train {

Json ranksToJson(const CheckpointRanks &ranks);
CheckpointRanks ranksFromJson(const Fields &in);

Json toJson(const ProgramRecord &record);

} // namespace lorac::train
