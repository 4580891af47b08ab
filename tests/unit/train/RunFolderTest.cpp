// The output folder of a run without a model: what is there at each moment, and whose it is.
#include "FakeProgram.h"

#include "runtime/train/AdapterState.h"
#include "runtime/train/Arena.h"
#include "runtime/train/RunFolder.h"
#include "runtime/train/Verify.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

namespace lorac::train {
namespace {

namespace fs = std::filesystem;

class RunFolderTest : public testing::Test {
protected:
  void SetUp() override {
    out = (fs::path(testing::TempDir()) /
           ("run." + std::string(testing::UnitTest::GetInstance()->current_test_info()->name())))
              .string();
    fs::remove_all(out);
    Result<Plan> parsed = parsePlan(fakePlanJson());
    ASSERT_TRUE(parsed);
    plan = *parsed;
    Result<Arena> allocated = Arena::allocate(uint64_t(plan.arenaBytes), "test");
    ASSERT_TRUE(allocated);
    arena = std::move(*allocated);
    std::fill_n(arena.at<float>(0), plan.arenaBytes / 4, 0.25f);
    state.totalSteps = 20;
    run.r = 1;
    run.loraAlpha = 2;
  }
  void TearDown() override { fs::remove_all(out); }

  TrainedFloats trained() const { return trainedIn(arena, plan); }
  formats::Adapter adapter() const { return takeAdapter(plan, trained().params, run, "base"); }
  /// One process holds a folder once: another run is another object, after this one is gone.
  Result<RunFolder> open(RunStart start) { return RunFolder::open(out, start); }
  void begin(RunFolder &folder) {
    Result<void> begun =
        folder.begin(state, "spec", [this](const std::string &line) { said.push_back(line); });
    ASSERT_TRUE(begun) << begun.error().message;
  }
  void save(RunFolder &folder, int64_t step, int64_t limit = 0) {
    state.step = state.updates = step;
    MetricsLine line;
    line.add("step", step);
    line.add("loss", 1.5f);
    line.add("grad_norm", 0.5f);
    folder.write(line);
    const formats::Adapter taken = adapter();
    Result<void> saved = folder.save({plan, trained(), taken, identity}, state, limit);
    ASSERT_TRUE(saved) << saved.error().message;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const fs::directory_entry &entry : fs::directory_iterator(out))
      found.push_back(entry.path().filename().string());
    std::sort(found.begin(), found.end());
    return found;
  }
  void expectWhole() {
    Result<std::vector<VerifiedFile>> files = verifyFolder(out);
    ASSERT_TRUE(files) << files.error().message;
    for (const VerifiedFile &file : *files)
      EXPECT_EQ(file.damage, "") << file.name;
  }

  std::string out;
  Plan plan;
  Arena arena;
  RunConfig run;
  TrainerState state;
  RunIdentity identity{"cpu", "model", "data", {}, 20, true};
  std::vector<std::string> said;
};

using Names = std::vector<std::string>;

TEST_F(RunFolderTest, ListsWhatItWrote) {
  Result<RunFolder> folder = open(RunStart::New);
  ASSERT_TRUE(folder) << folder.error().message;
  begin(*folder);
  EXPECT_EQ(folder->standing(), "no checkpoint was saved yet");
  save(*folder, 1);
  EXPECT_EQ(folder->standing(), "'" + out + "/checkpoint-1' stands");
  Result<void> published =
      folder->publish(adapter(), {{"README.md", "card"}, {"spec.toml", "# spec"}});
  ASSERT_TRUE(published) << published.error().message;
  EXPECT_EQ(names(), (Names{"README.md", "adapter_config.json", "adapter_model.safetensors",
                            "checkpoint-1", "manifest.json", "metrics.jsonl", "spec.toml"}));
  expectWhole();
  auto manifest = formats::FolderManifest::read(out);
  ASSERT_TRUE(manifest && *manifest);
  EXPECT_EQ((*manifest)->files.size(), 6u);
  EXPECT_TRUE((*manifest)->pending.empty());
  EXPECT_TRUE(said.empty());
}

TEST_F(RunFolderTest, KeepsTheNewestAndTheBest) {
  Result<RunFolder> folder = open(RunStart::New);
  ASSERT_TRUE(folder);
  begin(*folder);
  for (int64_t step = 1; step <= 6; ++step) {
    state.evals.emplace_back(step, step == 2 ? 1.0 : 2.0 + double(step));
    save(*folder, step, 2);
  }
  EXPECT_EQ(names(), (Names{"checkpoint-2", "checkpoint-5", "checkpoint-6", "manifest.json",
                            "metrics.jsonl"}));
  expectWhole();
  // One that holds somebody else's file stays, and that is said.
  std::ofstream(out + "/checkpoint-5/notes.txt") << "mine";
  save(*folder, 7, 2);
  save(*folder, 8, 2);
  EXPECT_TRUE(fs::exists(out + "/checkpoint-5/notes.txt"));
  ASSERT_EQ(said.size(), 1u);
  EXPECT_NE(said[0].find("checkpoint-5' stays"), std::string::npos) << said[0];
}

TEST_F(RunFolderTest, AFileThatCameMeanwhileIsNotReplaced) {
  Result<RunFolder> folder = open(RunStart::New);
  ASSERT_TRUE(folder);
  begin(*folder);
  save(*folder, 1);
  std::ofstream(out + "/README.md") << "mine";
  ASSERT_TRUE(folder->publish(adapter(), {{"README.md", "card"}}));
  EXPECT_EQ(fileBytes(out + "/README.md"), "mine");
  ASSERT_EQ(said.size(), 1u);
  expectWhole();
  std::ofstream(out + "/adapter_config.json") << "mine";
  const std::string weights = fileBytes(out + "/adapter_model.safetensors");
  run.loraAlpha = 3;
  Result<void> published = folder->publish(adapter(), {});
  ASSERT_FALSE(published);
  EXPECT_NE(published.error().message.find("adapter_config.json' is there"), std::string::npos);
  EXPECT_EQ(fileBytes(out + "/adapter_config.json"), "mine");
  EXPECT_EQ(fileBytes(out + "/adapter_model.safetensors"), weights);
}

TEST_F(RunFolderTest, AnOlderRunStaysUntilTheFirstCheckpoint) {
  {
    Result<RunFolder> folder = open(RunStart::New);
    ASSERT_TRUE(folder);
    begin(*folder);
    save(*folder, 1);
    save(*folder, 2);
    ASSERT_TRUE(folder->publish(adapter(), {{"README.md", "card"}}));
  }
  const Names before = names();
  const std::string weights = fileBytes(out + "/adapter_model.safetensors");
  // The lock is this process's for good: the second run is in a copy.
  fs::rename(out, out + ".old");
  fs::copy(out + ".old", out, fs::copy_options::recursive);
  fs::remove_all(out + ".old");
  Result<RunFolder> folder = open(RunStart::Overwrite);
  ASSERT_TRUE(folder) << folder.error().message;
  state = {};
  state.totalSteps = 20;
  begin(*folder);
  Names meanwhile = before;
  meanwhile.push_back("metrics.new.jsonl");
  std::sort(meanwhile.begin(), meanwhile.end());
  EXPECT_EQ(names(), meanwhile);
  EXPECT_NE(folder->standing().find("the earlier run in"), std::string::npos);
  EXPECT_EQ(fileBytes(out + "/adapter_model.safetensors"), weights);
  save(*folder, 1);
  EXPECT_EQ(names(), (Names{"checkpoint-1", "manifest.json", "metrics.jsonl"}));
  expectWhole();
}

/// The two moments at which a run that takes an older one's place may be killed: before its
/// checkpoint has its name, and after.
TEST_F(RunFolderTest, WhoseItIsAfterAKillIsSettledByTheCheckpoint) {
  {
    Result<RunFolder> folder = open(RunStart::New);
    ASSERT_TRUE(folder);
    begin(*folder);
    save(*folder, 1);
    ASSERT_TRUE(folder->publish(adapter(), {{"README.md", "card"}}));
  }
  auto manifest = formats::FolderManifest::read(out);
  ASSERT_TRUE(manifest && *manifest);
  formats::FolderManifest next = **manifest;
  next.replaced = next.files;
  next.files = {{"metrics.jsonl", formats::FolderManifest::grows}};
  trained().params[0] = 7;
  state.step = 3;
  const formats::Adapter taken = adapter();
  Result<StagedCheckpoint> staged = stageCheckpoint(out, plan, trained(), taken, state, identity);
  ASSERT_TRUE(staged);
  next.pending = {{staged->name, staged->hash}};
  ASSERT_TRUE(next.write(out));
  std::ofstream(out + "/metrics.new.jsonl") << "{\"step\": 3, \"loss\": 1.5, \"grad_norm\": 0.5}\n";

  Result<RunSurvey> old = surveyRun(out, RunStart::Resume);
  ASSERT_TRUE(old) << old.error().message;
  EXPECT_EQ(old->checkpoints, Names{out + "/checkpoint-1"});
  EXPECT_TRUE(old->toRemove.empty());
  EXPECT_TRUE(old->manifest.files.contains("README.md"));

  ASSERT_TRUE(staged->folder.commit());
  Result<RunSurvey> young = surveyRun(out, RunStart::Resume);
  ASSERT_TRUE(young) << young.error().message;
  EXPECT_EQ(young->checkpoints, Names{out + "/checkpoint-3"});
  EXPECT_EQ(young->toRemove.size(), 4u) << "two files of the adapter, the card, a checkpoint";
  EXPECT_TRUE(young->tookPlace);
}

TEST_F(RunFolderTest, WhatIsNotFiniteIsNamed) {
  EXPECT_TRUE(requireFiniteState(plan, trained(), "step 3: after the update"));
  trained().find("exp_avg_sq")[plan.params[1].offset + 2] = std::numeric_limits<float>::infinity();
  Result<void> moment = requireFiniteState(plan, trained(), "step 3: after the update");
  ASSERT_FALSE(moment);
  EXPECT_EQ(moment.error().message.find("step 3: after the update: 'exp_avg_sq." +
                                        plan.params[1].name + "' is inf at position 2 of"),
            0u)
      << moment.error().message;
  trained().params[plan.params[0].offset] = std::nanf("");
  Result<void> param = requireFiniteState(plan, trained(), "step 3: after the update");
  ASSERT_FALSE(param);
  EXPECT_NE(param.error().message.find("'" + plan.params[0].name + "' is nan at position 0"),
            std::string::npos)
      << param.error().message;
}

} // namespace
} // namespace lorac::train
