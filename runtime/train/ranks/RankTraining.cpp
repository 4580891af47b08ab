#include "runtime/train/ranks/RankTraining.h"

#include "runtime/train/ranks/TripletParams.h"

namespace lorac::train {

Result<RankTraining> RankTraining::create(const Plan &plan, const AdaLoraConfig &config,
                                          int64_t totalSteps) {
  if (!plan.ranks)
    return Error{"plan.json has no 'ranks' for method \"adalora\"; compile the spec again",
                 Exit::ForeignFile};
  const PlanRanks &of = *plan.ranks;
  RankSchedule schedule{of.initial,    of.target,     config.tinit,
                        config.tfinal, config.deltaT, totalSteps};
  if (Result<void> fits = schedule.check(); !fits)
    return fits.error();
  std::vector<RankBounds> bounds;
  std::vector<std::string> names;
  for (const PlanRanks::Module &module : of.modules) {
    bounds.push_back({module.initial, module.min, module.max});
    names.push_back(module.module);
  }
  Result<std::vector<TripletLayout>> layouts = tripletLayouts(plan.params, names);
  if (!layouts)
    return layouts.error();
  RankTraining training(schedule, RankAllocator(schedule, config.prune, std::move(bounds)));
  training.importance = {config.beta1, config.beta2};
  training.names = std::move(names);
  training.triplets = std::move(*layouts);
  return training;
}

std::optional<Allocation> RankTraining::afterUpdate(ThreadPool &pool, const TrainedFloats &trained,
                                                    const float *grads, float clip, int64_t step) {
  if (schedule.updatesImportance(step))
    importance.update(pool, triplets, trained.params, grads, clip, trained.sensitivity,
                      trained.uncertainty);
  std::optional<Allocation> made;
  if (schedule.allocates(step)) {
    std::vector<float> scores(size_t(totalRank(ranks.storedRanks())));
    scoreTriplets(pool, triplets, trained.sensitivity, trained.uncertainty, scores.data());
    made = ranks.allocate(step, schedule.budget(step), scores);
    for (float *region : {trained.params, trained.expAvg, trained.expAvgSq, trained.sensitivity,
                          trained.uncertainty})
      zeroTriplets(region, triplets, made->died);
  }
  zeroE(trained.params, triplets, ranks.masked(step));
  return made;
}

} // namespace lorac::train
