// AdaLoRA's part of a checkpoint through JSON and back: every number to the last bit.

#include "runtime/train/CheckpointRanks.h"

#include "runtime/train/Random.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace lorac::train {
namespace {

CheckpointRanks some() {
  CheckpointRanks ranks;
  ranks.sets.triplets = {{Triplet::Alive, Triplet::Masked, Triplet::Dead, Triplet::Alive},
                         {Triplet::Dead, Triplet::Dead},
                         {Triplet::Masked}};
  ranks.sets.stored = {{0, 1, 3}, {}, {0}};
  ranks.sets.requested = true;
  ranks.sets.next = {{0, 3}, {}, {}};
  ranks.pace = PruningPaceState{3, 0.1, 2, 0.5, 17, 1.0 / 3};
  ranks.swap.swapStep = 29;
  ranks.swap.live = {2, 0, 0};
  ranks.swap.rebuild = {0.1 + 0.2, 1e-300, 21};
  ProgramRecord record{.step = 14, .ranksBefore = 7, .ranksAfter = 4};
  record.kernelsBuilt = 3, record.kernelsFromCache = 40, record.fromCache = true;
  record.hiddenMs = 128.661609, record.waitedMs = 1e-7;
  record.plannedBefore = 5'000'000'000, record.plannedAfter = 4'000'000'001;
  record.residentBefore = 3, record.residentAfter = 2;
  ProgramRecord failed{.step = 24, .ranksBefore = 4, .ranksAfter = 4};
  failed.failure = "lorac ended with code 1: \"out\\of\" luck\n\xc3\xbc";
  ranks.swap.records = {record, failed};
  return ranks;
}

/// As a checkpoint does it: through text.
CheckpointRanks throughText(const CheckpointRanks &ranks, std::string &error) {
  const Json json = Json::parse(ranksToJson(ranks).dump(1));
  return ranksFromJson(Fields(json, "ranks", error));
}

void expectSame(const CheckpointRanks &got, const CheckpointRanks &wanted) {
  EXPECT_EQ(got.sets.triplets, wanted.sets.triplets);
  EXPECT_EQ(got.sets.stored, wanted.sets.stored);
  EXPECT_EQ(got.sets.requested, wanted.sets.requested);
  EXPECT_EQ(got.sets.next, wanted.sets.next);
  ASSERT_EQ(got.pace.has_value(), wanted.pace.has_value());
  auto same = [](double x, double y) {
    EXPECT_EQ(std::bit_cast<uint64_t>(x), std::bit_cast<uint64_t>(y)) << x << " and " << y;
  };
  if (wanted.pace) {
    EXPECT_EQ(got.pace->evaluations, wanted.pace->evaluations);
    EXPECT_EQ(got.pace->stalled, wanted.pace->stalled);
    EXPECT_EQ(got.pace->sinceStep, wanted.pace->sinceStep);
    same(got.pace->best, wanted.pace->best);
    same(got.pace->pace, wanted.pace->pace);
    same(got.pace->sinceProgress, wanted.pace->sinceProgress);
  }
  EXPECT_EQ(got.swap.swapStep, wanted.swap.swapStep);
  EXPECT_EQ(got.swap.live, wanted.swap.live);
  EXPECT_EQ(got.swap.rebuild.countedTo, wanted.swap.rebuild.countedTo);
  same(got.swap.rebuild.lost, wanted.swap.rebuild.lost);
  same(got.swap.rebuild.aStep, wanted.swap.rebuild.aStep);
  ASSERT_EQ(got.swap.records.size(), wanted.swap.records.size());
  for (size_t i = 0; i < wanted.swap.records.size(); ++i) {
    const ProgramRecord &x = got.swap.records[i], &y = wanted.swap.records[i];
    EXPECT_EQ(x.step, y.step);
    EXPECT_EQ(x.failure, y.failure);
    EXPECT_EQ(x.ranksBefore, y.ranksBefore);
    EXPECT_EQ(x.ranksAfter, y.ranksAfter);
    EXPECT_EQ(x.kernelsBuilt, y.kernelsBuilt);
    EXPECT_EQ(x.kernelsFromCache, y.kernelsFromCache);
    EXPECT_EQ(x.fromCache, y.fromCache);
    same(x.hiddenMs, y.hiddenMs);
    same(x.waitedMs, y.waitedMs);
    EXPECT_EQ(x.plannedBefore, y.plannedBefore);
    EXPECT_EQ(x.plannedAfter, y.plannedAfter);
    EXPECT_EQ(x.residentBefore, y.residentBefore);
    EXPECT_EQ(x.residentAfter, y.residentAfter);
  }
}

TEST(CheckpointRanks, ComeBackAsTheyWere) {
  std::string error;
  for (const CheckpointRanks &ranks : {some(), CheckpointRanks()}) {
    expectSame(throughText(ranks, error), ranks);
    EXPECT_EQ(error, "");
  }
}

TEST(CheckpointRanks, EveryDoubleToTheLastBit) {
  RandomStream random(5, "doubles");
  std::string error;
  for (uint64_t i = 0; i < 2000; ++i) {
    auto drawn = [&](uint64_t j) {
      const uint64_t bits = uint64_t(random.word(8 * i + j)) << 32 | random.word(8 * i + j + 1);
      const double value = std::bit_cast<double>(bits);
      return std::isfinite(value) ? value : std::numeric_limits<double>::denorm_min();
    };
    CheckpointRanks ranks = some();
    ranks.swap.rebuild.lost = drawn(0), ranks.swap.rebuild.aStep = drawn(2);
    ranks.pace->best = drawn(4), ranks.pace->sinceProgress = drawn(6);
    expectSame(throughText(ranks, error), ranks);
    ASSERT_EQ(error, "");
  }
}

TEST(CheckpointRanks, WhatIsForgedIsSaid) {
  struct Case {
    const char *key;
    Json value;
  };
  for (const Case &of :
       {Case{"triplets", {{0, 3}}}, Case{"triplets", {{-1}}}, Case{"triplets", 7},
        Case{"stored", {{-1}}}, Case{"stored", {{1.5}}}, Case{"next", "all"}, Case{"swap_step", -1},
        Case{"live_at_request", {int64_t(1) << 40}}, Case{"rebuild", Json::object()},
        Case{"programs", {{{"step", 1}}}}, Case{"pace", {{"evaluations", 1}}}}) {
    Json json = ranksToJson(some());
    json[of.key] = of.value;
    std::string error;
    ranksFromJson(Fields(json, "ranks", error));
    EXPECT_NE(error, "") << of.key << ": " << of.value;
  }
  for (const char *key :
       {"triplets", "stored", "next", "swap_step", "live_at_request", "rebuild", "programs"}) {
    Json json = ranksToJson(some());
    json.erase(key);
    std::string error;
    ranksFromJson(Fields(json, "ranks", error));
    EXPECT_NE(error, "") << "without " << key;
  }
}

} // namespace
} // namespace lorac::train
