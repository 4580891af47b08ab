#include "runtime/train/ranks/RankTraining.h"

namespace lorac::train {

Result<RankTraining> RankTraining::create(const Plan &plan, const AdaLoraConfig &config,
                                          int64_t totalSteps) {
  if (!plan.ranks)
    return Error{"plan.json has no 'ranks' for method \"adalora\"; compile the spec again",
                 Exit::ForeignFile};
  const PlanRanks &of = *plan.ranks;
  RankSchedule schedule{of.initial,    of.target,     config.tinit,
                        config.tfinal, config.deltaT, totalSteps};
  LORAC_TRY(schedule.check());
  std::vector<RankBounds> bounds;
  std::vector<std::string> names;
  int64_t triplets = 0;
  for (const PlanRanks::Module &module : of.modules) {
    bounds.push_back({module.initial, module.min, module.max});
    names.push_back(module.module);
    triplets += module.initial;
  }
  if (plan.tripletCount() != triplets)
    return Error{"plan.json: 'ranks.modules' begin with " + std::to_string(triplets) +
                     " triplets, and 'params' have " + std::to_string(plan.tripletCount()) +
                     "; compile the spec again",
                 Exit::ForeignFile};
  RankTraining training(schedule, RankAllocator(schedule, config.prune, std::move(bounds)));
  training.drift = plan.hasCodes();
  if (config.plateau)
    training.pace.emplace(schedule, *config.plateau);
  training.names = std::move(names);
  return training;
}

Result<std::optional<Allocation>>
RankTraining::afterUpdate(Backend &backend, const std::vector<float> &scalars, int64_t step) {
  if (schedule.updatesImportance(step))
    LORAC_TRY(backend.takeImportance(scalars));
  std::optional<Allocation> made;
  if (schedule.allocates(step)) {
    LORAC_TRY_ASSIGN(std::vector<float> scores, backend.tripletScores());
    if (int64_t(scores.size()) != totalRank(ranks.storedRanks()))
      return Error{"the program stores " + std::to_string(scores.size()) +
                       " triplets, and the checkpoint's ranks " +
                       std::to_string(totalRank(ranks.storedRanks())),
                   Exit::ForeignFile};
    const double progress = pace ? pace->progress(step) : schedule.progress(step);
    made = ranks.allocate(step, schedule.budgetAt(progress), scores);
  }
  // Dead triplets that are stored yet stay zero: float32 states by themselves, not those of 8 bits,
  // in which 0 comes back as a small number.
  const TripletSets died = drift  ? ranks.deadPlaces()
                           : made ? made->died
                                  : TripletSets(names.size()),
                    masked = ranks.masked(step);
  LORAC_TRY(backend.zeroTriplets(died, masked));
  return made;
}

} // namespace lorac::train
