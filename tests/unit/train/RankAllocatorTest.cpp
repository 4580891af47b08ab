#include "runtime/train/ranks/RankAllocator.h"

#include "AdaLoraGolden.h"
#include "PlainAllocator.h"
#include "runtime/train/Random.h"

#include <gtest/gtest.h>

#include <cmath>

namespace lorac::train {
namespace {

constexpr PruneMode modes[] = {PruneMode::Mask, PruneMode::Final, PruneMode::Bucketed,
                               PruneMode::Eager};

class AllocatorGolden : public test::AdaLoraGoldenTest {};

// From PEFT's scores: every event's budget, threshold and rank pattern, and the E that are zero
// after every step.
TEST_P(AllocatorGolden, ThresholdsPatternsAndMasks) {
  std::vector<RankBounds> bounds;
  for (const TripletLayout &at : golden->layout)
    bounds.push_back({at.rank, 0, at.rank});
  RankAllocator allocator(golden->schedule, PruneMode::Mask, bounds);
  const auto &events = golden->train["events"];
  std::vector<float> e = *golden->numbers->floats("E_after_each_step");
  size_t event = 0;
  for (int64_t step = 0; step < golden->schedule.totalSteps; ++step) {
    if (golden->schedule.allocates(step)) {
      ASSERT_LT(event, events.size());
      const auto &expected = events[event];
      EXPECT_EQ(step, expected["step"].get<int64_t>());
      std::vector<float> scores =
          *golden->numbers->floats("event" + std::to_string(event++) + ".scores");
      Allocation allocation = allocator.allocate(step, golden->schedule.budget(step), scores);
      EXPECT_EQ(allocation.budget, expected["budget"].get<int64_t>());
      EXPECT_NEAR(allocation.threshold / expected["threshold"].get<double>(), 1, 1e-2);
      EXPECT_FALSE(allocation.anyDied());
      for (size_t m = 0; m < bounds.size(); ++m)
        for (size_t i = 0; i < allocator.triplets()[m].size(); ++i)
          EXPECT_EQ(allocator.triplets()[m][i] == Triplet::Alive,
                    expected["rank_pattern"][golden->modules[m]][i].get<int>() != 0)
              << step << " " << golden->modules[m] << " " << i;
    }
    TripletSets masked = allocator.masked(step);
    for (size_t m = 0; m < bounds.size(); ++m)
      for (int32_t i = 0; i < bounds[m].initRank; ++i) {
        bool zero =
            e[(size_t(step) * bounds.size() + m) * size_t(bounds[m].initRank) + size_t(i)] == 0;
        EXPECT_EQ(std::binary_search(masked[m].begin(), masked[m].end(), i), zero)
            << step << " " << golden->modules[m] << " " << i;
      }
  }
  EXPECT_EQ(event, events.size());
  EXPECT_EQ(totalRank(allocator.liveRanks()), golden->schedule.targetBudget);
}
INSTANTIATE_TEST_SUITE_P(Allocator, AllocatorGolden, testing::Values("tied", "untied"));

/// A run over drawn scores that drift as importance does, with programs that come late.
struct Drill {
  RankSchedule schedule;
  std::vector<RankBounds> bounds;
  std::vector<std::vector<double>> scores;
  RandomStream random;
  uint64_t drawn = 0;

  explicit Drill(uint64_t seed, bool bounded) : random(seed, "allocator") {
    const int64_t count = 1 + int64_t(word() % 7);
    for (int64_t m = 0; m < count; ++m) {
      const int64_t init = 1 + int64_t(word() % 40);
      RankBounds b{init, 0, init};
      if (bounded && word() % 2)
        b.minRank = int64_t(word() % uint64_t(init + 1));
      if (bounded && word() % 2)
        b.maxRank = b.minRank + int64_t(word() % uint64_t(init - b.minRank + 1));
      bounds.push_back(b);
      schedule.initBudget += init;
      scores.emplace_back(size_t(init), 0.0);
    }
    schedule.targetBudget = int64_t(word() % uint64_t(schedule.initBudget + 1));
    schedule.totalSteps = 30;
    schedule.tinit = int64_t(word() % 8);
    schedule.tfinal = int64_t(word() % 10);
    schedule.deltaT = 1 + int64_t(word() % 4);
  }

  uint32_t word() { return random.word(drawn++); }

  /// Few values, so that there are ties.
  std::vector<std::vector<double>> draw(bool ties) {
    for (auto &module : scores)
      for (double &score : module)
        score = ties ? double(word() % 6) / 4
                     : double(float(0.8 * score + 0.2 * double(word()) / 4294967296.0));
    return scores;
  }

  std::vector<float> stored(const RankAllocator &allocator) const {
    std::vector<float> out;
    for (size_t m = 0; m < bounds.size(); ++m)
      for (int32_t index : allocator.state().stored[m])
        out.push_back(float(scores[m][size_t(index)]));
    return out;
  }
};

TEST(RankAllocator, IsThePlainOneInEachMode) {
  for (uint64_t seed = 0; seed < 400; ++seed)
    for (PruneMode mode : modes) {
      Drill drill(seed, seed % 2);
      RankAllocator allocator(drill.schedule, mode, drill.bounds);
      test::PlainAllocator plain(drill.bounds, mode, drill.schedule.finalStep());
      int64_t swapAt = -1;
      for (int64_t step = 0; step < drill.schedule.totalSteps; ++step) {
        auto scores = drill.draw(seed % 5 == 0);
        if (step == swapAt)
          allocator.takeOver();
        if (!drill.schedule.allocates(step))
          continue;
        const int64_t budget = drill.schedule.budget(step);
        Allocation allocation = allocator.allocate(step, budget, drill.stored(allocator));
        plain.allocate(step, budget, scores);
        int64_t guaranteed = 0;
        for (size_t m = 0; m < drill.bounds.size(); ++m) {
          std::set<int> alive, masked;
          for (size_t i = 0; i < allocator.triplets()[m].size(); ++i)
            if (allocator.triplets()[m][i] != Triplet::Dead)
              (allocator.triplets()[m][i] == Triplet::Alive ? alive : masked).insert(int(i));
          ASSERT_EQ(alive, plain.modules[m].alive) << seed << " step " << step << " module " << m;
          ASSERT_EQ(masked, plain.modules[m].masked) << seed << " step " << step << " module " << m;
          ASSERT_GE(int64_t(alive.size()), drill.bounds[m].minRank);
          ASSERT_LE(int64_t(alive.size()), drill.bounds[m].maxRank);
          guaranteed += drill.bounds[m].minRank;
          if (mode == PruneMode::Bucketed) {
            size_t kept = alive.size() + masked.size();
            ASSERT_TRUE(kept % 8 == 0 || kept == size_t(drill.bounds[m].initRank));
            ASSERT_LT(kept, alive.size() + 8);
          }
          if (mode == PruneMode::Eager) {
            ASSERT_TRUE(masked.empty());
          }
        }
        ASSERT_LE(totalRank(allocator.liveRanks()), std::max(budget, guaranteed));
        if (allocation.anyDied() && swapAt < step) {
          allocator.request();
          swapAt = step + 1 + int64_t(drill.word() % 5);
        }
      }
    }
}

// The dead stay dead, whatever the program stores and whenever it comes; a restored allocator goes
// on as the one that was saved.
TEST(RankAllocator, StorageNeverChangesTheSets) {
  for (uint64_t seed = 0; seed < 200; ++seed)
    for (PruneMode mode : modes) {
      Drill drill(seed, seed % 3 == 0);
      RankAllocator prompt(drill.schedule, mode, drill.bounds), never = prompt;
      for (int64_t step = 0; step < drill.schedule.totalSteps; ++step) {
        drill.draw(false);
        if (!drill.schedule.allocates(step))
          continue;
        const auto before = prompt.triplets();
        prompt.allocate(step, drill.schedule.budget(step), drill.stored(prompt));
        never.allocate(step, drill.schedule.budget(step), drill.stored(never));
        ASSERT_EQ(prompt.triplets(), never.triplets());
        for (size_t m = 0; m < before.size(); ++m)
          for (size_t i = 0; i < before[m].size(); ++i)
            if (before[m][i] == Triplet::Dead) {
              ASSERT_EQ(prompt.triplets()[m][i], Triplet::Dead);
            }
        RankPattern asked = prompt.request();
        ASSERT_EQ(asked, prompt.keptRanks());
        RankAllocator resumed(drill.schedule, mode, drill.bounds);
        ASSERT_TRUE(resumed.restore(prompt.state()));
        RankPattern stored = prompt.storedRanks();
        TripletSets places = prompt.takeOver();
        ASSERT_EQ(resumed.takeOver(), places);
        ASSERT_EQ(prompt.storedRanks(), asked);
        for (size_t m = 0; m < places.size(); ++m)
          ASSERT_TRUE(places[m].empty() || places[m].back() < stored[m]);
        prompt = resumed;
      }
    }
}

std::vector<float> ramp(size_t count) {
  std::vector<float> out;
  for (size_t i = 0; i < count; ++i)
    out.push_back(float(i));
  return out;
}

TEST(RankAllocator, NothingIsMaskedWhereInitIsTarget) {
  for (PruneMode mode : modes) {
    RankAllocator allocator({24, 24, 0, 2, 1, 9}, mode, {{12, 0, 12}, {12, 0, 12}});
    Allocation allocation = allocator.allocate(1, 24, std::vector<float>(24, 0.5f));
    EXPECT_FALSE(allocation.anyDied());
    EXPECT_EQ(allocator.liveRanks(), RankPattern({12, 12}));
    EXPECT_EQ(allocator.masked(1), TripletSets(2));
  }
}

TEST(RankAllocator, TiesGoBelow) {
  RankAllocator allocator({8, 5, 0, 1, 1, 9}, PruneMode::Mask, {{4, 0, 4}, {4, 0, 4}});
  float scores[] = {1, 1, 1, 2, 1, 3, 1, 4};
  Allocation allocation = allocator.allocate(1, 5, scores);
  EXPECT_EQ(allocation.threshold, 1);
  EXPECT_EQ(allocator.liveRanks(), RankPattern({1, 2}));
}

TEST(RankAllocator, BoundsBindAndOneModuleGivesWhatAnotherKeeps) {
  RankAllocator allocator({8, 4, 0, 1, 1, 9}, PruneMode::Mask, {{4, 2, 4}, {4, 0, 1}});
  Allocation allocation = allocator.allocate(1, 4, ramp(8));
  // The second module's three best are above all of the first's, but one may stay.
  EXPECT_EQ(allocator.liveRanks(), RankPattern({3, 1}));
  EXPECT_EQ(allocation.threshold, 0);
  // A budget below the lower bounds: they hold.
  allocator.allocate(2, 1, ramp(8));
  EXPECT_EQ(allocator.liveRanks(), RankPattern({2, 0}));
  EXPECT_EQ(allocator.livePlaces(), (TripletSets{{2, 3}, {}}));
}

TEST(RankAllocator, AModuleAtRankZeroIsGoneInBucketedAndEager) {
  for (PruneMode mode : {PruneMode::Bucketed, PruneMode::Eager}) {
    RankAllocator allocator({24, 8, 0, 2, 1, 9}, mode, {{12, 0, 12}, {12, 0, 12}});
    Allocation allocation = allocator.allocate(1, 8, ramp(24));
    EXPECT_EQ(allocator.liveRanks(), RankPattern({0, 8}));
    EXPECT_EQ(allocator.request(), RankPattern({0, 8}));
    EXPECT_EQ(allocation.died[0].size(), 12u);
    EXPECT_EQ(allocator.takeOver(), (TripletSets{{}, {4, 5, 6, 7, 8, 9, 10, 11}}));
    EXPECT_EQ(allocator.masked(1), TripletSets(2));
    // Only the eight that are left have scores.
    allocator.allocate(2, 8, ramp(8));
    EXPECT_EQ(allocator.liveRanks(), RankPattern({0, 8}));
  }
}

TEST(RankAllocator, ABudgetOfNothingAndOddRanks) {
  RankAllocator allocator({24, 0, 0, 2, 1, 9}, PruneMode::Bucketed, {{13, 0, 13}, {11, 0, 11}});
  allocator.allocate(1, 23, ramp(24)); // 12 + 11: no bucket of 8 is free yet
  EXPECT_EQ(allocator.keptRanks(), RankPattern({13, 11}));
  allocator.allocate(2, 12, ramp(24)); // 1 + 11
  EXPECT_EQ(allocator.liveRanks(), RankPattern({1, 11}));
  EXPECT_EQ(allocator.keptRanks(), RankPattern({8, 11}));
  allocator.allocate(3, 0, ramp(24));
  EXPECT_EQ(allocator.keptRanks(), RankPattern({0, 0}));
}

TEST(RankAllocator, FinalIsMaskUntilTheFinalPhase) {
  RankSchedule schedule{20, 6, 0, 4, 2, 12}; // the final phase begins at step 8
  RankAllocator mask(schedule, PruneMode::Mask, {{10, 0, 10}, {10, 0, 10}}), last = mask;
  last = RankAllocator(schedule, PruneMode::Final, {{10, 0, 10}, {10, 0, 10}});
  for (int64_t step = 0; step < 12; ++step) {
    if (schedule.allocates(step)) {
      mask.allocate(step, schedule.budget(step), ramp(20));
      Allocation allocation = last.allocate(step, schedule.budget(step), ramp(20));
      EXPECT_EQ(allocation.anyDied(), step == 8);
    }
    EXPECT_EQ(mask.liveRanks(), last.liveRanks());
    EXPECT_EQ(last.masked(step), step < 8 ? mask.masked(step) : TripletSets(2));
    EXPECT_EQ(mask.masked(step)[0].empty(), step < 2 || (step < 8 && step % 2 == 1)) << step;
  }
  EXPECT_EQ(last.request(), RankPattern({0, 6}));
}

TEST(RankAllocator, ScoresThatAreNoNumberStandAboveAll) {
  RankAllocator allocator({6, 2, 0, 1, 1, 9}, PruneMode::Eager, {{6, 0, 6}});
  float scores[] = {1, NAN, 3, 2, 5, 4};
  allocator.allocate(1, 2, scores);
  EXPECT_EQ(allocator.livePlaces(), (TripletSets{{1, 4}}));
}

TEST(RankAllocator, RefusesAStateOfOtherModules) {
  RankAllocator allocator({5, 2, 0, 1, 1, 9}, PruneMode::Eager, {{3, 0, 3}, {2, 0, 2}});
  const RankState good = allocator.state();
  EXPECT_TRUE(allocator.restore(good));
  auto refused = [&](auto &&change) {
    RankState state = good;
    change(state);
    Result<void> restored = allocator.restore(state);
    return !restored && restored.error().code == Exit::ForeignFile;
  };
  EXPECT_TRUE(refused([](RankState &s) { s.triplets.pop_back(); }));
  EXPECT_TRUE(refused([](RankState &s) { s.triplets[0].pop_back(); }));
  EXPECT_TRUE(refused([](RankState &s) { s.triplets[0][0] = Triplet(7); }));
  EXPECT_TRUE(refused([](RankState &s) { s.stored[0] = {0, 2, 1}; }));
  EXPECT_TRUE(refused([](RankState &s) { s.stored[0] = {0, 1, 3}; }));
  EXPECT_TRUE(refused([](RankState &s) { s.stored[1] = {1}; })); // one that is alive is not stored
  EXPECT_TRUE(refused([](RankState &s) { s.requested = true; }));
  EXPECT_TRUE(refused([](RankState &s) { s.requested = true, s.next = {{0, 1}, {0, 1}}; }));
}

} // namespace
} // namespace lorac::train
