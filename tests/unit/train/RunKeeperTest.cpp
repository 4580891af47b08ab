// What a run keeps, on a disk that fails as a test says and a clock that nobody waits for.
#include "FakeRun.h"

#include "runtime/train/RunKeeper.h"

#include <limits>

namespace lorac::train {
namespace {

namespace fs = std::filesystem;

constexpr int64_t total = 8;

class RunKeeperTest : public FakeRun {
protected:
  void SetUp() override {
    FakeRun::SetUp();
    options.resumeCommand = "train --resume";
    options.specToml = "# spec";
  }
  void TearDown() override {
    unsetenv("LORAC_SAVE_WAIT");
    FakeRun::TearDown();
  }
  /// A run, not begun. Failures are the test's.
  void make(RunStart start = RunStart::New) {
    session = open(script);
    disk.emplace(openFolder(start));
    Result<RankDirector> made = RankDirector::create(*session, nullptr, total, clock);
    ASSERT_TRUE(made);
    ranks.emplace(std::move(*made));
    keeper.emplace(TrainInput{*session, corpus, *disk, options, progress, clock}, *ranks, total);
  }
  void begin() {
    make();
    Result<void> begun = keeper->begin(state);
    ASSERT_TRUE(begun) << begun.error().message;
  }
  /// Parameters say which step they are of.
  void at(int64_t step) {
    state.step = state.updates = step;
    ASSERT_TRUE(session->edit([&](const TrainedFloats &trained) -> Result<void> {
      std::fill_n(trained.params, parameters(), float(step));
      return {};
    }));
  }
  int64_t parameters() const { return session->plan.region(RegionKind::Params).count; }
  float parameter() { return session->backend->read()->params[0]; }
  /// Checkpoints of these steps, and nothing of the run but its folder is left.
  void leave(const std::vector<int64_t> &steps) {
    begin();
    for (int64_t step : steps) {
      at(step);
      ASSERT_TRUE(keeper->trySave(state, true));
    }
    keeper.reset(), ranks.reset(), disk.reset(), session.reset();
    state = {};
  }
  std::string checkpoint(int64_t step) const { return checkpointPath(out, step); }
  void damage(int64_t step) { fs::resize_file(checkpoint(step) + "/optimizer.safetensors", 40); }

  Script script;
  Corpus corpus = fakeCorpus(8);
  TrainOptions options;
  Progress progress;
  std::unique_ptr<Session> session;
  std::optional<FailingFolder> disk;
  std::optional<RankDirector> ranks;
  std::optional<RunKeeper> keeper;
  TrainerState state;
};

bool contains(const std::string &text, const std::string &words) {
  return text.find(words) != std::string::npos;
}

TEST_F(RunKeeperTest, AFullDiskIsWaitedFor) {
  begin();
  at(total);
  disk->failedSaves = 3;
  const double before = clock.now();
  const std::string words = said([&] { EXPECT_TRUE(keeper->saveLast(state, true)); });
  EXPECT_NEAR(clock.now() - before, 1 + 2 + 4, 0.1) << "it waits twice as long each time";
  EXPECT_EQ(disk->saves, 4);
  EXPECT_EQ(disk->publishes, 1);
  EXPECT_TRUE(contains(words, "warning: step 8: cannot write 'f': No space left on device; no "
                              "checkpoint was saved yet; free 64.1 KiB on the file system of '" +
                                  out + "': tried again for 10:00 more"))
      << words;
  EXPECT_TRUE(contains(words, "tried again for 9:57 more")) << words;
  EXPECT_TRUE(fs::exists(checkpoint(total)));
  EXPECT_TRUE(fs::exists(out + "/adapter_model.safetensors"));
  EXPECT_EQ(fileBytes(out + "/spec.toml"), "# spec");
}

TEST_F(RunKeeperTest, AndGivenUpWhenPatienceEnds) {
  begin();
  at(total);
  disk->failedSaves = 1 << 30;
  double before = clock.now();
  Result<void> saved;
  said([&] { saved = keeper->saveLast(state, true); });
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().message, "step 8: cannot write 'f': No space left on device; no "
                                   "checkpoint was saved yet; go on with: train --resume");
  EXPECT_NEAR(clock.now() - before, 600, 0.1);
  EXPECT_EQ(disk->saves, 6 + 9 + 1) << "1, 2, … 32 seconds, then a minute each, and at the end";
  setenv("LORAC_SAVE_WAIT", "3", 1);
  before = clock.now();
  said([&] { EXPECT_FALSE(keeper->saveLast(state, true)); });
  EXPECT_NEAR(clock.now() - before, 3, 0.1);
  EXPECT_FALSE(fs::exists(out + "/adapter_model.safetensors"));
}

TEST_F(RunKeeperTest, WhatIsSavedIsNotSavedAgainWhileTheAdapterWaits) {
  begin();
  at(total);
  disk->failedPublishes = 2;
  said([&] { EXPECT_TRUE(keeper->saveLast(state, true)); });
  EXPECT_EQ(disk->saves, 1);
  EXPECT_EQ(disk->publishes, 3);
  // A run that was stopped has a checkpoint and no adapter.
  at(total - 1);
  EXPECT_TRUE(keeper->saveLast(state, false));
  EXPECT_EQ(disk->saves, 2);
  EXPECT_EQ(disk->publishes, 3);
}

TEST_F(RunKeeperTest, ACheckpointThatCannotBeWrittenEndsNothing) {
  config["train"]["save_total_limit"] = 3;
  begin();
  at(2);
  ASSERT_TRUE(keeper->trySave(state, true));
  EXPECT_EQ(disk->lastLimit, 3);
  EXPECT_TRUE(keeper->isSaved(2));
  at(4);
  disk->failedSaves = 2;
  const std::string words = said([&] { EXPECT_TRUE(keeper->trySave(state, true)); });
  EXPECT_EQ(words, "warning: step 4: no checkpoint: cannot write 'f': No space left on device; '" +
                       checkpoint(2) + "' stands; the run goes on, and the next one is tried\n");
  EXPECT_FALSE(keeper->isSaved(4));
  EXPECT_EQ(said([&] { EXPECT_TRUE(keeper->trySave(state, false)); }), "")
      << "the last one is waited for, and that is said";
  EXPECT_TRUE(keeper->trySave(state, true));
  EXPECT_TRUE(keeper->isSaved(4));
}

TEST_F(RunKeeperTest, WhatIsNotFiniteIsNotSaved) {
  begin();
  at(2);
  ASSERT_TRUE(session->edit([](const TrainedFloats &trained) -> Result<void> {
    trained.find("exp_avg")[1] = std::numeric_limits<float>::infinity();
    return {};
  }));
  for (const Result<void> &saved : {keeper->trySave(state, true), keeper->saveLast(state, true)}) {
    ASSERT_FALSE(saved);
    EXPECT_TRUE(saved.error().message.starts_with("step 2: after the update: 'exp_avg.bias.lora_"))
        << saved.error().message;
    EXPECT_TRUE(contains(saved.error().message,
                         "; nothing of it is saved; no checkpoint was saved yet; lower "
                         "optimizer.learning_rate"));
  }
  EXPECT_EQ(disk->saves, 0);
  EXPECT_EQ(disk->publishes, 0);
}

TEST_F(RunKeeperTest, ARunThatCouldKeepNothingIsNotBegun) {
  config["train"]["save_steps"] = 2;
  make();
  // 3 regions of 8 floats in a checkpoint, and the headers; the adapter is a third.
  const uint64_t one = 3 * 32 + 65536, adapter = 32 + 65536 / 3;
  disk->free = one + adapter - 1;
  Result<void> begun = keeper->begin(state);
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().message,
            "'" + out +
                "' has 85.5 KiB free; a checkpoint and the adapter take 85.5 KiB: free "
                "some, or name another folder with --out");
  EXPECT_TRUE(fs::is_empty(out));
  disk->free = one + adapter;
  EXPECT_EQ(said([&] { EXPECT_TRUE(keeper->begin(state)); }),
            "warning: '" + out +
                "' has 85.5 KiB free; 4 checkpoints and the adapter take 277.7 "
                "KiB: train.save_total_limit keeps only so many of them\n");
  // A run at its end needs the adapter alone.
  out += ".end";
  make();
  state.step = total;
  disk->free = adapter;
  EXPECT_TRUE(keeper->begin(state));
}

TEST_F(RunKeeperTest, ADamagedCheckpointIsPassedOverForTheOneBefore) {
  leave({2, 4, 6});
  damage(6);
  make(RunStart::Resume);
  Result<std::optional<TrainerState>> found = std::optional<TrainerState>();
  const std::string words = said([&] { found = keeper->resume(); });
  ASSERT_TRUE(found) << found.error().message;
  ASSERT_TRUE(*found);
  EXPECT_EQ((*found)->step, 4);
  EXPECT_EQ(parameter(), 4) << "all of it is of that step";
  EXPECT_TRUE(keeper->isSaved(4));
  EXPECT_TRUE(words.starts_with("warning: checkpoint '" + checkpoint(6) + "' is corrupt: "))
      << words;
  EXPECT_TRUE(contains(words, "; an older one is tried\ngoes on from '" + checkpoint(4) +
                                  "' at step 4 of 8\n"))
      << words;
  ASSERT_TRUE(keeper->begin(**found));
  EXPECT_EQ(keeper->standing(), "'" + checkpoint(4) + "' stands");
}

TEST_F(RunKeeperTest, WhereAllAreDamagedItIsAnError) {
  leave({2, 4});
  make(RunStart::Resume); // they are damaged behind the folder's first look
  damage(2), damage(4);
  Result<std::optional<TrainerState>> found = std::optional<TrainerState>();
  said([&] { found = keeper->resume(); });
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Exit::ForeignFile);
  EXPECT_TRUE(found.error().corrupt);
  EXPECT_FALSE(keeper->isSaved(2) || keeper->isSaved(4));
}

TEST_F(RunKeeperTest, OneOfAnotherRunIsNotPassedOver) {
  leave({2, 4});
  config["optimizer"]["learning_rate"] = 0.5;
  make(RunStart::Resume);
  Result<std::optional<TrainerState>> found = keeper->resume();
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Exit::Refused);
  EXPECT_TRUE(contains(found.error().message, "learning_rate")) << found.error().message;
  EXPECT_EQ(parameter(), 0);
}

TEST_F(RunKeeperTest, OneThatWasRenamedIsRefused) {
  leave({2});
  fs::rename(checkpoint(2), checkpoint(3));
  make(RunStart::Resume);
  Result<std::optional<TrainerState>> found = keeper->resume();
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Exit::Refused);
  EXPECT_EQ(found.error().message, "checkpoint '" + checkpoint(3) +
                                       "' holds the state of step 2: it was renamed; give it the "
                                       "name checkpoint-2 again");
}

TEST_F(RunKeeperTest, ANewRunHasNothingToGoOnFrom) {
  make(RunStart::Resume);
  Result<std::optional<TrainerState>> found = std::optional(TrainerState());
  const std::string words = said([&] { found = keeper->resume(); });
  ASSERT_TRUE(found);
  EXPECT_FALSE(*found);
  EXPECT_EQ(words, "no checkpoint and no adapter in '" + out + "': begins at step 0\n");
}

TEST_F(RunKeeperTest, MetricsThatCannotBeWrittenAreToldOnceAndAtTheEnd) {
  options.metricsFile = "/dev/full";
  begin();
  MetricsLine line;
  line.add("step", int64_t(1));
  const std::string words = said([&] {
    keeper->write(line);
    keeper->write(line);
    keeper->finish();
  });
  EXPECT_EQ(words, "warning: cannot write metrics to '/dev/full': No space left on device; the "
                   "run goes on, and the lines are written when they can be\n"
                   "warning: lines are missing at the end of '/dev/full': they could not be "
                   "written\n");
  EXPECT_EQ(fileBytes(out + "/metrics.jsonl"), "{\"step\": 1}\n{\"step\": 1}\n");
}

} // namespace
} // namespace lorac::train
