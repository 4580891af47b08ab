#include "FakeProgram.h"

#include "runtime/formats/PackedWeight.h"
#include "runtime/formats/Safetensors.h"
#include "runtime/train/AdapterState.h"
#include "runtime/train/Weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

namespace lorac::train {
namespace {

TEST(Rope, TableIsTransformers) {
  // forward.safetensors holds the cos and sin that transformers computed (both halves the same).
  auto golden =
      formats::Safetensors::open(LORAC_SOURCE_DIR "/tests/golden/tiny/tied/forward.safetensors");
  ASSERT_TRUE(golden) << golden.error().message;
  const formats::TensorInfo *info = golden->find("rope.cos");
  ASSERT_TRUE(info);
  Result<std::vector<float>> cosines = golden->floats("rope.cos"),
                             sines = golden->floats("rope.sin");
  ASSERT_TRUE(cosines && sines);
  int64_t dim = info->shape.back(), positions = int64_t(cosines->size()) / dim;
  PlanTable table{"rope", 0, positions, dim, 10000.0};
  std::vector<float> out(size_t(positions * dim));
  fillRopeTable(table, out.data());
  for (int64_t p = 0; p < positions; ++p)
    for (int64_t i = 0; i < dim / 2; ++i) {
      ASSERT_NEAR(out[size_t(p * dim + i)], (*cosines)[size_t(p * dim + i)], 1e-6) << p << " " << i;
      ASSERT_NEAR(out[size_t(p * dim + dim / 2 + i)], (*sines)[size_t(p * dim + i)], 1e-6);
    }
}

TEST(Weights, SeededAndThreadFree) {
  Result<Plan> plan = parsePlan(fakePlanJson());
  ASSERT_TRUE(plan);
  ThreadPool one(1), three(3);
  Result<WeightStore> a = WeightStore::load(*plan, "", 7, one),
                      b = WeightStore::load(*plan, "", 7, three),
                      c = WeightStore::load(*plan, "", 8, one);
  ASSERT_TRUE(a && b && c) << a.error().message;
  EXPECT_EQ(a->hash(), b->hash());
  EXPECT_NE(a->hash(), c->hash());
  EXPECT_EQ(a->bytes(), 256u);
  auto rows = formats::seededRows(7, "model.embed_tokens.weight", {8, 4});
  float row[4];
  rows->readRow(5, row);
  for (int j = 0; j < 4; ++j)
    EXPECT_EQ(static_cast<const float *>(a->part(0, 0))[j * 16 + 5], row[j]);
}

TEST(Weights, MisfitsAreNamed) {
  Result<Plan> plan = parsePlan(fakePlanJson());
  ASSERT_TRUE(plan);
  ThreadPool pool(1);
  Result<WeightStore> other =
      WeightStore::load(*plan, LORAC_SOURCE_DIR "/tests/golden/tiny/tied", 7, pool);
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message.find("model.embed_tokens.weight"), std::string::npos);
  EXPECT_EQ(other.error().code, Exit::ForeignFile);
  plan->weights[0].format = "q5_k";
  EXPECT_NE(WeightStore::load(*plan, "", 7, pool).error().message.find("'q5_k'"),
            std::string::npos);
  plan->weights[0].format = "f16";
  EXPECT_NE(
      WeightStore::load(*plan, "", 7, pool).error().message.find("of 256 bytes, expected 128"),
      std::string::npos);
}

TEST(AdapterState, InitAndFiles) {
  Result<Plan> plan = parsePlan(fakePlanJson());
  Result<Arena> arena = Arena::allocate(uint64_t(plan->arenaBytes), "test");
  ASSERT_TRUE(plan && arena);
  float *p = arena->at<float>(plan->paramRegion.offset);
  initAdapter(*plan, *arena, 7);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(p[i], 0) << "lora_B";
    EXPECT_NE(p[4 + i], 0) << "lora_A";
    EXPECT_LE(std::fabs(p[4 + i]), 0.5f);
    p[i] = float(i + 1);
  }
  std::vector<float> before(p, p + 8);
  RunConfig run;
  run.r = 1;
  run.loraAlpha = 2;
  formats::Adapter adapter = takeAdapter(*plan, *arena, run, "base");
  ASSERT_EQ(adapter.modules.size(), 1u);
  EXPECT_EQ(adapter.modules[0].scale, 2);
  std::string folder = testing::TempDir();
  ASSERT_TRUE(formats::writePeftAdapter(folder, adapter));
  std::memset(p, 0, 32);
  ASSERT_TRUE(loadAdapter(*plan, *arena, folder, AdapterScale::AsIs));
  EXPECT_EQ(std::vector<float>(p, p + 8), before);

  // An adapter of half the scale acts as itself when its B is halved.
  adapter.alpha = 1;
  adapter.modules[0].scale = 1;
  ASSERT_TRUE(formats::writePeftAdapter(folder, adapter));
  ASSERT_TRUE(loadAdapter(*plan, *arena, folder, AdapterScale::AsIs));
  EXPECT_EQ(p[1], 1.0f);
  ASSERT_TRUE(loadAdapter(*plan, *arena, folder, AdapterScale::Trained));
  EXPECT_EQ(p[1], 2.0f);

  plan->params[0].module = plan->params[1].module = "other";
  Result<void> misfit = loadAdapter(*plan, *arena, folder, AdapterScale::AsIs);
  ASSERT_FALSE(misfit);
  EXPECT_EQ(misfit.error().code, Exit::ForeignFile);
  EXPECT_NE(misfit.error().message.find("other"), std::string::npos);
}

} // namespace
} // namespace lorac::train
