// When a smaller program is asked for: a function of what died, whose builds never cost more than
// what the dead would have.

#include "runtime/train/ranks/RebuildPolicy.h"

#include "runtime/train/Random.h"

#include <gtest/gtest.h>

namespace lorac::train {
namespace {

constexpr int64_t width = 4096;

/// Modules of `rank` triplets, width x width.
Plan planOf(int64_t modules, int64_t rank) {
  Plan plan;
  plan.device = "cpu";
  plan.ranks.emplace();
  int64_t offset = 0;
  for (int64_t m = 0; m < modules; ++m) {
    const std::string name = "m" + std::to_string(m);
    plan.ranks->modules.push_back({name, rank, 0, rank});
    for (const char *group : {"lora_A", "lora_B", "lora_E"}) {
      std::vector<int64_t> shape = {rank, width};
      if (group == std::string("lora_B"))
        shape = {width, rank};
      if (group == std::string("lora_E"))
        shape = {rank, 1};
      PlanParam &param = plan.params.emplace_back(PlanParam{
          name + "." + group, name, *formats::parseAdapterPart(group), shape, offset, rank, 1});
      offset += param.count();
    }
  }
  return plan;
}

TEST(RebuildPolicy, StaysWhereNothingDiedOrNoStepIsLeft) {
  const Plan plan = planOf(1, 16);
  for (bool always : {false, true}) {
    RebuildPolicy policy(always, 1 << 20);
    EXPECT_FALSE(policy.decide(plan, {16}, {16}, 10, 20, 100).rebuild);
    EXPECT_FALSE(policy.decide(plan, {16}, {8}, 91, 0, 100).rebuild) << "it would come at step 100";
    EXPECT_NE(policy.decide(plan, {16}, {8}, 91, 0, 100).why.find("ends before step 100"),
              std::string::npos);
    EXPECT_TRUE(policy.decide(plan, {16}, {8}, 90, 0, 100).rebuild) << "one step runs it";
  }
}

TEST(RebuildPolicy, AlwaysIsAtEachAllocation) {
  const Plan plan = planOf(1, 16);
  RebuildPolicy never(false, 1), always(true, 1);
  EXPECT_FALSE(never.decide(plan, {16}, {15}, 10, 20, 100).rebuild);
  EXPECT_TRUE(always.decide(plan, {16}, {15}, 10, 20, 100).rebuild);
}

// Once the ranks stand, the smallest gain is enough: memory falls, and no later program will come.
TEST(RebuildPolicy, RanksThatStandAreBuilt) {
  const Plan plan = planOf(1, 16);
  RebuildPolicy policy(false, 1);
  EXPECT_FALSE(policy.decide(plan, {16}, {15}, 10, 20, 100).rebuild);
  EXPECT_TRUE(policy.decide(plan, {16}, {15}, 20, 0, 100).rebuild);
}

/// What the policy takes a build to cost: at what loss it asks for the first one.
double costOf(const Plan &plan) {
  constexpr int64_t soMany = 1 << 20;
  RankPattern stored(plan.ranks->modules.size(), plan.ranks->modules[0].initial), kept = stored;
  --kept[0];
  int64_t low = 0, high = soMany;
  double aStep = 0;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    RebuildPolicy policy(false, 1);
    const bool rebuild = policy.decide(plan, stored, kept, 0, middle, int64_t(1) << 40).rebuild;
    aStep = policy.state().aStep;
    (rebuild ? high : low) = middle;
  }
  return aStep * double(high);
}

TEST(RebuildPolicy, WhatIsLostAddsUpUntilItIsABuild) {
  const Plan plan = planOf(2, 16);
  RebuildPolicy one(false, 1);
  one.decide(plan, {16, 16}, {16, 14}, 0, 10, 1 << 20);
  const auto tokens = int64_t(costOf(plan) / (300 * one.state().aStep)); // worth it after 300 steps
  RebuildPolicy policy(false, tokens);
  int64_t built = 0;
  for (int64_t step = 0; step < 10000 && !built; step += 10)
    if (policy.decide(plan, {16, 16}, {16, 14}, step, step + 10, 1 << 20).rebuild)
      built = step;
  ASSERT_NEAR(double(built), 300, 25);
  // Twice as many dead are worth a build in half the time.
  RebuildPolicy twice(false, tokens);
  int64_t sooner = 0;
  for (int64_t step = 0; step < 10000 && !sooner; step += 10)
    if (twice.decide(plan, {16, 16}, {14, 14}, step, step + 10, 1 << 20).rebuild)
      sooner = step;
  EXPECT_NEAR(double(sooner), 150, 25);
  // After a program took over nothing is lost any more.
  policy.tookOver(built + 9);
  EXPECT_EQ(policy.state().lost, 0);
  EXPECT_FALSE(policy.decide(plan, {16, 14}, {16, 13}, built + 10, built + 20, 1 << 20).rebuild);
  // Near the end of the run a new one would not save what it costs.
  RebuildPolicy late(false, tokens);
  for (int64_t step = 0; step <= built; step += 10)
    EXPECT_FALSE(late.decide(plan, {16, 16}, {16, 14}, step, step + 10, built + 20).rebuild);
}

/// A run in which triplets die at random: where programs are asked for.
struct Simulated {
  std::vector<int64_t> rebuilds; ///< steps
  double wasted = 0;             ///< seconds by all dead triplets, had nothing been rebuilt
  bool isDeterministic = true;   ///< by a policy that is restored before each decision

  Simulated(const Plan &plan, int64_t tokens, uint64_t seed) {
    RandomStream random(seed, "rebuild");
    constexpr int64_t total = 400, interval = 10;
    uint64_t drawn = 0;
    RebuildPolicy policy(false, tokens);
    RankPattern stored(plan.ranks->modules.size(), 32), kept = stored, next;
    int64_t due = 0;
    for (int64_t step = interval; step < total; step += interval) {
      if (due > 0 && step + 1 > due) {
        stored = next, due = 0;
        policy.tookOver(rebuilds.back() + 1 + RebuildPolicy::swapAfter);
      }
      for (int64_t &rank : kept)
        rank -= std::min<int64_t>(rank, random.word(drawn++) % 3);
      const int64_t following = step + interval < total ? step + interval : 0;
      RebuildPolicy restored(false, tokens);
      restored.restore(policy.state());
      const auto decided = policy.decide(plan, stored, kept, step, following, total),
                 again = restored.decide(plan, stored, kept, step, following, total);
      isDeterministic &= decided.rebuild == again.rebuild && decided.why == again.why &&
                         policy.state().lost == restored.state().lost;
      if (decided.rebuild && due == 0 && following > 0) {
        rebuilds.push_back(step);
        due = step + 1 + RebuildPolicy::swapAfter;
        next = kept;
      }
      RebuildPolicy all(false, tokens);
      all.decide(plan, RankPattern(kept.size(), 32), kept, step, following, total);
      wasted += all.state().aStep * double(std::min(interval, total - step));
    }
  }
};

TEST(RebuildPolicy, BuildsNeverCostMoreThanTheDeadWouldHave) {
  const Plan plan = planOf(12, 32);
  const double cost = costOf(plan);
  ASSERT_GT(cost, 0);
  bool some = false, none = false;
  for (int64_t tokens : {1, 64, 512, 4096, 32768})
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const Simulated run(plan, tokens, seed);
      EXPECT_LE(double(run.rebuilds.size()) * cost, run.wasted * (1 + 1e-6))
          << tokens << " tokens, seed " << seed;
      EXPECT_TRUE(run.isDeterministic);
      some |= run.rebuilds.size() > 3, none |= run.rebuilds.empty();
    }
  EXPECT_TRUE(some && none) << "nothing was tested";
}

} // namespace
} // namespace lorac::train
