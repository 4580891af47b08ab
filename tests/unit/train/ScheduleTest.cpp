#include "runtime/train/Schedule.h"

#include "runtime/formats/MappedFile.h"
#include "runtime/train/JsonFields.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>

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

/// transformers' rates of 105 updates, and which of them ours are: those from `from` on, `ahead`
/// steps later.
struct OfTransformers {
  const char *name;
  ScheduleCurve curve;
  int from = 0, ahead = 0;
  int64_t warmup = 10, total = 100;
};

ScheduleCurve with(ScheduleCurve curve, const std::function<void(ScheduleCurve &)> &change) {
  change(curve);
  return curve;
}

TEST(Schedule, AsTransformers) {
  using Curve = ScheduleCurve;
  using dsl::DecayType;
  const auto decay = [](int64_t steps, DecayType type, double floor = 0) {
    return with({ScheduleName::WarmupStableDecay, floor},
                [&](Curve &curve) { curve.decaySteps = steps, curve.decayType = type; });
  };
  const OfTransformers cases[] = {
      {"linear", ScheduleName::Linear},
      {"cosine", ScheduleName::Cosine},
      {"constant", ScheduleName::Constant, 0, 0, 0},
      {"constant_with_warmup", ScheduleName::Constant},
      {"inverse_sqrt", ScheduleName::InverseSqrt},
      {"inverse_sqrt(timescale=30)",
       with(ScheduleName::InverseSqrt, [](Curve &curve) { curve.timescale = 30; })},
      {"polynomial(lr_end=1e-06, power=1.0)", Curve(ScheduleName::Polynomial, 1e-3)},
      {"polynomial(lr_end=1e-05, power=2.5)",
       with({ScheduleName::Polynomial, 1e-2}, [](Curve &curve) { curve.power = 2.5; })},
      {"cosine_with_min_lr(min_lr_rate=0.1)", Curve(ScheduleName::Cosine, 0.1)},
      // One step ahead; its warm-up may begin elsewhere than at 0.
      {"cosine_warmup_with_min_lr(min_lr_rate=0.1)", Curve(ScheduleName::Cosine, 0.1), 0, 1},
      {"cosine_warmup_with_min_lr(min_lr_rate=0.05, warmup_lr_rate=0.2)",
       Curve(ScheduleName::Cosine, 0.05), 9, 1},
      {"warmup_stable_decay(num_decay_steps=20)", decay(20, DecayType::Cosine)},
      {"warmup_stable_decay(num_decay_steps=30, decay_type=1-sqrt, min_lr_ratio=0.05)",
       decay(30, DecayType::OneMinusSqrt, 0.05)},
      // Behind warm-ups that are not lines; the last ends at step 65.
      {"warmup_stable_decay(num_decay_steps=25, decay_type=linear, warmup_type=cosine, "
       "min_lr_ratio=0.1)",
       decay(25, DecayType::Linear, 0.1), 10},
      {"warmup_stable_decay(num_decay_steps=15, num_stable_steps=40, warmup_type=1-sqrt)",
       decay(15, DecayType::Cosine), 10, 0, 10, 65},
  };
  auto text = formats::readSmallFile(LORAC_SOURCE_DIR "/tests/golden/reg/schedules.json", 1 << 20);
  ASSERT_TRUE(text);
  auto golden = parseJson(*text, "schedules.json");
  ASSERT_TRUE(golden);
  std::set<std::string> left;
  for (const auto &schedule : (*golden)["schedules"].items())
    left.insert(schedule.key());
  for (const OfTransformers &of : cases) {
    SCOPED_TRACE(of.name);
    ASSERT_TRUE(left.erase(of.name));
    const Schedule ours{of.curve, of.warmup, of.total};
    const Json &rates = (*golden)["schedules"][of.name]["lr"];
    ASSERT_EQ(rates.size(), 105u);
    for (int i = of.from; i < 105; ++i)
      EXPECT_NEAR(ours.factor(i + of.ahead), rates[size_t(i)].get<double>() / 1e-3, 1e-12) << i;
  }
  // Waves of the cosine have no key yet.
  EXPECT_EQ(left, (std::set<std::string>{"cosine(num_cycles=1.25)",
                                         "cosine_with_min_lr(min_lr=2e-05, num_cycles=0.75)",
                                         "cosine_with_restarts(num_cycles=3)"}));
}

TEST(Schedule, DecayOfATenth) {
  const Schedule schedule{ScheduleName::WarmupStableDecay, 5, 25};
  EXPECT_EQ(schedule.factor(22), 1.0);
  EXPECT_DOUBLE_EQ(schedule.factor(23), 0.75); // of three steps, cosine
  EXPECT_DOUBLE_EQ(schedule.factor(24), 0.25);
  EXPECT_EQ(schedule.factor(25), 0.0);
}

TEST(Schedule, Words) {
  EXPECT_EQ(ScheduleCurve(ScheduleName::Cosine).shown(), "cosine");
  EXPECT_EQ(with(ScheduleName::Polynomial, [](auto &curve) { curve.power = 2; }).shown(),
            "polynomial of power 2");
  EXPECT_EQ(with(ScheduleName::InverseSqrt, [](auto &curve) { curve.timescale = 30; }).shown(),
            "inverse_sqrt over 30 steps");
  EXPECT_EQ(ScheduleCurve(ScheduleName::WarmupStableDecay).shown(),
            "warmup_stable_decay, cosine over the last tenth of the steps");
  EXPECT_FALSE(ScheduleCurve(ScheduleName::InverseSqrt).needsTotal());
  EXPECT_TRUE(ScheduleCurve(ScheduleName::WarmupStableDecay).needsTotal());
}

TEST(Schedule, WarmupLongerThanTheRun) {
  Schedule schedule{ScheduleName::Linear, 10, 5};
  EXPECT_EQ(schedule.factor(4), 0.4);
  EXPECT_EQ(warmupFromRatio(0.03, 100), 3);
  EXPECT_EQ(warmupFromRatio(0.031, 100), 4);
}

} // namespace
} // namespace lorac::train
