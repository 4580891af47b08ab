#include "FakeProgram.h"

#include "runtime/train/Executor.h"

#include <gtest/gtest.h>

#include <cstring>

namespace lorac::train {
namespace {

struct FakeRun {
  std::vector<float> rowLoss, grads, hidden, starts, logits;
  std::vector<LaunchCount> profile;
};

/// Five tokens in two segments, with a window's loss scale of 1/3.
FakeRun runTrain(int threads) {
  Result<Plan> plan = parsePlan(fakePlanJson());
  EXPECT_TRUE(plan) << plan.error().message;
  Result<Module> module = Module::load(fileBytes(FAKE_MODULE));
  EXPECT_TRUE(module) << module.error().message;
  Result<Arena> arena = Arena::allocate(uint64_t(plan->arenaBytes), "test");
  ThreadPool pool(threads);
  std::vector<float> table(64); // in panels: token t is t + {0, .25, .5, .75}
  for (int token = 0; token < 8; ++token)
    for (int j = 0; j < 4; ++j)
      table[size_t(j * 16 + token)] = float(token) + float(j) * 0.25f;
  Result<Executor> executor = Executor::create(
      *plan, *module, *arena, [&](int, int) { return static_cast<const void *>(table.data()); },
      pool);
  EXPECT_TRUE(executor);
  int32_t ids[] = {1, 2, 3, 4, 5}, labels[] = {2, 3, -100, 5, -100}, starts[] = {0, 3, 5};
  std::memcpy(arena->at<int32_t>(plan->io.ids), ids, sizeof ids);
  std::memcpy(arena->at<int32_t>(plan->io.labels), labels, sizeof labels);
  std::memcpy(arena->at<int32_t>(plan->io.segmentStarts), starts, sizeof starts);
  arena->at<float>(plan->region(RegionKind::Params).offset)[1] = 0.5f;
  std::vector<LaunchCount> counts = launchCounts(*plan);
  LoracStep step = {5, 2, 1.0f / 3, 7, 0, 0};
  executor->run(Program::Train, step, &counts);
  FakeRun out;
  auto take = [&](int64_t offset, int count) {
    return std::vector<float>(arena->at<float>(offset), arena->at<float>(offset) + count);
  };
  out.rowLoss = take(plan->io.rowLoss, 16);
  out.grads = take(plan->region(RegionKind::Grads).offset, 4);
  out.hidden = take(plan->io.hidden, 5 * 16);
  out.starts = take(4096, 3);
  out.profile = counts;
  for (LaunchCount &count : out.profile)
    count.launch = nullptr, count.kernel = nullptr;
  std::memcpy(arena->at<float>(plan->io.headIn), arena->at<float>(plan->io.hidden) + 4 * 16,
              16 * 4);
  executor->run(Program::Head, {1, 1, 0, 0, 0, 0});
  out.logits = take(plan->io.logits, 8);
  return out;
}

TEST(Executor, RunsLaunchesInOrderOverRows) {
  FakeRun run = runTrain(1);
  // Row of token t is t + {0, .25, .5, .75} + bias; the target differs by 1 in each column, and by
  // 0.5 more in column 1.
  float loss = 0.5f * (1 + 0.25f + 1 + 1);
  EXPECT_EQ(run.rowLoss[0], loss);
  EXPECT_EQ(run.rowLoss[1], loss);
  EXPECT_EQ(run.rowLoss[2], 0);
  EXPECT_EQ(run.rowLoss[3], loss);
  EXPECT_EQ(run.rowLoss[4], 0);
  EXPECT_EQ(run.hidden[16 + 1], 2 + 0.25f + 0.5f);
  EXPECT_FLOAT_EQ(run.grads[0], -1.0f);
  EXPECT_FLOAT_EQ(run.grads[1], -0.5f);
  EXPECT_EQ(run.starts[0], 0);
  EXPECT_EQ(run.starts[1], 3);
  EXPECT_EQ(run.starts[2], 0) << "only two segments";
  EXPECT_FLOAT_EQ(run.logits[1], 5.0f * 1 + 5.75f * 1.25f + 5.5f * 1.5f + 5.75f * 1.75f);
  ASSERT_EQ(run.profile.size(), 12u);
  EXPECT_EQ(run.profile[0].calls, 1);
  EXPECT_EQ(run.profile[3].calls, 0) << "the second chunk of rows begins behind the tokens";
}

TEST(Executor, ThreadsMoveNoBit) {
  FakeRun one = runTrain(1);
  for (int threads : {2, 3, 4, 7}) {
    FakeRun many = runTrain(threads);
    EXPECT_EQ(one.rowLoss, many.rowLoss);
    EXPECT_EQ(one.grads, many.grads);
    EXPECT_EQ(one.hidden, many.hidden);
    EXPECT_EQ(one.starts, many.starts);
  }
}

TEST(Executor, NamesAMissingKernel) {
  std::string json = fakePlanJson();
  json.replace(json.find("fake_head"), 9, "fake_hood");
  Result<Plan> plan = parsePlan(json);
  ASSERT_TRUE(plan);
  Result<Module> module = Module::load(fileBytes(FAKE_MODULE));
  Result<Arena> arena = Arena::allocate(uint64_t(plan->arenaBytes), "test");
  ThreadPool pool(1);
  Result<Executor> executor =
      Executor::create(*plan, *module, *arena, [](int, int) { return nullptr; }, pool);
  ASSERT_FALSE(executor);
  EXPECT_EQ(executor.error().message,
            "module.so has no kernel 'fake_hood'; compile the spec again");
}

TEST(Module, RefusesWhatIsNoModule) {
  EXPECT_FALSE(Module::load("not an object"));
  std::string cut = fileBytes(FAKE_MODULE);
  EXPECT_FALSE(Module::load(cut.substr(0, 200)));
}

} // namespace
} // namespace lorac::train
