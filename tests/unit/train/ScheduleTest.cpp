#include "runtime/train/Schedule.h"

#include <gtest/gtest.h>

namespace lorac::train {
namespace {

// Values of transformers' get_{constant,linear,cosine}_schedule_with_warmup, worked out by hand.
TEST(Schedule, Constant) {
  Schedule plain{ScheduleName::Constant, 0, 10};
  EXPECT_EQ(plain.factor(0), 1.0);
  EXPECT_EQ(plain.factor(9), 1.0);
  Schedule warm{ScheduleName::Constant, 4, 10};
  EXPECT_EQ(warm.factor(0), 0.0);
  EXPECT_EQ(warm.factor(1), 0.25);
  EXPECT_EQ(warm.factor(3), 0.75);
  EXPECT_EQ(warm.factor(4), 1.0);
}

TEST(Schedule, Linear) {
  Schedule schedule{ScheduleName::Linear, 2, 10};
  const double expected[] = {0, 0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0};
  for (int step = 0; step <= 10; ++step)
    EXPECT_DOUBLE_EQ(schedule.factor(step), expected[step]) << step;
  EXPECT_EQ(schedule.factor(12), 0.0);
}

TEST(Schedule, Cosine) {
  Schedule schedule{ScheduleName::Cosine, 2, 10};
  EXPECT_EQ(schedule.factor(0), 0.0);
  EXPECT_EQ(schedule.factor(1), 0.5);
  EXPECT_DOUBLE_EQ(schedule.factor(2), 1.0);
  EXPECT_NEAR(schedule.factor(4), 0.8535533905932737, 1e-15); // 0.5 (1 + cos(pi/4))
  EXPECT_NEAR(schedule.factor(6), 0.5, 1e-15);
  EXPECT_NEAR(schedule.factor(8), 0.14644660940672624, 1e-15);
  EXPECT_NEAR(schedule.factor(10), 0.0, 1e-15);
  Schedule cold{ScheduleName::Cosine, 0, 4};
  EXPECT_EQ(cold.factor(0), 1.0);
}

// transformers' cosine_with_min_lr: 0.5 (1 + cos(pi p)) (1 - m) + m, by Python's math at p = 0,
// 1/8, …, 1 and m = 0.1; linear in the same way; the warm-up is not lifted.
TEST(Schedule, AFloor) {
  Schedule cosine{{ScheduleName::Cosine, 0.1}, 2, 10};
  const double cosines[] = {0,
                            0.5,
                            1.0,
                            0.9657457896300791,
                            0.8681980515339464,
                            0.7222075445642904,
                            0.55,
                            0.3777924554357096,
                            0.23180194846605365,
                            0.13425421036992097,
                            0.1};
  Schedule linear{{ScheduleName::Linear, 0.2}, 2, 10};
  const double lines[] = {0, 0.5, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2};
  for (int step = 0; step <= 10; ++step) {
    EXPECT_NEAR(cosine.factor(step), cosines[step], 1e-15) << step;
    EXPECT_NEAR(linear.factor(step), lines[step], 1e-15) << step;
  }
  EXPECT_EQ(linear.factor(12), 0.2);
  EXPECT_TRUE(cosine.curve != ScheduleName::Constant);
}

// transformers' num_cycles: 0.5 (1 + cos(2 pi c p)), by Python's math at c = 1.5; and above a
// floor.
TEST(Schedule, Cycles) {
  Schedule cosine{{ScheduleName::Cosine, 0, 1.5}, 2, 10}, above = cosine;
  above.curve.floor = 0.1;
  const double waves[] = {0.0,
                          0.5,
                          1.0,
                          0.6913417161825449,
                          0.14644660940672627,
                          0.038060233744356575,
                          0.4999999999999999,
                          0.9619397662556433,
                          0.8535533905932738,
                          0.3086582838174551,
                          0};
  for (int step = 0; step <= 10; ++step) {
    EXPECT_NEAR(cosine.factor(step), waves[step], 1e-15) << step;
    EXPECT_NEAR(above.factor(step), step < 2 ? waves[step] : waves[step] * 0.9 + 0.1, 1e-15)
        << step;
  }
  EXPECT_TRUE(cosine.curve != ScheduleName::Cosine);
}

TEST(Schedule, WarmupLongerThanTheRun) {
  Schedule schedule{ScheduleName::Linear, 10, 5};
  EXPECT_EQ(schedule.factor(4), 0.4);
  EXPECT_EQ(warmupFromRatio(0.03, 100), 3);
  EXPECT_EQ(warmupFromRatio(0.031, 100), 4);
}

} // namespace
} // namespace lorac::train
