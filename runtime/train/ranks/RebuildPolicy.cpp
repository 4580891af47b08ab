#include "runtime/train/ranks/RebuildPolicy.h"

#include "runtime/train/ranks/TripletParams.h"

#include <fmt/format.h>

namespace lorac::train {

namespace {

// What a core does in a second, and what a child needs to plan and link a program whose kernels it
// has (docs/adalora.md, "When a program is rebuilt"): a fixed part, and one by launches.
constexpr double cpuOperations = 4e10, cpuFixed = 0.2, cpuLaunch = 0.25e-3;
// A device's build costs it the pause in which kernels are loaded.
constexpr double gpuOperations = 1e14, gpuFixed = 1.0;

double buildSeconds(const Plan &plan) {
  if (plan.onGpu())
    return gpuFixed;
  const size_t launches = plan.train.size() + plan.hidden.size() + plan.regularize.size();
  return cpuFixed + cpuLaunch * double(launches);
}

} // namespace

RebuildPolicy::Decision RebuildPolicy::decide(const Plan &plan, const RankPattern &stored,
                                              const RankPattern &kept, int64_t step, int64_t next,
                                              int64_t total) {
  const int64_t done = step + 1;
  now.lost += now.aStep * double(done - now.countedTo);
  now.countedTo = done;
  double operations = 0;
  int64_t dead = 0;
  const std::vector<std::string> names = plan.ranks->names();
  for (size_t m = 0; m < names.size(); ++m) {
    const int64_t gone = stored[m] - kept[m];
    if (gone == 0)
      continue;
    dead += gone;
    for (const PlanParam &param : plan.params)
      if (param.module == names[m] && param.part != AdapterPart::E)
        operations += 6.0 * double(gone) *
                      double(param.shape[param.part == AdapterPart::A ? 1 : 0]) * double(tokens);
  }
  now.aStep = operations / (plan.onGpu() ? gpuOperations : cpuOperations);

  const int64_t swap = done + swapAfter;
  const double cost = buildSeconds(plan);
  if (dead == 0)
    return {false, "the program stays: no triplet of it is dead"};
  if (swap >= total)
    return {false, fmt::format("the program stays: the run ends before step {}", swap)};
  if (always)
    return {true,
            fmt::format("a new program is built, for step {}: {} triplets are dead", swap, dead)};
  if (next == 0)
    return {true, fmt::format("a new program is built, for step {}: the ranks stand, {} triplets "
                              "are dead",
                              swap, dead)};
  const double lost = now.lost + now.aStep * double(next - step),
               saved = now.aStep * double(total - swap);
  if (lost < cost || saved < cost)
    return {false,
            fmt::format("the program stays: {} dead triplets cost {:.2f} s by step {}, a new "
                        "program {:.2f} s",
                        dead, std::min(lost, saved), next + 1,
                        cost)}; // steps as the log counts them
  return {true, fmt::format("a new program is built, for step {}: {} dead triplets cost {:.2f} s "
                            "until the end, it {:.2f} s",
                            swap, dead, saved, cost)};
}

} // namespace lorac::train
