#pragma once
// What a plan will take.

#include "runtime/train/Plan.h"

#include <cstdint>
#include <map>
#include <string>

namespace lorac::tools {

struct PlanSize {
  std::map<std::string, uint64_t> weights; ///< bytes by format
  uint64_t arena = 0;                      ///< activations, adapters, gradients, states, inputs
  uint64_t adapters = 0;                   ///< of the arena: adapters, gradients, states
  uint64_t scratch = 0;                    ///< for each thread
  uint64_t parameters = 0;                 ///< trainable
  int64_t tokens = 0;                      ///< most in one micro-batch
  double flops = 0;                        ///< of a training micro-batch

  uint64_t weightBytes() const;
};

PlanSize sizeOf(const train::Plan &plan);

} // namespace lorac::tools
