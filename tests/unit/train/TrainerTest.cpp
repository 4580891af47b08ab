// The loop over a device of scripted numbers: what follows what, from the first evaluation to the
// adapter.
#include "FakeRecompiler.h"
#include "FakeRun.h"

#include "runtime/train/Signals.h"
#include "runtime/train/Trainer.h"

#include <csignal>
#include <fstream>
#include <map>

namespace lorac::train {
namespace {

namespace fs = std::filesystem;

class TrainerTest : public FakeRun {
protected:
  void SetUp() override {
    FakeRun::SetUp();
    options.resumeCommand = "train --resume";
    corpus.eval = {0, 1};
    config["train"]["eval_steps"] = 3;
    config["train"]["save_steps"] = 4;
  }
  Result<TrainOutcome> go(RunStart start = RunStart::New) {
    options.resume = start == RunStart::Resume;
    std::unique_ptr<Session> session = open(script);
    FailingFolder disk = openFolder(start);
    Progress progress;
    return train({*session, corpus, disk, options, progress, clock});
  }
  std::vector<Json> metrics() const {
    std::vector<Json> lines;
    std::ifstream file(out + "/metrics.jsonl");
    for (std::string line; std::getline(file, line);)
      lines.push_back(Json::parse(line));
    return lines;
  }
  /// What the lines of metrics are, in words: "eval 0", "step 1", …
  std::vector<std::string> events() const {
    std::vector<std::string> out;
    for (const Json &line : metrics()) {
      const char *kind = line.contains("eval_loss")       ? "eval "
                         : line.contains("program_ranks") ? "program "
                         : line.contains("budget")        ? "budget "
                         : line.contains("loss")          ? "step "
                                                          : "ranks ";
      out.push_back(kind + line["step"].dump());
    }
    return out;
  }
  std::vector<std::string> checkpoints() const {
    std::vector<std::string> names;
    for (const fs::directory_entry &entry : fs::directory_iterator(out))
      if (const std::string name = entry.path().filename(); name.starts_with("checkpoint-"))
        names.push_back(name);
    std::sort(names.begin(), names.end());
    return names;
  }

  Script script;
  Corpus corpus = fakeCorpus(8);
  TrainOptions options;
};

using Names = std::vector<std::string>;

bool contains(const std::string &text, const std::string &words) {
  return text.find(words) != std::string::npos;
}

TEST_F(TrainerTest, EvaluatesStepsAndSavesInTheirOrder) {
  script.trainLoss = [](const LoracStep &step) { return float(10 - step.step); };
  script.meanwhile = [this](Program program) {
    if (program == Program::Train)
      clock.sleep(0.5);
  };
  Result<TrainOutcome> outcome = TrainOutcome();
  const std::string words = said([&] { outcome = go(); });
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->step, 8);
  EXPECT_EQ(outcome->signal, 0);
  EXPECT_EQ(events(), (Names{"eval 0", "step 1", "step 2", "step 3", "eval 3", "step 4", "step 5",
                             "step 6", "eval 6", "step 7", "step 8", "eval 8"}));
  const Json step3 = metrics()[3];
  EXPECT_EQ(step3, Json::parse(R"({"step": 3, "loss": 8.0, "learning_rate": 0.25,
      "learning_rate/lora_A": 0.25, "learning_rate/lora_B": 0.25, "grad_norm": 0.5, "epoch": 1.5,
      "num_input_tokens_seen": 48, "tokens_per_second": 16.0, "peak_memory_bytes": 2000})"));
  EXPECT_EQ(metrics()[4], Json::parse(R"({"step": 3, "eval_loss": 2.0, "epoch": 1.5})"));
  EXPECT_EQ(checkpoints(), (Names{"checkpoint-4", "checkpoint-8"}));
  EXPECT_TRUE(fs::exists(out + "/adapter_model.safetensors"));
  EXPECT_TRUE(contains(words, "step 3: loss on held-out samples 2.0000\n")) << words;
  EXPECT_TRUE(words.ends_with("done: step 8, loss 10.0000 -> 3.0000; adapter in '" + out + "'\n"))
      << words;
}

/// Of equal held-out losses the first is the best; that of step 0 is of nothing trained.
TEST_F(TrainerTest, TheBestAdapterIsKept) {
  config["train"]["load_best"] = true;
  config["train"]["save_total_limit"] = 1;
  std::map<int64_t, float> losses = {{0, 0.5f}, {3, 2.0f}, {6, 1.5f}, {8, 1.5f}};
  script.heldOutLoss = [&] { return losses.at(script.count(Program::Update)); };
  const std::string words = said([&] { EXPECT_TRUE(go()); });
  EXPECT_EQ(checkpoints(), (Names{"checkpoint-6", "checkpoint-8"})) << "the best, and the newest";
  const std::string adapter = fileBytes(out + "/adapter_model.safetensors");
  EXPECT_EQ(adapter, fileBytes(out + "/checkpoint-6/adapter_model.safetensors"));
  EXPECT_NE(adapter, fileBytes(out + "/checkpoint-8/adapter_model.safetensors"));
  EXPECT_TRUE(contains(words, "adapter of step 6, the best on held-out samples, in '")) << words;
  EXPECT_TRUE(contains(fileBytes(out + "/README.md"),
                       "| adapter of step | 6, whose loss on held-out samples is the least |"));
  // A run that is at its end publishes the same.
  said([&] { EXPECT_TRUE(go(RunStart::Resume)); });
  EXPECT_EQ(adapter, fileBytes(out + "/adapter_model.safetensors"));
  // One that is damaged is passed over.
  fs::resize_file(out + "/checkpoint-6/optimizer.safetensors", 40);
  const std::string warned = said([&] { EXPECT_TRUE(go(RunStart::Resume)); });
  EXPECT_TRUE(contains(warned, "; the adapter is that of another step")) << warned;
  EXPECT_EQ(fileBytes(out + "/adapter_model.safetensors"),
            fileBytes(out + "/checkpoint-8/adapter_model.safetensors"));
}

TEST_F(TrainerTest, StopsWhereTheHeldOutLossFallsNoMore) {
  config["train"]["eval_steps"] = 1;
  config["train"]["early_stopping"] = {{"patience", 2}, {"min_delta", 0.25}};
  std::map<int64_t, float> losses = {{0, 0.5f}, {1, 3.0f}, {2, 2.0f}, {3, 1.875f}, {4, 1.75f}};
  script.heldOutLoss = [&] { return losses.at(script.count(Program::Update)); };
  Result<TrainOutcome> outcome = TrainOutcome();
  const std::string words = said([&] { outcome = go(); });
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->step, 4);
  EXPECT_EQ(events().back(), "eval 4");
  EXPECT_EQ(checkpoints(), (Names{"checkpoint-4"}));
  EXPECT_TRUE(contains(words, "step 4: the loss on held-out samples has made no progress in 2 "
                              "evaluations: the run ends\ndone: step 4"))
      << words;
  const size_t updates = script.updateScalars.size();
  said([&] { EXPECT_TRUE(go(RunStart::Resume)); });
  EXPECT_EQ(script.updateScalars.size(), updates) << "it has ended";
  // With more patience it goes on: its steps are those of the same run.
  config["train"]["early_stopping"]["patience"] = 3;
  losses = {{4, 1.75f}, {5, 1.75f}, {6, 9.0f}};
  said([&] { outcome = go(RunStart::Resume); });
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->step, 5);
}

TEST_F(TrainerTest, NothingHeldOutHasNoBest) {
  config["train"]["load_best"] = true;
  corpus.eval.clear();
  Result<TrainOutcome> outcome = go();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Exit::Refused);
  EXPECT_TRUE(contains(outcome.error().message, "raise data.eval_fraction"));
}

/// In a process of its own: a signal is for ever. What it leaves goes on to the same bytes.
TEST_F(TrainerTest, StopsAtASignalAndGoesOn) {
  auto stopped = [&] {
    stopAtOnce();
    stopWhenAsked();
    script.meanwhile = [this](Program program) {
      if (program == Program::Update && script.count(Program::Update) == 4)
        std::raise(SIGTERM); // in the update of step 5
    };
    Result<TrainOutcome> outcome = go();
    std::_Exit(outcome && outcome->step == 5 && outcome->signal == SIGTERM ? 0 : 1);
  };
  out = (folder / "stopped").string();
  EXPECT_EXIT(stopped(), testing::ExitedWithCode(0),
              "stopped at step 5 of 8; checkpoint in '.*/checkpoint-5'\ngo on with: train "
              "--resume");
  EXPECT_EQ(checkpoints(), (Names{"checkpoint-4", "checkpoint-5"}));
  EXPECT_FALSE(fs::exists(out + "/adapter_model.safetensors"));
  EXPECT_EQ(events().back(), "step 5");

  said([&] { EXPECT_TRUE(go(RunStart::Resume)); });
  EXPECT_EQ(script.count(Program::Update), 3);
  const Names resumed = events();
  const std::string adapter = fileBytes(out + "/adapter_model.safetensors");
  out = (folder / "whole").string();
  said([&] { EXPECT_TRUE(go()); });
  EXPECT_EQ(resumed, events());
  EXPECT_EQ(adapter, fileBytes(out + "/adapter_model.safetensors"));
}

/// A signal that comes while an evaluation is due: the resumed run does it, and only then is done.
TEST_F(TrainerTest, AnEvaluationThatASignalTookIsMadeUpFor) {
  auto stopped = [&] {
    stopAtOnce();
    stopWhenAsked();
    script.meanwhile = [this](Program program) {
      if (program == Program::Update && script.count(Program::Update) == 7)
        std::raise(SIGTERM); // in the last update
    };
    Result<TrainOutcome> outcome = go();
    std::_Exit(outcome && outcome->step == 8 && outcome->signal == SIGTERM ? 0 : 1);
  };
  EXPECT_EXIT(stopped(), testing::ExitedWithCode(0), "stopped at step 8 of 8");
  EXPECT_FALSE(fs::exists(out + "/adapter_model.safetensors"));
  EXPECT_EQ(events().back(), "step 8");
  said([&] { EXPECT_TRUE(go(RunStart::Resume)); });
  EXPECT_EQ(script.count(Program::Update), 0);
  EXPECT_EQ(events().back(), "eval 8");
  EXPECT_TRUE(fs::exists(out + "/adapter_model.safetensors"));
}

TEST_F(TrainerTest, ALossThatIsNotFiniteEndsTheRun) {
  script.trainLoss = [](const LoracStep &step) { return step.step == 5 ? std::nanf("") : 1.0f; };
  Result<TrainOutcome> outcome = TrainOutcome();
  said([&] { outcome = go(); });
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().message, "step 6: the loss is nan; '" + out +
                                         "/checkpoint-4' stands; lower optimizer.learning_rate or "
                                         "look at the data");
  EXPECT_EQ(events().back(), "step 6") << "its numbers are kept";
  EXPECT_EQ(checkpoints(), (Names{"checkpoint-4"}));
  EXPECT_FALSE(fs::exists(out + "/adapter_model.safetensors"));
}

TEST_F(TrainerTest, SaysWhereNothingIsLearned) {
  script.norms = {0, 0, 0, 0};
  corpus = fakeCorpus(20, {16, 17, 18, 19}); // the fifth window
  const std::string words = said([&] { EXPECT_TRUE(go()); });
  const std::string warning = "warning: step 3: the gradient has been exactly 0 for 3 steps";
  ASSERT_TRUE(contains(words, warning)) << words;
  EXPECT_FALSE(contains(words.substr(words.find(warning) + warning.size()), "exactly 0")) << "once";
  EXPECT_TRUE(contains(words, "step 5: no token of its 16 has a label; skipped\n")) << words;
  EXPECT_EQ(events()[4], "step 6");
}

TEST_F(TrainerTest, ASmallerProgramTakesOverBetweenTwoSteps) {
  Canned compiler;
  compiler.folder = folder.string();
  options.recompiler = &compiler;
  makeAdaLora(Json::parse(R"({"init_r": 16, "tinit": 1, "tfinal": 14, "deltaT": 20, "beta1": 0.85,
      "beta2": 0.6, "orth_reg_weight": 0.5, "prune": "eager", "rebuild": "always"})"));
  config["train"]["steps"] = 20; // one allocation, after step 7; its program for step 15
  config["train"]["eval_steps"] = 0;
  corpus.eval.clear();
  Result<TrainOutcome> outcome = TrainOutcome();
  const std::string words = said([&] { outcome = go(); });
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(script.adopted, 1);
  Names wanted = {"ranks 0"};
  for (int step = 1; step <= 20; ++step) {
    if (step == 7)
      wanted.push_back("budget 7");
    if (step == 16)
      wanted.push_back("program 15");
    wanted.push_back("step " + std::to_string(step));
  }
  EXPECT_EQ(events(), wanted);
  EXPECT_TRUE(contains(words, "step 15: program of 4 ranks in place of 32: ")) << words;
  EXPECT_EQ(Json::parse(fileBytes(out + "/manifest.json"))["programs"].size(), 1u);
  EXPECT_TRUE(fs::exists(out + "/ranks.svg"));
}

} // namespace
} // namespace lorac::train
