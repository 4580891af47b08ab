// From dead triplets to a smaller program, with programs made beforehand in place of a compiler's:
// when it is asked for, when it takes over, and what is left as it was when it cannot.

#include "runtime/train/ranks/ProgramSwap.h"

#include "AdamWReference.h"
#include "FakeRecompiler.h"
#include "FakeTriplets.h"
#include "runtime/train/JsonFields.h"
#include "runtime/train/Signals.h"
#include "runtime/train/StepScalars.h"

#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <unistd.h>

namespace lorac::train {
namespace {

constexpr int64_t total = 100, initial = mostTriplets, width = tripletWidth;

class ProgramSwapTest : public testing::Test {
protected:
  void SetUp() override {
    folder = std::filesystem::path(testing::TempDir()) /
             ("swap." + std::to_string(getpid()) + "." +
              testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder);
    compiler.folder = folder.string();
    session = open();
    ASSERT_TRUE(session);
    AdaLoraConfig config;
    config.tinit = 2, config.tfinal = 40, config.deltaT = 10;
    config.beta1 = config.beta2 = 0.85;
    config.prune = PruneMode::Eager;
    Result<RankTraining> training = RankTraining::create(session->plan, config, total);
    ASSERT_TRUE(training) << training.error().message;
    ranks.emplace(std::move(*training));
    // Each number says what it is: region, module, tensor and triplet.
    ASSERT_TRUE(session->edit([&](const TrainedFloats &floats) -> Result<void> {
      for (int64_t i = 0; i < parameters(); ++i) {
        floats.params[i] = float(i);
        for (size_t r = 0; r < floats.others.size(); ++r)
          floats.others[r].floats[i] = float(1000 * int64_t(r + 1) + i);
      }
      return {};
    }));
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  std::unique_ptr<Session> open() {
    const std::string path = (folder / "first.program").string();
    const std::vector<PayloadFile> files = {{"module.so", fileBytes(FAKE_MODULE)},
                                            {"plan.json", tripletPlanJson({initial, initial})},
                                            {"run.json", "{}"}};
    EXPECT_TRUE(writeProgram(files, path));
    payload = *Payload::read(path);
    RunConfig run;
    run.seed = 3;
    auto opened = Session::open(payload, run, {"", 1}, [](const std::string &) {});
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? std::move(*opened) : nullptr;
  }

  /// `live` triplets of each module stay: the last ones.
  void allocate(int64_t step, int64_t live0, int64_t live1) {
    std::vector<float> scores;
    const RankPattern stored = ranks->allocator().storedRanks();
    for (auto [rank, live] : {std::pair{stored[0], live0}, {stored[1], live1}})
      for (int64_t i = 0; i < rank; ++i)
        scores.push_back(i >= rank - live ? 2.0f : 1.0f);
    ranks->allocator().allocate(step, live0 + live1, scores);
    EXPECT_EQ(ranks->allocator().keptRanks(), (RankPattern{live0, live1}));
  }

  int64_t parameters() const { return session->plan.region(RegionKind::Params).count; }
  std::vector<float> params() {
    const float *floats = session->backend->read()->params;
    return {floats, floats + parameters()};
  }

  std::filesystem::path folder;
  Payload payload;
  std::unique_ptr<Session> session;
  std::optional<RankTraining> ranks;
  Canned compiler;
  SteadyClock clock;
  ProgramSwap swap{&compiler, RebuildPolicy(/*always=*/true, 100), total, clock};
};

TEST_F(ProgramSwapTest, TakesOverAFixedNumberOfStepsLater) {
  EXPECT_NE(swap.decide(10, *ranks, *session).find("no triplet of it is dead"), std::string::npos);
  EXPECT_TRUE(compiler.asked.empty());
  allocate(20, 3, 0);
  swap.decide(20, *ranks, *session);
  ASSERT_EQ(compiler.asked.size(), 1u);
  EXPECT_EQ(compiler.asked[0], (NamedRanks{{"m0", 3}, {"m1", 0}}));
  EXPECT_FALSE(swap.isDue(21));
  EXPECT_FALSE(swap.isDue(20 + RebuildPolicy::swapAfter));
  ASSERT_TRUE(swap.isDue(21 + RebuildPolicy::swapAfter));
  EXPECT_EQ(session->plan.params.size(), 6u) << "until then the old one runs";

  const uint64_t before = session->backend->device().memory().planned;
  const ProgramRecord *record = swap.swap(29, *ranks, *session);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->failure, "");
  EXPECT_EQ(record->step, 29);
  EXPECT_EQ(record->ranksBefore, 32);
  EXPECT_EQ(record->ranksAfter, 3);
  EXPECT_EQ(record->kernelsBuilt, 3);
  EXPECT_EQ(record->kernelsFromCache, 40);
  EXPECT_EQ(record->plannedBefore, before);
  EXPECT_LT(record->plannedAfter, before);
  EXPECT_EQ(record->plannedAfter, session->backend->device().memory().planned);
  EXPECT_FALSE(swap.isDue(30));
  EXPECT_FALSE(ranks->allocator().requested());
  EXPECT_EQ(ranks->allocator().storedRanks(), (RankPattern{3, 0}));
  EXPECT_EQ(swap.live(), (RankPattern{3, 0}));

  // Of m0 rows 13 … 15 of A [16, 4], columns 13 … 15 of B [4, 16], which stands behind it, and E.
  std::vector<float> wanted;
  for (int i = 13 * 4; i < 16 * 4; ++i)
    wanted.push_back(float(i));
  for (int row = 0; row < 4; ++row)
    for (int i = 13; i < 16; ++i)
      wanted.push_back(float(64 + row * 16 + i));
  for (int i = 13; i < 16; ++i)
    wanted.push_back(float(128 + i));
  EXPECT_EQ(params(), wanted);
  const TrainedFloats floats = *session->backend->read();
  ASSERT_EQ(floats.others.size(), 4u);
  for (size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_EQ(floats.find("exp_avg")[i], 1000 + wanted[i]);
    EXPECT_EQ(floats.find("exp_avg_sq")[i], 2000 + wanted[i]);
    EXPECT_EQ(floats.find("sensitivity")[i], 3000 + wanted[i]);
    EXPECT_EQ(floats.find("uncertainty")[i], 4000 + wanted[i]);
  }
}

/// The new program's update goes over its own spans, with its own scalars.
TEST_F(ProgramSwapTest, TheUpdateGoesOverTheNewParameters) {
  const test::AdamW adam{0.9, 0.999, 1e-8, 0.01};
  allocate(20, 5, 1);
  swap.decide(20, *ranks, *session);
  for (int update = 1; update <= 2; ++update) {
    const Plan &plan = session->plan;
    const auto count = size_t(parameters());
    const TrainedFloats floats = *session->backend->read();
    std::vector<float> p(floats.params, floats.params + count),
        m(floats.find("exp_avg"), floats.find("exp_avg") + count),
        v(floats.find("exp_avg_sq"), floats.find("exp_avg_sq") + count), g(count);
    auto *grads = const_cast<float *>(*session->backend->grads()); // on the CPU the arena's own
    for (size_t i = 0; i < count; ++i)
      grads[i] = g[i] = float(i % 5) - 2;
    const std::vector<ParamGroup> groups = makeGroups(plan, 16);
    Result<float> norm = session->backend->gradNorm(0);
    ASSERT_TRUE(norm &&
                session->backend->update(stepScalars(plan.updateScalars, groups, 1e-2, update)));
    test::applyUpdate(plan.spans(), adam.scalars(groups, 1e-2, update), 1, p.data(), g.data(),
                      m.data(), v.data());
    EXPECT_EQ(params(), p) << update;
    const TrainedFloats after = *session->backend->read();
    EXPECT_TRUE(std::equal(m.begin(), m.end(), after.find("exp_avg")));
    EXPECT_TRUE(std::equal(v.begin(), v.end(), after.find("exp_avg_sq")));
    if (update == 1) {
      ASSERT_EQ(swap.swap(29, *ranks, *session)->failure, "");
      EXPECT_EQ(parameters(), 6 * (2 * width + 1));
    }
  }
}

/// A program that trains something else has no place for what was trained.
TEST_F(ProgramSwapTest, OfAnotherOptimizerIsRefused) {
  Json other = Json::parse(tripletPlanJson({8, 8}));
  other["arena"]["regions"][2]["name"] = "momentum_buffer";
  compiler.otherPlan = other.dump();
  allocate(20, 8, 8);
  swap.decide(20, *ranks, *session);
  const std::vector<float> before = params();
  EXPECT_NE(swap.swap(29, *ranks, *session)->failure.find("of another model or target"),
            std::string::npos);
  EXPECT_EQ(params(), before);
}

TEST_F(ProgramSwapTest, OneProgramIsAskedForAtATime) {
  allocate(20, 10, 10);
  swap.decide(20, *ranks, *session);
  allocate(25, 9, 7);
  EXPECT_NE(swap.decide(25, *ranks, *session).find("still to come"), std::string::npos);
  EXPECT_EQ(compiler.asked.size(), 1u);
  // It stores what was kept when it was asked for; what died since is zero in it.
  ASSERT_TRUE(swap.swap(29, *ranks, *session));
  EXPECT_EQ(ranks->allocator().storedRanks(), (RankPattern{10, 10}));
  EXPECT_EQ(ranks->allocator().keptRanks(), (RankPattern{9, 7}));
  EXPECT_EQ(swap.live(), (RankPattern{10, 10}));
  swap.decide(30, *ranks, *session);
  ASSERT_EQ(compiler.asked.size(), 2u);
  EXPECT_EQ(compiler.asked[1], (NamedRanks{{"m0", 9}, {"m1", 7}}));
}

TEST_F(ProgramSwapTest, WaitsForABuildThatIsLate) {
  allocate(20, 8, 8);
  compiler.glances = 4;
  swap.decide(20, *ranks, *session);
  EXPECT_TRUE(swap.isDue(29)) << "whether it is ready or not";
  ASSERT_TRUE(swap.swap(29, *ranks, *session));
  EXPECT_EQ(compiler.glances, 0);
  EXPECT_EQ(ranks->allocator().storedRanks(), (RankPattern{8, 8}));
}

TEST_F(ProgramSwapTest, AFailureLeavesAllAsItWas) {
  Json otherModel = Json::parse(tripletPlanJson({8, 8}));
  otherModel["weights"][0]["name"] = "other.weight";
  struct Case {
    std::optional<Error> failure;
    std::optional<std::string> plan;
    const char *says;
  };
  const Case cases[] = {{Error{"lorac was killed by signal 9"}, {}, "lorac was killed by signal 9"},
                        {{}, "{}", "plan.json: "},
                        {{}, otherModel.dump(), "of another model or target"},
                        {{}, tripletPlanJson({9, 8}), "'m0.lora_A.weight'"},
                        {{}, tripletPlanJson({8, 0}), "'m1"}};
  int64_t step = 10;
  const std::vector<float> before = params();
  for (const Case &of : cases) {
    SCOPED_TRACE(of.says);
    compiler.failure = of.failure, compiler.otherPlan = of.plan;
    allocate(step, 8, 8);
    const RankState sets = ranks->allocator().state();
    swap.decide(step, *ranks, *session);
    EXPECT_TRUE(ranks->allocator().requested());
    const ProgramRecord *record = swap.swap(step + 9, *ranks, *session);
    ASSERT_TRUE(record);
    EXPECT_NE(record->failure.find(of.says), std::string::npos) << record->failure;
    EXPECT_EQ(record->ranksAfter, record->ranksBefore);
    EXPECT_FALSE(swap.isDue(total));
    EXPECT_FALSE(ranks->allocator().requested());
    EXPECT_EQ(ranks->allocator().state().triplets, sets.triplets);
    EXPECT_EQ(ranks->allocator().state().stored, sets.stored);
    EXPECT_EQ(session->plan.params.size(), 6u);
    EXPECT_EQ(params(), before);
    step += 10;
  }
  // The next one may do it.
  compiler.failure.reset(), compiler.otherPlan.reset();
  allocate(step, 8, 8);
  swap.decide(step, *ranks, *session);
  EXPECT_EQ(swap.swap(step + 9, *ranks, *session)->failure, "");
  EXPECT_EQ(swap.records().size(), std::size(cases) + 1);
}

/// Scores and states of triplets go by the ranks that the run began with.
TEST_F(ProgramSwapTest, OtherTripletsThanTheRanksAreRefused) {
  AdaLoraConfig config;
  config.tinit = 2, config.tfinal = 40, config.deltaT = 10;
  Result<Plan> fewer = parsePlan(tripletPlanJson({initial, 8}));
  ASSERT_TRUE(fewer) << fewer.error().message;
  Result<RankTraining> training = RankTraining::create(*fewer, config, total);
  ASSERT_FALSE(training);
  EXPECT_EQ(training.error().code, Exit::ForeignFile);
  EXPECT_EQ(training.error().message, "plan.json: 'ranks.modules' begin with 32 triplets, and "
                                      "'params' have 24; compile the spec again");

  // A program of a resumed run that is another one than was asked for.
  allocate(20, 8, 5);
  swap.decide(20, *ranks, *session);
  ASSERT_TRUE(swap.swap(29, *ranks, *session));
  compiler.otherPlan = tripletPlanJson({5, 8});
  std::unique_ptr<Session> fresh = open();
  Result<void> resumed = swap.resume(ranks->allocator().state(), swap.state(), *fresh);
  ASSERT_FALSE(resumed);
  EXPECT_EQ(resumed.error().code, Exit::ForeignFile);
}

// In a process of its own: a signal is for ever.
TEST_F(ProgramSwapTest, ASignalEndsTheWaitAndTheRequestStands) {
  auto stopped = [&] {
    allocate(20, 8, 8);
    compiler.glances = 1 << 30;
    swap.decide(20, *ranks, *session);
    stopAtOnce();
    stopWhenAsked();
    std::raise(SIGTERM);
    const ProgramRecord *record = swap.swap(29, *ranks, *session);
    const bool stands = !record && ranks->allocator().requested() && swap.records().empty() &&
                        swap.state().swapStep == 29;
    std::_Exit(stands ? 0 : 1);
  };
  EXPECT_EXIT(stopped(), testing::ExitedWithCode(0), "");
}

TEST_F(ProgramSwapTest, WithoutACompilerTheProgramStays) {
  ProgramSwap fixed(nullptr, RebuildPolicy(true, 100), total, clock);
  for (int64_t step : {20, 30}) {
    allocate(step, 8, 36 - step);
    EXPECT_NE(fixed.decide(step, *ranks, *session).find("--allow-fixed-ranks"), std::string::npos);
    EXPECT_FALSE(fixed.isDue(total));
    EXPECT_FALSE(ranks->allocator().requested());
  }
  ASSERT_EQ(fixed.records().size(), 1u) << "said once";
  EXPECT_NE(fixed.records()[0].failure.find("--allow-fixed-ranks"), std::string::npos);
}

TEST_F(ProgramSwapTest, AResumedRunHasItsProgramAndItsRequest) {
  allocate(20, 8, 5);
  swap.decide(20, *ranks, *session);
  ASSERT_TRUE(swap.swap(29, *ranks, *session));
  allocate(30, 7, 0);
  swap.decide(30, *ranks, *session);
  const RankState sets = ranks->allocator().state();
  const ProgramSwapState kept = swap.state();

  std::unique_ptr<Session> fresh = open();
  Canned again;
  again.folder = folder.string();
  ProgramSwap resumed(&again, RebuildPolicy(true, 100), total, clock);
  ASSERT_TRUE(ranks->restore(sets));
  Result<void> done = resumed.resume(sets, kept, *fresh);
  ASSERT_TRUE(done) << done.error().message;
  ASSERT_EQ(again.asked.size(), 2u);
  EXPECT_EQ(again.asked[0], (NamedRanks{{"m0", 8}, {"m1", 5}})) << "the one that runs";
  EXPECT_EQ(again.asked[1], (NamedRanks{{"m0", 7}, {"m1", 0}})) << "the one under way";
  EXPECT_EQ(fresh->plan.region(RegionKind::Params).count, 13 * (2 * width + 1));
  EXPECT_EQ(resumed.records().size(), 1u);
  EXPECT_FALSE(resumed.isDue(38));
  EXPECT_TRUE(resumed.isDue(39)) << "the same step as without the interruption";
  ASSERT_TRUE(resumed.swap(39, *ranks, *fresh));
  EXPECT_EQ(fresh->plan.region(RegionKind::Params).count, 7 * (2 * width + 1));

  // One that cannot be built again, or without a compiler, is an error.
  again.failure = Error{"out of luck"};
  std::unique_ptr<Session> other = open();
  EXPECT_NE(resumed.resume(sets, kept, *other).error().message.find("out of luck"),
            std::string::npos);
  ProgramSwap fixed(nullptr, RebuildPolicy(true, 100), total, clock);
  done = fixed.resume(sets, kept, *other);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Exit::Refused);
  EXPECT_NE(done.error().message.find("--lorac"), std::string::npos);
}

// A request of a run that had a compiler, resumed at fixed ranks: it is given up, and said.
TEST_F(ProgramSwapTest, ARequestIsGivenUpWhereItsCompilerIsGone) {
  allocate(20, 8, 8);
  swap.decide(20, *ranks, *session);
  ProgramSwap fixed(nullptr, RebuildPolicy(true, 100), total, clock);
  ASSERT_TRUE(fixed.resume(ranks->allocator().state(), swap.state(), *session));
  EXPECT_FALSE(fixed.isDue(29));
  allocate(30, 8, 6);
  EXPECT_NE(fixed.decide(30, *ranks, *session).find("--allow-fixed-ranks"), std::string::npos);
  EXPECT_FALSE(ranks->allocator().requested());
  EXPECT_EQ(fixed.records().size(), 1u);
}

} // namespace
} // namespace lorac::train
