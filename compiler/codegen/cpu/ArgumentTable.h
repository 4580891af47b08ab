#pragma once
// The buffers that each kernel family of the CPU takes, in order (docs/plan.md, "Kernel
// families (cpu)").

#include "compiler/dialect/LoraOps.h"

#include <string>
#include <vector>

namespace lorac::cpu {

/// A weight (all its parts), or `outer` rows that begin `stride` elements after each other and of
/// which `columns` are used. Sizes are numbers, `rows`, `all` that the buffer has,
/// `starts` (samples and one more), `cached` (positions of all sequences in the cache), params of
/// the kernel or products of two; `n^` is n rounded up to a panel.
struct ArgumentText {
  bool isWeight = false;
  std::string outer, stride, columns;
  int64_t element = 4; ///< bytes
};

std::vector<ArgumentText> argumentsOf(lora::KernelOp kernel);

} // namespace lorac::cpu
