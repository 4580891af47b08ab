#include "compiler/tools/PlanSize.h"

namespace lorac::tools {

uint64_t PlanSize::weightBytes() const {
  uint64_t sum = 0;
  for (const auto &[format, bytes] : weights)
    sum += bytes;
  return sum;
}

PlanSize sizeOf(const train::Plan &plan) {
  PlanSize size;
  for (const train::PlanWeight &weight : plan.weights)
    for (const train::PlanPart &part : weight.parts)
      size.weights[weight.format] += uint64_t(part.bytes);
  size.arena = uint64_t(plan.arenaBytes);
  size.scratch = uint64_t(plan.scratchBytes);
  for (const train::PlanRegion &region : plan.regions)
    if (region.kind == train::RegionKind::Params || region.kind == train::RegionKind::Grads ||
        region.kind == train::RegionKind::State)
      size.adapters += uint64_t(region.bytes());
  size.parameters = uint64_t(plan.region(train::RegionKind::Params).count);
  size.tokens = plan.maxTokens;
  for (const train::PlanLaunch &launch : plan.train)
    size.flops += launch.flops;
  return size;
}

} // namespace lorac::tools
