#include "runtime/train/ranks/RankSchedule.h"

#include "AdaLoraGolden.h"
#include "runtime/train/ranks/PruningPace.h"

#include <gtest/gtest.h>

namespace lorac::train {
namespace {

using test::AdaLoraGoldenTest;

TEST_P(AdaLoraGoldenTest, BudgetsAndWhereTheyAreAllocated) {
  const RankSchedule &schedule = golden->schedule;
  for (const auto &row : golden->train["rows"]) {
    const int64_t step = row["step"];
    EXPECT_EQ(schedule.budget(step), row["budget"].get<int64_t>()) << step;
    EXPECT_EQ(schedule.allocates(step), row["allocated"].get<bool>()) << step;
    EXPECT_EQ(schedule.allocates(step) || schedule.isFinal(step), row["mask_ind"].get<bool>())
        << step;
  }
}
INSTANTIATE_TEST_SUITE_P(Schedule, AdaLoraGoldenTest, testing::Values("tied", "untied"));

// The formula written out as reference.md D1 has it, over many schedules.
TEST(RankSchedule, IsPeftsFormula) {
  for (int64_t total : {1, 7, 40, 1000, 13500})
    for (int64_t tinit : {int64_t(0), total / 7, total / 3})
      for (int64_t tfinal : {int64_t(0), total / 5, total / 2})
        for (int64_t b0 : {8, 112, 10080})
          for (int64_t deltaT : {1, 5, 100}) {
            if (tinit >= total - tfinal)
              continue;
            RankSchedule schedule{b0, b0 / 3, tinit, tfinal, deltaT, total};
            for (int64_t step = 0; step < total; ++step) {
              int64_t budget = b0;
              bool mask = false;
              if (step > tinit && step > total - tfinal) {
                budget = b0 / 3;
                mask = true;
              } else if (step > tinit) {
                double m = 1 - double(step - tinit) / double(total - tfinal - tinit);
                budget = int64_t(double(b0 - b0 / 3) * std::pow(m, 3.0) + double(b0 / 3));
                mask = step % deltaT == 0 || step == total - tfinal;
              }
              ASSERT_EQ(schedule.budget(step), budget) << step;
              ASSERT_EQ(schedule.allocates(step) || schedule.isFinal(step), mask) << step;
              ASSERT_EQ(schedule.updatesImportance(step), step < total - tfinal);
            }
          }
}

TEST(RankSchedule, WithoutAFinalPhaseTheLastStepIsNearTheTarget) {
  RankSchedule schedule{112, 42, 0, 0, 1, 40}; // PEFT's defaults
  EXPECT_FALSE(schedule.allocates(0));
  EXPECT_TRUE(schedule.allocates(1));
  EXPECT_FALSE(schedule.isFinal(39));
  EXPECT_EQ(schedule.budget(39), 42);
}

TEST(RankSchedule, TheSameBudgetThroughoutWhereInitIsTarget) {
  RankSchedule schedule{24, 24, 2, 3, 1, 20};
  for (int64_t step = 0; step < 20; ++step)
    EXPECT_EQ(schedule.budget(step), 24);
}

// Step by step: what comes next is the first step behind that allocates.
TEST(RankSchedule, TheNextAllocationIsTheFirstBehind) {
  for (int64_t total : {1, 7, 40, 41})
    for (int64_t tinit : {0, 3, 5, 10})
      for (int64_t tfinal : {0, 1, 10, 12})
        for (int64_t deltaT : {1, 2, 5, 100}) {
          const RankSchedule schedule{112, 42, tinit, tfinal, deltaT, total};
          if (!schedule.check())
            continue;
          for (int64_t step = 0; step < total; ++step) {
            int64_t wanted = 0;
            for (int64_t later = step + 1; later < total && wanted == 0; ++later)
              wanted = schedule.allocates(later) ? later : 0;
            EXPECT_EQ(schedule.nextAllocation(step), wanted)
                << "after step " << step << " of " << total << ": tinit " << tinit << ", tfinal "
                << tfinal << ", deltaT " << deltaT;
          }
        }
}

TEST(RankSchedule, ChecksARunsSteps) {
  EXPECT_TRUE((RankSchedule{112, 42, 0, 0, 1, 40}.check()));
  EXPECT_TRUE((RankSchedule{112, 42, 5, 10, 100, 40}.check())); // at step 30 alone
  EXPECT_EQ((RankSchedule{112, 42, 30, 10, 1, 40}.check().error().message),
            "no step is left in which AdaLoRA's ranks fall: tinit + tfinal < steps does not hold, "
            "30 + 10 = 40 against 40; train longer");
  EXPECT_EQ((RankSchedule{112, 42, 5, 0, 40, 40}.check().error().message),
            "AdaLoRA's ranks are never allocated: the first multiple of deltaT = 40 behind tinit = "
            "5 is step 40, and the last step is 39; train longer");
}

const RankSchedule plain{1000, 250, 10, 20, 5, 110}; // budget phase: steps 10 … 90

TEST(PruningPace, IsTheScheduleWhileTheLossFalls) {
  PruningPace pace(plain, {2, 0.01, 2});
  double loss = 4;
  for (int64_t step = 0; step < plain.totalSteps; ++step) {
    EXPECT_EQ(plain.budgetAt(pace.progress(step)), plain.budget(step)) << step;
    if (step % 7 == 0)
      pace.observe(step, loss -= 0.1);
  }
}

TEST(PruningPace, HastensOnAPlateau) {
  PruningPace pace(plain, {2, 0.01, 2});
  pace.observe(20, 3);
  pace.observe(30, 3.005); // stalled 1: patience is 2
  EXPECT_EQ(pace.progress(40), plain.progress(40));
  pace.observe(40, 2.995);
  EXPECT_EQ(pace.state().pace, 2);
  // From 3/8 at step 40: the rest of 5/8 in 25 steps instead of 50.
  EXPECT_DOUBLE_EQ(pace.progress(50), 0.375 + 0.25);
  EXPECT_DOUBLE_EQ(pace.progress(65), 1);
  EXPECT_EQ(plain.budgetAt(pace.progress(66)), 250);
}

TEST(PruningPace, DelaysWhilePruningHurtsAndNotForEver) {
  PruningPace pace(plain, {1, 0.01, 2});
  pace.observe(20, 3);
  pace.observe(50, 3.2); // from 1/2 at half the pace
  EXPECT_DOUBLE_EQ(pace.progress(70), 0.5 + 0.5 * 0.5 * 20 / 40.0);
  pace.observe(70, 3.3); // it did not heal: the plain pace over what is left
  EXPECT_EQ(pace.state().pace, 1);
  EXPECT_DOUBLE_EQ(pace.progress(80), 0.625 + 0.375 / 2);
  EXPECT_EQ(pace.progress(90), 1);
}

TEST(PruningPace, TheBudgetNeverRisesAndEndsAtTheTarget) {
  uint64_t random = 1;
  for (int round = 0; round < 200; ++round) {
    PruningPace pace(plain, {1 + round % 3, 0.05, 1.5 + round % 4});
    int64_t last = plain.initBudget;
    for (int64_t step = 0; step < plain.totalSteps; ++step) {
      int64_t budget = plain.budgetAt(pace.progress(step));
      ASSERT_LE(budget, last);
      ASSERT_GE(budget, plain.targetBudget);
      last = budget;
      random = random * 6364136223846793005u + 1442695040888963407u;
      if (step % 4 == 0)
        pace.observe(step, 2 + double(random >> 40) / double(1 << 24));
      PruningPace resumed(plain, {1 + round % 3, 0.05, 1.5 + round % 4});
      ASSERT_TRUE(resumed.restore(pace.state()));
      ASSERT_EQ(resumed.progress(step + 1), pace.progress(step + 1));
    }
    EXPECT_EQ(last, plain.targetBudget);
  }
}

TEST(PruningPace, PassesOverWhatSaysNothing) {
  PruningPace pace(plain, {1, 0.01, 2});
  pace.observe(0, 3); // the first phase: a best, no pace
  pace.observe(5, 9);
  pace.observe(20, NAN);
  pace.observe(95, 9);
  EXPECT_EQ(pace.state().best, 3);
  EXPECT_EQ(pace.state().stalled, 0);
  EXPECT_EQ(pace.progress(50), plain.progress(50));
}

TEST(PruningPace, RefusesAStateOfAnotherSchedule) {
  PruningPace pace(plain, {});
  for (PruningPaceState bad : {PruningPaceState{0, 0, 0, 0, 10, 0},
                               {0, 0, 0, 1, 9, 0},
                               {0, 0, 0, 1, 90, 0},
                               {0, NAN, 0, 1, 10, 0},
                               {0, 0, -1, 1, 10, 0},
                               {0, 0, 0, 1, 10, 1.5}})
    EXPECT_FALSE(pace.restore(bad));
  EXPECT_TRUE(pace.restore({3, 2.5, 1, 2, 30, 0.25}));
}

} // namespace
} // namespace lorac::train
