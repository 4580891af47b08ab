// A program on a GPU, step by step: the bigram model's kernels in the PTX simulator.
#include "BackendChecks.h"
#include "FakeCudaProgram.h"
#include "Simulator.h"

#include "runtime/formats/DurableFile.h"
#include "runtime/formats/Safetensors.h"
#include "runtime/train/Backend.h"
#include "runtime/train/CudaInputs.h"
#include "runtime/train/StepScalars.h"

#include <cmath>
#include <filesystem>

namespace lorac::train {
namespace {

class CudaBackendTest : public testing::Test {
protected:
  void SetUp() override {
    if (simulatorLibrary().empty())
      GTEST_SKIP() << "this build has no PTX simulator";
    // Row of token t is t + {0, .25, .5, .75}: exact in bf16.
    std::vector<float> table;
    for (int token = 0; token < 8; ++token)
      for (int j = 0; j < 4; ++j)
        table.push_back(float(token) + float(j) * 0.25f);
    folder = testing::TempDir() + "cuda-model";
    std::filesystem::create_directories(folder);
    std::vector<formats::TensorToWrite> tensors = {
        {"model.embed_tokens.weight", formats::DType::F32, {8, 4}, table.data()}};
    ASSERT_TRUE(formats::writeSafetensors(folder + "/model.safetensors", tensors));
    ASSERT_TRUE(formats::writeDurably(folder + "/config.json", R"({"model_type": "llama"})"));
  }

  /// Opens the program; failures are the test's.
  void open(const std::string &json = fakeCudaPlanJson()) {
    Result<Plan> parsed = parsePlan(json);
    ASSERT_TRUE(parsed) << parsed.error().message;
    plan = std::move(*parsed);
    const std::string binary = testing::TempDir() + "cuda-payload";
    ASSERT_TRUE(writeTrainBinary("/dev/null", fakeCudaProgram(json), binary));
    Result<Payload> payload = Payload::read(binary);
    ASSERT_TRUE(payload) << payload.error().message;
    auto opened = Backend::open(
        {*payload, plan, pool, folder, 7, [&](const std::string &line) { said += line + "\n"; }});
    ASSERT_TRUE(opened) << opened.error().message;
    backend = std::move(*opened);
  }

  static MicroBatch batchOf(const std::vector<int> &lengths, int first = 1) {
    MicroBatch batch;
    batch.clear();
    for (int length : lengths) {
      for (int i = 0; i < length; ++i) {
        batch.ids.push_back((first + int(batch.ids.size())) % 8);
        batch.positions.push_back(i);
        batch.targets.push_back(i + 1 < length ? (batch.ids.back() + 1) % 8 : -100);
        batch.labels += i + 1 < length;
      }
      batch.segmentStarts.push_back(int32_t(batch.ids.size()));
    }
    return batch;
  }
  static LoracStep stepOf(const MicroBatch &batch, float lossScale = 0) {
    return {batch.tokens(), batch.segments(), lossScale, 7, 0, 0};
  }
  std::vector<float> losses(int64_t tokens) {
    Result<const float *> rows = backend->rowLoss(tokens);
    EXPECT_TRUE(rows) << rows.error().message;
    return {*rows, *rows + tokens};
  }
  std::vector<float> floats(const float *from) {
    return {from, from + plan.region(RegionKind::Params).count};
  }

  Simulator simulator;
  ThreadPool pool{2};
  std::string folder, said;
  Plan plan;
  std::unique_ptr<Backend> backend;
};

TEST_F(CudaBackendTest, RunsAStep) {
  open();
  EXPECT_NE(said.find("9 kernels: PTX of sm_80, compiled by the driver"), std::string::npos)
      << said;
  EXPECT_EQ(backend->device().memory().planned, 16384u + 5120u);
  EXPECT_EQ(backend->device().memory().peak, 16384u + 5120u);
  Result<TrainedFloats> trained = backend->read();
  ASSERT_TRUE(trained);
  EXPECT_EQ(floats(trained->params), std::vector<float>(8));
  EXPECT_EQ(floats(trained->find("exp_avg_sq")), std::vector<float>(8));
  trained->params[1] = 0.5f;
  ASSERT_TRUE(backend->write());

  // As on the CPU (ExecutorTest): the target differs by 1 in each column, by 0.5 in column 1.
  MicroBatch batch = batchOf({3, 2});
  ASSERT_TRUE(backend->zeroGrads());
  ASSERT_TRUE(backend->feed(batch));
  ASSERT_TRUE(backend->run(Program::Train, stepOf(batch, 1.0f / 3)));
  const float loss = 0.5f * (1 + 0.25f + 1 + 1);
  EXPECT_EQ(losses(5), (std::vector<float>{loss, loss, 0, loss, 0}));
  Result<const float *> grads = backend->grads();
  ASSERT_TRUE(grads);
  EXPECT_FLOAT_EQ((*grads)[0], -1.0f);
  EXPECT_FLOAT_EQ((*grads)[1], -0.5f);
  EXPECT_EQ((*grads)[4], 0);

  // Gradients add up over micro-batches.
  ASSERT_TRUE(backend->feed(batch));
  ASSERT_TRUE(backend->run(Program::Train, stepOf(batch, 1.0f / 3)));
  grads = backend->grads();
  ASSERT_TRUE(grads);
  EXPECT_FLOAT_EQ((*grads)[0], -2.0f);

  Result<const float *> logits = backend->logits(4, {1, 1, 0, 0, 0, 0});
  ASSERT_TRUE(logits) << logits.error().message;
  EXPECT_FLOAT_EQ((*logits)[1], 5.0f * 1 + 5.75f * 1.25f + 5.5f * 1.5f + 5.75f * 1.75f);
}

/// Each micro-batch finds its own rows, segments and ends, whatever stood there before.
TEST_F(CudaBackendTest, InputsFollowTheMicroBatch) {
  std::string json = fakeCudaPlanJson(); // `loss` tells what it was fed
  const std::string loss = R"("loss": [{"kernel": 1, "args": [3328, 1536, ["w", 0, 0], 2048])";
  json.replace(json.find(loss), loss.size(),
               R"("loss": [{"kernel": 4, "args": [2560, 1280, 1792, 2048])");
  open(json);
  for (const std::vector<int> &lengths :
       {std::vector<int>{3, 2}, {8, 8}, {1}, {2, 2, 2, 2, 2, 2, 2, 2}, {5, 1, 7}}) {
    const MicroBatch batch = batchOf(lengths);
    ASSERT_TRUE(backend->feed(batch));
    ASSERT_TRUE(backend->run(Program::Loss, stepOf(batch)));
    std::vector<float> expected;
    for (size_t s = 0; s < lengths.size(); ++s)
      for (int i = 0; i < lengths[s]; ++i)
        expected.push_back(float(batch.segmentStarts[s + 1] * 100 + i * 10 + lengths[0]));
    EXPECT_EQ(losses(batch.tokens()), expected);
    EXPECT_EQ(rowEnds(batch).front(), lengths[0]);
  }
}

/// The programs get the scalars and do what AdamW is.
TEST_F(CudaBackendTest, OptimizerIsAdamW) {
  open();
  test::AdamWBeside adam(*backend, plan);
  for (int step = 1; step <= 4; ++step) {
    MicroBatch batch = batchOf({4, 3 + step}, step);
    ASSERT_TRUE(backend->zeroGrads());
    ASSERT_TRUE(backend->feed(batch));
    ASSERT_TRUE(backend->run(Program::Train, stepOf(batch, 1.0f / float(batch.labels))));
    Result<const float *> grads = backend->grads();
    ASSERT_TRUE(grads);
    adam.update(step, floats(*grads));
  }
  adam.end();
}

/// Rows of hidden go to the head where they lie: each token's logits, by the row that it has.
TEST_F(CudaBackendTest, LogitsOfEachRow) {
  open();
  MicroBatch batch = batchOf({6, 4});
  ASSERT_TRUE(backend->feed(batch));
  ASSERT_TRUE(backend->run(Program::Hidden, stepOf(batch)));
  for (auto [begin, rows] : {std::pair(0, 2), {3, 1}, {5, 4}, {9, 1}}) {
    Result<const float *> logits = backend->logits(begin, {rows, 1, 0, 0, 0, 0});
    ASSERT_TRUE(logits) << logits.error().message;
    for (int row = 0; row < rows; ++row)
      for (int token = 0; token < 8; ++token) {
        float wanted = 0; // of exact numbers
        for (int j = 0; j < 4; ++j)
          wanted += (float(batch.ids[size_t(begin + row)]) + 0.25f * float(j)) *
                    (float(token) + 0.25f * float(j));
        EXPECT_EQ((*logits)[row * Plan::leadingDim(8) + token], wanted) << begin + row;
      }
  }
}

TEST_F(CudaBackendTest, CopiesWithinTheArena) {
  open();
  test::expectCopiesWithinTheArena(*backend, plan);
}

TEST_F(CudaBackendTest, ProfilesLaunches) {
  open();
  backend->device().startProfile();
  MicroBatch batch = batchOf({3, 2});
  ASSERT_TRUE(backend->feed(batch));
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE(backend->run(Program::Train, stepOf(batch)));
  const std::vector<LaunchCount> &profile = backend->device().profile();
  ASSERT_EQ(profile.size(), 12u);
  EXPECT_EQ(profile[0].calls, 3);
  EXPECT_DOUBLE_EQ(profile[0].flops, 3 * 64 * 5 / 16.0) << "of the rows that ran";
  EXPECT_EQ(profile[0].kernel->name, "fake_embed");
  EXPECT_EQ(profile[5].calls, 0);
  EXPECT_EQ(profile[11].program, Program::Update);
}

} // namespace
} // namespace lorac::train
