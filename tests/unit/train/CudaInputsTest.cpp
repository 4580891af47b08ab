// What goes to a GPU, where it goes: inputs of micro-batches, the step, packed weights. The fake
// driver's memory is the host's, so that it can be looked at.
#include "FakeCudaProgram.h"

#include "runtime/formats/RowWeight.h"
#include "runtime/train/CudaInputs.h"
#include "runtime/train/CudaWeights.h"
#include "tests/unit/gpu/FakeCuda.h"

#include <gtest/gtest.h>

#include <cstring>

namespace lorac::train {
namespace {

class CudaInputsTest : public testing::Test {
protected:
  void SetUp() override {
    Result<std::shared_ptr<const gpu::Context>> opened = gpu::Context::open();
    ASSERT_TRUE(opened) << opened.error().message;
    context = *opened;
    Result<gpu::Stream> made = gpu::Stream::create(context);
    ASSERT_TRUE(made);
    stream = std::move(*made);
  }
  void open(const std::string &json = fakeCudaPlanJson()) {
    Result<Plan> parsed = parsePlan(json);
    ASSERT_TRUE(parsed) << parsed.error().message;
    plan = std::move(*parsed);
    Result<gpu::DeviceMemory> taken =
        gpu::DeviceMemory::allocate(context, uint64_t(plan.arenaBytes), "a test");
    ASSERT_TRUE(taken);
    arena = std::move(*taken);
  }
  /// How many uploads a micro-batch takes: all that can fail.
  int uploadsOf(CudaInputs &inputs) {
    MicroBatch batch;
    batch.ids = batch.positions = batch.targets = {0};
    batch.segmentStarts = {0, 1};
    for (int n = 1;; ++n) {
      const gpu::FakeCuda failing("upload=700@" + std::to_string(n));
      if (inputs.feed(batch, stream))
        return n - 1;
    }
  }
  std::vector<int32_t> at(int64_t offset, size_t count) const {
    std::vector<int32_t> out(count);
    std::memcpy(out.data(), reinterpret_cast<const void *>(arena.at(offset)), 4 * count);
    return out;
  }

  gpu::FakeCuda fake;
  std::shared_ptr<const gpu::Context> context;
  gpu::Stream stream;
  Plan plan;
  gpu::DeviceMemory arena;
};

TEST_F(CudaInputsTest, StandWhereThePlanSays) {
  open();
  Result<CudaInputs> inputs = CudaInputs::create(plan, context, arena.at(0));
  ASSERT_TRUE(inputs) << inputs.error().message;
  EXPECT_EQ(uploadsOf(*inputs), 2) << "row_ends stands apart";
  MicroBatch batch;
  for (int round = 0; round < 5; ++round) {
    batch.clear();
    batch.ids = {1, 2, 3, 4, 5 + round};
    batch.positions = {0, 1, 2, 0, 1};
    batch.targets = {2, 3, -100, 5, -100};
    batch.segmentStarts = {0, 3, 5};
    ASSERT_TRUE(inputs->feed(batch, stream));
    EXPECT_EQ(at(plan.io.ids, 5), batch.ids);
    EXPECT_EQ(at(plan.io.positions, 5), batch.positions);
    EXPECT_EQ(at(plan.io.labels, 5), batch.targets);
    EXPECT_EQ(at(plan.io.segmentStarts, 3), batch.segmentStarts);
    EXPECT_EQ(at(plan.io.rowEnds, 5), (std::vector<int32_t>{3, 3, 3, 5, 5}));
    EXPECT_EQ(at(plan.io.rowLoss, 1)[0], -1) << "nothing else is written";
    EXPECT_EQ(at(plan.io.step, 1)[0], -1);

    const LoracStep step{5, 2, 0.25f, 7, uint32_t(round / 2), 0};
    ASSERT_TRUE(inputs->step(step, stream));
    LoracStep there;
    std::memcpy(&there, reinterpret_cast<const void *>(arena.at(plan.io.step)), sizeof there);
    EXPECT_EQ(std::memcmp(&there, &step, sizeof step), 0);
    // What stands there already is not copied again.
    std::memset(reinterpret_cast<void *>(arena.at(plan.io.step)), 0xff, sizeof step);
    ASSERT_TRUE(inputs->step(step, stream));
    EXPECT_EQ(at(plan.io.step, 1)[0], -1);
    LoracStep other = step;
    other.micro = 1;
    ASSERT_TRUE(inputs->step(other, stream));
    EXPECT_EQ(at(plan.io.step, 1)[0], 5);
    std::memset(reinterpret_cast<void *>(arena.at(plan.io.step)), 0xff, sizeof step);
  }
}

TEST_F(CudaInputsTest, RegionsSideBySideAreOneCopy) {
  std::string json = fakeCudaPlanJson();
  for (auto [from, to] : {std::pair{R"("row_ends": 2560)", R"("row_ends": 2048)"},
                          {R"("row_loss": 2048)", R"("row_loss": 2560)"}})
    json.replace(json.find(from), std::strlen(from), to);
  open(json);
  Result<CudaInputs> inputs = CudaInputs::create(plan, context, arena.at(0));
  ASSERT_TRUE(inputs);
  EXPECT_EQ(uploadsOf(*inputs), 1);
}

TEST_F(CudaInputsTest, WeightsAreTheRowsOfTheSource) {
  std::string json = fakeCudaPlanJson();
  const std::string one = R"("parts": [{"name": "rows", "bytes": 16384}]})";
  json.replace(json.find(one), one.size(),
               one + R"(, {"name": "second", "shape": [50, 96], "format": "nf4<64, dq256>",
               "parts": [{"name": "codes", "bytes": 8192}, {"name": "absmax", "bytes": 512},
                         {"name": "nested", "bytes": 1032}]},
               {"name": "norm", "shape": [50], "format": "vector",
               "parts": [{"name": "values", "bytes": 200}]})");
  open(json);
  EXPECT_EQ(plan.weightBytes(), 16384 + 8192 + 512 + 1280 + 256);
  ThreadPool pool(2);
  auto load = [&](uint64_t seed) {
    Result<gpu::DeviceMemory> room =
        gpu::DeviceMemory::allocate(context, uint64_t(plan.weightBytes()), "weights");
    Result<CudaWeights> weights = CudaWeights::load(plan, "", seed, pool, std::move(*room), stream);
    EXPECT_TRUE(weights) << weights.error().message;
    return std::move(*weights);
  };
  const CudaWeights weights = load(7);
  EXPECT_EQ(weights.hash(), load(7).hash());
  EXPECT_NE(weights.hash(), load(8).hash());
  for (size_t w = 0; w < plan.weights.size(); ++w) {
    const PlanWeight &weight = plan.weights[w];
    std::vector<std::vector<uint8_t>> parts;
    std::vector<void *> pointers;
    for (const PlanPart &part : weight.parts)
      parts.emplace_back(size_t(part.bytes));
    for (auto &part : parts)
      pointers.push_back(part.data());
    const auto source = formats::seededRows(7, weight.name, weight.shape);
    ASSERT_TRUE(formats::packRowWeight(*source, *formats::parseWeightFormat(weight.format),
                                       formats::ComputeType::BF16, pointers));
    for (size_t p = 0; p < parts.size(); ++p) {
      EXPECT_EQ(weights.part(int(w), int(p)) % 256, 0u);
      EXPECT_EQ(std::memcmp(parts[p].data(),
                            reinterpret_cast<const void *>(weights.part(int(w), int(p))),
                            parts[p].size()),
                0)
          << weight.name << " " << p;
    }
  }

  // Sizes of another layout are the compiler's mistake, and are named.
  plan.weights[1].parts[1].bytes = 75;
  Result<gpu::DeviceMemory> room =
      gpu::DeviceMemory::allocate(context, uint64_t(plan.weightBytes()), "weights");
  Result<CudaWeights> misfit = CudaWeights::load(plan, "", 7, pool, std::move(*room), stream);
  ASSERT_FALSE(misfit);
  EXPECT_EQ(misfit.error().message, "plan.json: weight 'second' has the part 'absmax' of 75 bytes, "
                                    "expected 512; compile the spec again");
}

} // namespace
} // namespace lorac::train
