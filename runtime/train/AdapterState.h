#pragma once
// The trained parameters (the plan's region of them, in the host's memory) and their files.

#include "runtime/Result.h"
#include "runtime/formats/Adapter.h"
#include "runtime/train/Plan.h"
#include "runtime/train/RunConfig.h"
#include "runtime/train/ranks/RankAllocator.h"

#include <functional>
#include <string>
#include <vector>

namespace lorac::train {

/// PEFT's start: lora_A from U(-1/sqrt(in), 1/sqrt(in)) (kaiming_uniform with a = sqrt(5)), drawn
/// from Philox by seed and name; lora_B zero; gates 1; DoRA's magnitudes as Session::open left
/// them. AdaLoRA's: lora_A and lora_B from N(0, 0.02²), lora_E zero.
void initAdapter(const Plan &plan, float *params, uint64_t seed);

enum class AdapterUse {
  Continue, ///< training begins from it: what it lacks stays as initAdapter left it
  Serve,    ///< eval, generate: what it lacks is zero
};

/// Reads a PEFT folder or a safetensors file into `params`, so that the program's function is the
/// adapter's: its rank, its modules and its scale count, and not the spec's. A scale that differs
/// from the plan's is folded into B (AdaLoRA: into E, which is 1 of plain LoRA). Ranks may be
/// smaller than the program's and modules left out: the rest adds nothing. DoRA goes with DoRA
/// alone. A file without
/// adapter_config.json takes the program's alpha. Misfits are named in one error
/// (Exit::ForeignFile). Gives lines for people.
Result<std::vector<std::string>> loadAdapter(const Plan &plan, float *params,
                                             const std::string &path, AdapterUse use,
                                             bool useRslora);

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
