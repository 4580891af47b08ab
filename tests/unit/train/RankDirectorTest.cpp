// AdaLoRA's ranks and programs within the loop, with a device of scripted scores and programs made
// beforehand: what is decided, what is told of it, and what becomes of a program that fails.
#include "FakeRecompiler.h"
#include "FakeRun.h"

#include "runtime/train/ranks/RankDirector.h"

namespace lorac::train {
namespace {

constexpr int64_t total = 40;

class RankDirectorTest : public FakeRun {
protected:
  void SetUp() override {
    FakeRun::SetUp();
    compiler.folder = folder.string();
    // Allocations after the steps 5, 10, … 30, counted from 0; the ranks stand from there on.
    makeAdaLora(Json::parse(R"({"init_r": 16, "tinit": 1, "tfinal": 10, "deltaT": 5, "beta1": 0.85,
        "beta2": 0.6, "orth_reg_weight": 0.5, "prune": "eager", "rebuild": "always"})"));
    config["train"]["steps"] = total;
  }
  /// Failures are the test's.
  void begin() {
    session = open(script);
    ranks.reset();
    Result<RankDirector> made = RankDirector::create(*session, &compiler, total, clock);
    ASSERT_TRUE(made) << made.error().message;
    ranks.emplace(std::move(*made));
  }
  /// As the loop does it, but for the step itself; all that was told of step `step`, from 1.
  std::vector<RankNews> turn(int64_t step) {
    std::vector<RankNews> news;
    Result<RankNews> taken = ranks->takeProgram(step - 1);
    EXPECT_TRUE(taken) << taken.error().message;
    news.push_back(*taken);
    Result<RankNews> after = ranks->afterUpdate({.step = step, .update = step, .rate = 0.25});
    EXPECT_TRUE(after) << after.error().message;
    news.push_back(*after);
    if (ranks->hasNewProgram())
      news.push_back(ranks->reportProgram());
    std::erase_if(
        news, [](const RankNews &one) { return one.words.empty() && !one.programs && !one.line; });
    return news;
  }
  /// Turns up to that of `last`; the news of `last` alone.
  std::vector<RankNews> turnTo(int64_t last) {
    std::vector<RankNews> news;
    for (; done < last; ++done)
      news = turn(done + 1);
    return news;
  }
  std::vector<int64_t> stored() const {
    std::vector<int64_t> out;
    const CheckpointRanks now = *ranks->state();
    for (const std::vector<int32_t> &places : now.sets.stored)
      out.push_back(int64_t(places.size()));
    return out;
  }

  Script script;
  Canned compiler;
  std::unique_ptr<Session> session;
  std::optional<RankDirector> ranks;
  int64_t done = 0; ///< steps
};

bool contains(const std::string &text, const std::string &words) {
  return text.find(words) != std::string::npos;
}

TEST_F(RankDirectorTest, WithoutAdaLoraNothingHappens) {
  planJson = fakePlanJson();
  config["adapter"].erase("adalora");
  config["adapter"].update({{"method", "lora"}, {"r", 1}});
  begin();
  EXPECT_FALSE(ranks->isOn());
  EXPECT_FALSE(ranks->begin().line);
  script.ran.clear();
  EXPECT_TRUE(turnTo(12).empty());
  EXPECT_TRUE(script.ran.empty());
  EXPECT_FALSE(ranks->state() || ranks->livePlaces() || ranks->programs());
}

TEST_F(RankDirectorTest, AfterAnAllocationASmallerProgramTakesOver) {
  begin();
  const Json first = Json::parse(ranks->begin().line->json());
  EXPECT_EQ(first["step"], 0);
  EXPECT_EQ(first["rank_pattern"], (Json{{"m0", 16}, {"m1", 16}}));
  EXPECT_TRUE(turnTo(5).empty());
  EXPECT_EQ(script.count(Program::Importance), 5);
  EXPECT_EQ(script.count(Program::Scores), 0);

  std::vector<RankNews> news = turnTo(6);
  ASSERT_EQ(news.size(), 1u);
  ASSERT_EQ(compiler.asked.size(), 1u);
  const int64_t m0 = compiler.asked[0][0].second, m1 = compiler.asked[0][1].second;
  EXPECT_LT(m0 + m1, 32);
  const Json allocated = Json::parse(news[0].line->json());
  EXPECT_EQ(allocated["step"], 6);
  EXPECT_EQ(allocated["rank_pattern"], (Json{{"m0", m0}, {"m1", m1}}));
  EXPECT_EQ(news[0].words,
            "step 6: budget " + allocated["budget"].dump() + ", " + std::to_string(m0 + m1) +
                " of 32 triplets live, 0 of 2 modules at rank 0; a new program is built, for step "
                "14: " +
                std::to_string(32 - m0 - m1) + " triplets are dead");
  EXPECT_FALSE(news[0].programs);
  EXPECT_EQ(ranks->livePlaces()->at(0).size(), size_t(m0));

  turnTo(14);
  EXPECT_EQ(script.adopted, 0);
  EXPECT_EQ(stored(), (std::vector<int64_t>{16, 16})) << "the old program stores what is dead";
  // The build is not ready yet: it is waited for, and how long is told.
  compiler.glances = 4;
  compiler.waits = [this] { clock.sleep(0.25); };
  const uint64_t before = session->backend->device().memory().planned;
  script.resident = 700;
  news = turnTo(15);
  ASSERT_EQ(news.size(), 1u);
  EXPECT_EQ(script.adopted, 1);
  EXPECT_EQ(stored(), (std::vector<int64_t>{m0, m1}));
  EXPECT_TRUE(contains(news[0].words, "step 14: program of " + std::to_string(m0 + m1) +
                                          " ranks in place of 32: 3 kernels built, 40 from the "
                                          "cache; built for 0 ms beside the run, waited for "
                                          "1000 ms; planned "))
      << news[0].words;
  const Json taken = Json::parse(news[0].line->json());
  EXPECT_EQ(taken["step"], 14);
  EXPECT_EQ(taken["program_ranks"], m0 + m1);
  EXPECT_EQ(taken["waited_ms"], 1000);
  EXPECT_EQ(taken["resident_bytes"], 700);
  EXPECT_LT(taken["planned_bytes"], before);
  EXPECT_TRUE(news[0].programs);
  const Json programs = Json::parse(*ranks->programs());
  ASSERT_EQ(programs.size(), 1u);
  EXPECT_EQ(programs[0]["ranks_after"], m0 + m1);
  EXPECT_FALSE(ranks->hasNewProgram());
}

TEST_F(RankDirectorTest, TheOldOneGoesOnWhereANewOneIsRefused) {
  begin();
  script.refusal = Error{"kernels of another machine"};
  std::vector<RankNews> news = turnTo(15);
  ASSERT_EQ(news.size(), 1u);
  EXPECT_EQ(news[0].words, "warning: step 14: no smaller program: kernels of another machine; the "
                           "old one goes on, the ranks are what they would be");
  EXPECT_TRUE(news[0].programs);
  EXPECT_FALSE(news[0].line);
  EXPECT_FALSE(ranks->hasNewProgram());
  EXPECT_EQ(stored(), (std::vector<int64_t>{16, 16}));
  EXPECT_EQ(Json::parse(*ranks->programs())[0]["failure"], "kernels of another machine");
  // A build that ends badly is no other thing, and the next one may do it.
  script.refusal.reset();
  compiler.failure = Error{"lorac was killed by signal 9"};
  news = turnTo(16);
  ASSERT_EQ(compiler.asked.size(), 2u);
  news = turnTo(25);
  EXPECT_TRUE(contains(news[0].words, "no smaller program: lorac was killed by signal 9"));
  compiler.failure.reset();
  news = turnTo(35);
  EXPECT_EQ(script.adopted, 1);
  EXPECT_EQ(stored(), (std::vector<int64_t>{compiler.asked.back()[0].second,
                                            compiler.asked.back()[1].second}));
}

TEST_F(RankDirectorTest, AProgramThatIsLostEndsTheRun) {
  begin();
  turnTo(14);
  script.refusal = Error{"the GPU has no room for the new program", Exit::DoesNotFit};
  Result<RankNews> news = ranks->takeProgram(14);
  ASSERT_FALSE(news);
  EXPECT_EQ(news.error().message, "the GPU has no room for the new program");
  EXPECT_EQ(news.error().code, Exit::DoesNotFit);
}

/// What died while the last program was built would stay for good: it is asked for at once.
TEST_F(RankDirectorTest, OnceTheRanksStandTheRestIsDecidedAtTheSwap) {
  config["adapter"]["adalora"]["tfinal"] = 28; // allocations after the steps 5, 10 and 12
  begin();
  turnTo(14);
  EXPECT_EQ(compiler.asked.size(), 1u);
  const std::vector<RankNews> news = turnTo(15);
  ASSERT_EQ(news.size(), 2u);
  EXPECT_TRUE(contains(news[0].words, "step 14: a new program is built, for step 22: "))
      << news[0].words;
  EXPECT_TRUE(contains(news[1].words, "step 14: program of ")) << news[1].words;
  ASSERT_EQ(compiler.asked.size(), 2u);
  turnTo(23);
  EXPECT_EQ(script.adopted, 2);
  EXPECT_EQ(totalRank(stored()), 4) << "the target";
}

TEST_F(RankDirectorTest, AllocationsThatChangeNothingPassInSilence) {
  config["adapter"]["adalora"]["deltaT"] = 1;
  begin();
  int64_t told = 0, allocated = 0;
  std::string last;
  for (int64_t step = 1; step <= 31; ++step) {
    const int64_t before = script.count(Program::Scores);
    for (const RankNews &news : turn(step))
      if (news.line && contains(news.line->json(), "budget"))
        ++told, last = news.words;
    allocated += script.count(Program::Scores) - before;
  }
  EXPECT_EQ(allocated, 29);
  EXPECT_LT(told, allocated);
  EXPECT_TRUE(contains(last, "step 31: ")) << "the last one is told in any case";
}

TEST_F(RankDirectorTest, AResumedRunHasItsRanksAndItsRequest) {
  begin();
  turnTo(17); // one program took over, another one is asked for
  ASSERT_EQ(compiler.asked.size(), 2u);
  const CheckpointRanks kept = *ranks->state();
  const TripletSets live = *ranks->livePlaces();
  const std::string programs = *ranks->programs();
  Script again;
  std::swap(script, again);
  begin();
  ASSERT_TRUE(ranks->resumeProgram(kept));
  ASSERT_TRUE(ranks->resumePace(kept, 17));
  EXPECT_EQ(script.adopted, 1) << "the program that its tensors are of";
  ASSERT_EQ(compiler.asked.size(), 4u);
  EXPECT_EQ(compiler.asked[2], compiler.asked[0]);
  EXPECT_EQ(compiler.asked[3], compiler.asked[1]) << "the one under way";
  EXPECT_EQ(*ranks->livePlaces(), live);
  EXPECT_EQ(*ranks->programs(), programs);
  turnTo(24);
  EXPECT_EQ(script.adopted, 1);
  turnTo(25);
  EXPECT_EQ(script.adopted, 2) << "at the step at which it would have";
}

TEST_F(RankDirectorTest, WhereNothingDiesNoProgramIsAskedFor) {
  config["adapter"]["adalora"]["prune"] = "mask";
  begin();
  const std::vector<RankNews> news = turnTo(6);
  ASSERT_EQ(news.size(), 1u);
  EXPECT_TRUE(news[0].words.ends_with("modules at rank 0")) << news[0].words;
  turnTo(total);
  EXPECT_TRUE(compiler.asked.empty());
  EXPECT_FALSE(ranks->programs());
  EXPECT_EQ(ranks->state()->sets.stored[0].size(), 16u);
}

} // namespace
} // namespace lorac::train
