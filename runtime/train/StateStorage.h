#pragma once
// Optimizer states that lie in 8 bits, or compactly beside those (docs/design.md, "A step is
// programs"): where each parameter's are, as tensors of a checkpoint and as numbers.

#include "runtime/formats/Safetensors.h"
#include "runtime/train/Backend.h"
#include "runtime/train/Plan.h"
#include "runtime/train/ranks/RankAllocator.h"
#include "runtime/train/ranks/TripletParams.h"

#include <array>
#include <span>
#include <string>
#include <vector>

namespace lorac::train {

/// A tensor of optimizer.safetensors and its memory.
struct StateTensor {
  std::string name;
  formats::DType type = formats::DType::F32;
  std::vector<int64_t> shape;
  void *data = nullptr;
  bool isAbsmax = false; ///< of blocks of bytes: never below 0
  int64_t count() const;
};

/// What optimizer.safetensors holds, parameter by parameter: "<state>.<param>" of each of the
/// optimizer's states, as bytes where it lies in 8 bits, and then also "<state>_absmax.<param>", a
/// number of each row or column where it has no more;
/// of AdaLoRA the parameter itself and its importance.
std::vector<StateTensor> stateTensors(const Plan &plan, const TrainedFloats &trained);

/// The state `of` (Plan::trained(), its codes) as float32 in the order of the params.
std::vector<float> decodeState(const Plan &plan, const PlanRegion &of,
                               const TrainedFloats &trained);
/// The other way: codes, absmax and what is compact. Bytes of codes that no parameter has are left
/// alone.
void encodeState(const Plan &plan, const PlanRegion &of, std::span<const float> values,
                 const TrainedFloats &trained);

/// Of each module, where its lora_A, lora_B and lora_E begin in compact regions; -1 of one whose
/// states have 8 bits, or that is not there.
std::vector<std::array<int32_t, 3>> tripletOwns(const Plan &plan,
                                                const std::vector<TripletLayout> &layouts);

} // namespace lorac::train
