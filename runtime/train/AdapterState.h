#pragma once
// The trained parameters (the plan's region of them, in the host's memory) and their files.

#include "runtime/Result.h"
#include "runtime/formats/Adapter.h"
#include "runtime/train/Plan.h"
#include "runtime/train/RunConfig.h"
#include "runtime/train/ranks/RankAllocator.h"

#include <functional>
#include <string>

namespace lorac::train {

/// PEFT's start: lora_A from U(-1/sqrt(in), 1/sqrt(in)) (kaiming_uniform with a = sqrt(5)), drawn
/// from Philox by seed and name; lora_B zero. AdaLoRA's: lora_A and lora_B from N(0, 0.02²), lora_E
/// zero.
void initAdapter(const Plan &plan, float *params, uint64_t seed);

enum class AdapterScale {
  Trained, ///< begin from these values; the spec's scale is what they are trained with
  AsIs,    ///< the adapter as its adapter_config.json says: a scale that differs from the plan's is
           ///< folded into B
};

/// Reads a PEFT folder or a safetensors file into `params`. Misfits with the plan are named in one
/// error (Exit::ForeignFile). A program of triplets takes any rank up to its own, and modules left
/// out: what is missing is zero; of plain LoRA E is 1.
Result<void> loadAdapter(const Plan &plan, float *params, const std::string &path,
                         AdapterScale scale);

/// Whether an adapter was trained on the model that the run's program is for, as far as it says.
/// What else a user should hear of it is said.
Result<void> checkAdapterBase(const std::string &path, const RunConfig &run,
                              const std::function<void(const std::string &)> &say);

/// The parameters as PEFT's layout wants them. `live`: AdaLoRA's triplets to take, by the modules
/// of plan.ranks; null: those whose E is not 0. Of plain LoRA nothing is copied: `params` outlives
/// the adapter.
formats::Adapter takeAdapter(const Plan &plan, const float *params, const RunConfig &run,
                             const std::string &baseModel, const TripletSets *live = nullptr);

} // namespace lorac::train
