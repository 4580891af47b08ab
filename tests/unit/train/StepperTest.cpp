// One optimizer step over a device of scripted numbers: what it counts, what the update is told,
// and when there is none.
#include "AdamWReference.h"
#include "FakeRun.h"

#include "runtime/train/Signals.h"
#include "runtime/train/Stepper.h"

#include <csignal>
#include <limits>

namespace lorac::train {
namespace {

class StepperTest : public FakeRun {
protected:
  void begin(Corpus of = fakeCorpus(8)) {
    corpus = std::move(of);
    session = open(script);
    stepper.emplace(*session, corpus);
    script.ran.clear();
  }
  StepFacts step() {
    Result<std::optional<StepFacts>> facts = stepper->step(state, false);
    EXPECT_TRUE(facts && *facts);
    return **facts;
  }
  std::vector<Program> programs() const {
    std::vector<Program> out;
    for (const auto &[program, step] : script.ran)
      out.push_back(program);
    return out;
  }

  Script script;
  Corpus corpus;
  std::unique_ptr<Session> session;
  std::optional<Stepper> stepper;
  TrainerState state;
};

using Programs = std::vector<Program>;

/// Of two micro-batches of which one has half of the labels: the mean is over labels.
TEST_F(StepperTest, IsTheMeanOverTheLabelsOfItsWindow) {
  script.trainLoss = [](const LoracStep &step) { return step.micro == 0 ? 1.0f : 4.0f; };
  begin(fakeCorpus(8, {3}));
  const StepFacts facts = step();
  EXPECT_EQ(facts.labels, 9) << "three each of rows 0, 1 and 2";
  EXPECT_EQ(facts.tokens, 16);
  EXPECT_DOUBLE_EQ(facts.loss, (6 * 1.0 + 3 * 4.0) / 9);
  EXPECT_EQ(programs(), (Programs{Program::Begin, Program::Train, Program::Train, Program::Norm,
                                  Program::Update}));
  for (uint32_t micro : {0u, 1u}) {
    const LoracStep &told = script.ran[1 + micro].second;
    EXPECT_EQ(told.loss_scale, 1.0f / 9);
    EXPECT_EQ(told.micro, micro);
    EXPECT_EQ(told.step, 0u);
    EXPECT_EQ(told.seed, 7u);
    EXPECT_EQ(told.tokens, 8);
    EXPECT_EQ(told.segments, 2);
  }
  EXPECT_EQ(script.fed, (std::vector<std::vector<int32_t>>{{0, 1, 2, 3, 1, 2, 3, 4},
                                                           {2, 3, 4, 5, 3, 4, 5, 6}}));
  EXPECT_EQ(state.step, 1);
  EXPECT_EQ(state.updates, 1);
  EXPECT_EQ(state.tokensSeen, 16);
  EXPECT_EQ(state.position, (DataPosition{0, 2}));
  EXPECT_EQ(state.firstLoss, facts.loss);
  EXPECT_EQ(stepper->epochs(), 0.5);
  script.trainLoss = [](const LoracStep &) { return 3.0f; };
  EXPECT_EQ(step().loss, 3);
  EXPECT_EQ(state.firstLoss, facts.loss);
  EXPECT_EQ(state.lastLoss, 3);
  EXPECT_EQ(script.ran[6].second.step, 1u);
}

/// The schedule counts steps, the optimizer's corrections count updates.
TEST_F(StepperTest, TheUpdateIsToldRateAndCount) {
  config["schedule"] = {{"name", "constant"}, {"warmup_steps", 4}};
  config["adapter"]["loraplus"] = {{"loraplus_lr_ratio", 16}};
  begin(fakeCorpus(16, {4, 5, 6, 7}));
  const test::AdamW adam{0.9, 0.999, 1e-8, 0.01};
  const std::vector<ParamGroup> groups = makeGroups(session->plan, 16);
  const double rates[] = {0, 0.0625, 0.125, 0.1875};
  for (int64_t s = 0; s < 4; ++s) {
    const StepFacts facts = step();
    EXPECT_EQ(facts.step, s + 1);
    EXPECT_EQ(facts.rate, rates[s]);
    EXPECT_EQ(facts.isSkipped(), s == 1);
    EXPECT_EQ(facts.update, s < 1 ? s + 1 : s);
    if (!facts.isSkipped())
      EXPECT_EQ(script.updateScalars.back(), adam.scalars(groups, rates[s], facts.update).flat());
  }
  EXPECT_EQ(script.updateScalars.size(), 3u);
}

/// Decays of A and of B, where the program asks for them by group.
TEST_F(StepperTest, TheUpdateIsToldEachGroupsDecay) {
  Json plan = Json::parse(planJson);
  plan["optimizer"]["scalars"][5]["formula"] = {1, "rate", "weight_decay", "*", "-"};
  planJson = plan.dump();
  config["optimizer"]["weight_decay"] = 0.5;
  config["optimizer"]["weight_decay_lora_B"] = 0.25;
  config["adapter"]["loraplus"] = {{"loraplus_lr_ratio", 2}};
  begin();
  step();
  EXPECT_EQ(script.updateScalars.back().at(5), 1 - 0.25f * 0.5f);
  EXPECT_EQ(script.updateScalars.back().at(7), 1 - 0.5f * 0.25f);
}

TEST_F(StepperTest, AWindowWithoutLabelsIsSkipped) {
  begin(fakeCorpus(8, {0, 1, 2, 3}));
  const StepFacts facts = step();
  EXPECT_TRUE(facts.isSkipped());
  EXPECT_EQ(facts.tokens, 16);
  EXPECT_TRUE(programs().empty());
  EXPECT_EQ(state.step, 1);
  EXPECT_EQ(state.updates, 0);
  EXPECT_EQ(state.tokensSeen, 16);
  EXPECT_EQ(state.position, (DataPosition{0, 2}));
  EXPECT_FALSE(step().isSkipped());
  EXPECT_EQ(state.updates, 1);
  EXPECT_TRUE(stepper->requireLabels());
  begin(fakeCorpus(4, {0, 1, 2, 3}));
  EXPECT_FALSE(stepper->requireLabels());
}

TEST_F(StepperTest, WhatIsNotFiniteIsNoUpdate) {
  begin();
  script.trainLoss = [](const LoracStep &step) { return step.micro ? std::nanf("") : 1.0f; };
  StepFacts facts = step();
  EXPECT_FALSE(facts.isFinite());
  EXPECT_TRUE(std::isnan(facts.loss));
  EXPECT_EQ(facts.step, 1);
  script.trainLoss = [](const LoracStep &) { return 1.0f; };
  script.norms = {std::numeric_limits<float>::infinity()};
  facts = step();
  EXPECT_FALSE(facts.isFinite());
  EXPECT_EQ(facts.loss, 1);
  EXPECT_EQ(script.count(Program::Update), 0);
  EXPECT_EQ(state.step, 0);
  EXPECT_EQ(state.updates, 0);
  EXPECT_EQ(state.tokensSeen, 0);
  EXPECT_EQ(state.position, DataPosition());
}

TEST_F(StepperTest, CountsGradientsOfExactlyZeroInARow) {
  begin();
  script.norms = {0, 0, 1e-30f, 0, 0, 0, 0};
  std::vector<int64_t> zeros;
  for (int s = 0; s < 8; ++s)
    zeros.push_back(step().zeroNorms);
  EXPECT_EQ(zeros, (std::vector<int64_t>{1, 2, 0, 1, 2, 3, 4, 0}));
  EXPECT_EQ(state.updates, 8) << "such a step decays and counts like others";
}

TEST_F(StepperTest, OrthogonalityCountsInTheLossOfAdaLora) {
  makeAdaLora(Json::parse(R"({"init_r": 16, "tinit": 1, "tfinal": 2, "deltaT": 2, "beta1": 0.85,
                              "beta2": 0.6, "orth_reg_weight": 0.5, "prune": "eager"})"));
  script.orthogonality = 3;
  begin();
  const StepFacts facts = step();
  EXPECT_EQ(facts.orthogonality, 3);
  EXPECT_EQ(facts.loss, 1 + 0.5 * 3);
  EXPECT_EQ(script.count(Program::Regularize), 1) << "once a step, not a micro-batch";
}

TEST_F(StepperTest, GoesOnWhereAnotherOneStopped) {
  begin(fakeCorpus(10)); // epochs end within windows
  for (int s = 0; s < 5; ++s)
    step();
  const std::vector<std::vector<int32_t>> whole = script.fed;
  script.fed.clear();
  state = {};
  begin(fakeCorpus(10));
  for (int s = 0; s < 2; ++s)
    step();
  stepper.emplace(*session, corpus);
  stepper->seek(state.position);
  for (int s = 0; s < 3; ++s)
    step();
  EXPECT_EQ(script.fed, whole);
}

TEST_F(StepperTest, AsManyStepsAsItsEpochsHave) {
  config["train"].erase("steps");
  config["train"]["epochs"] = 3;
  begin(fakeCorpus(8));
  EXPECT_EQ(stepper->total(), 6);
}

// In a process of its own: a signal is for ever.
TEST_F(StepperTest, ASignalEndsItBetweenMicroBatches) {
  begin();
  auto stopped = [&] {
    stopAtOnce();
    stopWhenAsked();
    script.meanwhile = [](Program program) {
      if (program == Program::Train)
        std::raise(SIGTERM);
    };
    Result<std::optional<StepFacts>> facts = stepper->step(state, false);
    if (!facts || *facts || state.step != 0 || script.count(Program::Train) != 1 ||
        script.count(Program::Update) != 0)
      std::_Exit(1);
    stepper->seek(state.position);
    facts = stepper->step(state, /*mustEnd=*/true);
    std::_Exit(facts && *facts && state.step == 1 && script.count(Program::Update) == 1 ? 0 : 2);
  };
  EXPECT_EXIT(stopped(), testing::ExitedWithCode(0), "");
}

} // namespace
} // namespace lorac::train
