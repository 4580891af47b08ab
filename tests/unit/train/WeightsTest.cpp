#include "FakeProgram.h"

#include "runtime/formats/DurableFile.h"
#include "runtime/formats/Gguf.h"
#include "runtime/formats/PackedWeight.h"
#include "runtime/formats/Safetensors.h"
#include "runtime/train/AdapterState.h"
#include "runtime/train/Arena.h"
#include "runtime/train/Weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <unistd.h>

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
  PlanTable table{"rope", 0, positions, dim};
  for (int64_t i = 0; i < dim / 2; ++i)
    table.frequencies.push_back(float(std::pow(10000.0, -2.0 * double(i) / double(dim))));
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

/// One model in both layouts: what is missing, misshapen or more than the program uses is named.
TEST(Weights, ModelsThatDoNotFitAreNamed) {
  Result<Plan> plan = parsePlan(fakePlanJson());
  ASSERT_TRUE(plan);
  ThreadPool pool(1);
  const std::string folder = testing::TempDir() + "weights";
  std::filesystem::create_directories(folder);
  ASSERT_TRUE(formats::writeDurably(folder + "/config.json",
                                    R"({"model_type": "llama", "tie_word_embeddings": true})"));
  const std::vector<float> values(64, 0.5f);
  struct Tensor {
    std::string hf, gguf;
    std::vector<int64_t> shape;
  };
  const auto load = [&](bool gguf, const std::vector<Tensor> &tensors) {
    if (!gguf) {
      std::vector<formats::TensorToWrite> all;
      for (const Tensor &t : tensors)
        all.push_back({t.hf, formats::DType::F32, t.shape, values.data()});
      EXPECT_TRUE(formats::writeSafetensors(folder + "/model.safetensors", all));
      return WeightStore::load(*plan, folder, 7, pool);
    }
    formats::GgufWriter writer;
    writer.text("general.architecture", "llama");
    for (const Tensor &t : tensors) {
      const size_t count = size_t(t.shape[0] * (t.shape.size() > 1 ? t.shape[1] : 1));
      writer.tensor(t.gguf, formats::GgmlType::F32, t.shape, std::span(values).first(count));
    }
    EXPECT_TRUE(writer.write(folder + "/model.gguf"));
    return WeightStore::load(*plan, folder + "/model.gguf", 7, pool);
  };
  const Tensor table{"model.embed_tokens.weight", "token_embd.weight", {8, 4}},
      bias{"model.layers.0.self_attn.q_proj.bias", "blk.0.attn_q.bias", {4}},
      layer{"model.layers.7.mlp.up_proj.weight", "blk.7.ffn_up.weight", {8, 4}};
  for (const bool gguf : {false, true}) {
    SCOPED_TRACE(gguf);
    const auto name = [&](const Tensor &t) { return "tensor '" + (gguf ? t.gguf : t.hf) + "' "; };
    const auto refused = [&](const std::vector<Tensor> &tensors, const std::string &misfits) {
      Result<WeightStore> store = load(gguf, tensors);
      ASSERT_FALSE(store) << misfits;
      EXPECT_EQ(store.error().code, Exit::ForeignFile);
      EXPECT_EQ(store.error().message, "'" + folder + (gguf ? "/model.gguf" : "") +
                                           "' does not fit the architecture: " + misfits);
    };
    EXPECT_TRUE(load(gguf, {table}));
    refused({bias}, name(table) + "is absent");
    refused({{table.hf, table.gguf, {4, 8}}}, name(table) + "is F32 [4, 8], expected [8, 4]");
    refused({{table.hf, table.gguf, {32}}}, name(table) + "is F32 [32], expected [8, 4]");
    refused({table, bias}, name(bias) + "[4] has no place in it");
    std::vector<Tensor> more = {table, bias, layer};
    Result<WeightStore> both = load(gguf, more);
    ASSERT_FALSE(both);
    for (const Tensor &t : {bias, layer})
      EXPECT_NE(both.error().message.find(name(t)), std::string::npos) << both.error().message;
    for (int i = 0; i < 40; ++i)
      more.push_back({"extra." + std::to_string(i), "extra." + std::to_string(i), {1}});
    Result<WeightStore> many = load(gguf, more);
    ASSERT_FALSE(many);
    EXPECT_NE(many.error().message.find("; and 26 more"), std::string::npos)
        << many.error().message;
  }
  // What changes nothing: tables that older writers saved, the head of a tied model.
  EXPECT_TRUE(load(false, {table,
                           {"model.layers.0.self_attn.rotary_emb.inv_freq", "", {2}},
                           {"lm_head.weight", "", {8, 4}}}));
  ASSERT_TRUE(formats::writeDurably(folder + "/config.json", R"({"model_type": "llama"})"));
  EXPECT_FALSE(load(false, {table, {"lm_head.weight", "", {8, 4}}})) << "not tied";
}

/// The source of a weight shrinks between its check and its packing.
TEST(WeightsDeathTest, AFileThatShrinksWhileItIsPackedIsNamed) {
  Result<Plan> plan = parsePlan(fakePlanJson());
  ASSERT_TRUE(plan);
  const std::string path = testing::TempDir() + "shrinks.gguf";
  formats::GgufWriter writer;
  writer.text("general.architecture", "llama");
  const std::vector<float> values(size_t(64) * 1024, 0.5f);
  writer.tensor("w", formats::GgmlType::F32, {64, 1024}, std::span(values));
  ASSERT_TRUE(writer.write(path));
  const auto pack = [&] {
    formats::installSigbusGuard();
    auto model = formats::ModelSource::open(path);
    const formats::WantedWeight wanted{"w", "w", {64, 1024}, 0};
    auto rows = (*model)->find(std::span(&wanted, 1));
    std::filesystem::resize_file(path, 100);
    std::vector<uint8_t> packed(values.size() * 4);
    void *part = packed.data();
    (void)formats::packWeight(*(*rows)[0], formats::WeightFormat::floats(formats::ElementType::F32),
                              std::span(&part, 1));
    _exit(0);
  };
  EXPECT_EXIT(pack(), testing::ExitedWithCode(int(Exit::ForeignFile)),
              "^error: '.*shrinks.gguf' was cut short");
}

TEST(AdapterState, InitAndFiles) {
  Result<Plan> plan = parsePlan(fakePlanJson());
  Result<Arena> arena = Arena::allocate(uint64_t(plan->arenaBytes), "test");
  ASSERT_TRUE(plan && arena);
  float *p = arena->at<float>(plan->region(RegionKind::Params).offset);
  initAdapter(*plan, p, 7);
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
  formats::Adapter adapter = takeAdapter(*plan, p, run, "base");
  ASSERT_EQ(adapter.modules.size(), 1u);
  EXPECT_EQ(adapter.modules[0].scale, 2);
  std::string folder = testing::TempDir();
  ASSERT_TRUE(formats::writePeftAdapter(folder, adapter));
  std::memset(p, 0, 32);
  ASSERT_TRUE(loadAdapter(*plan, p, folder, AdapterUse::Serve, false));
  EXPECT_EQ(std::vector<float>(p, p + 8), before);

  // An adapter of half the scale acts as itself when its B is halved.
  adapter.alpha = 1;
  adapter.modules[0].scale = 1;
  ASSERT_TRUE(formats::writePeftAdapter(folder, adapter));
  for (AdapterUse use : {AdapterUse::Serve, AdapterUse::Continue}) {
    auto notes = loadAdapter(*plan, p, folder, use, false);
    ASSERT_TRUE(notes);
    EXPECT_EQ(p[1], 1.0f);
    EXPECT_EQ(notes->size(), use == AdapterUse::Continue ? 1u : 0u);
  }
  // A file alone takes the program's alpha, and says so; beside its adapter_config.json it is the
  // folder.
  auto beside =
      loadAdapter(*plan, p, folder + "/adapter_model.safetensors", AdapterUse::Serve, false);
  ASSERT_TRUE(beside);
  EXPECT_EQ(p[1], 1.0f);
  std::filesystem::remove(folder + "/adapter_config.json");
  auto alone =
      loadAdapter(*plan, p, folder + "/adapter_model.safetensors", AdapterUse::Serve, false);
  ASSERT_TRUE(alone);
  EXPECT_EQ(p[1], 2.0f);
  ASSERT_EQ(alone->size(), 1u);
  EXPECT_NE((*alone)[0].find("no adapter_config.json beside it"), std::string::npos);
  ASSERT_TRUE(formats::writePeftAdapter(folder, adapter));

  plan->params[0].module = plan->params[1].module = "other";
  auto misfit = loadAdapter(*plan, p, folder, AdapterUse::Serve, false);
  ASSERT_FALSE(misfit);
  EXPECT_EQ(misfit.error().code, Exit::ForeignFile);
  EXPECT_NE(misfit.error().message.find("'bias' is none that is adapted here"), std::string::npos);
}

// Magnitudes are there when a session is open: what begins and what is loaded leaves those alone
// that no adapter brings.
TEST(AdapterState, Dora) {
  Result<Plan> plan = parsePlan(fakeDoraPlanJson());
  ASSERT_TRUE(plan) << plan.error().message;
  const auto params = [](float magnitude) {
    std::vector<float> p(12, 0.0f);
    std::fill_n(p.begin() + 8, 4, magnitude);
    return p;
  };
  std::vector<float> p = params(3);
  initAdapter(*plan, p.data(), 7);
  EXPECT_EQ(std::vector<float>(p.begin() + 8, p.end()), std::vector<float>(4, 3.0f));
  EXPECT_NE(p[4], 0) << "lora_A";
  p[1] = 0.5f; // lora_B
  RunConfig run;
  run.r = 1;
  run.loraAlpha = 2;
  const formats::Adapter adapter = takeAdapter(*plan, p.data(), run, "base");
  EXPECT_TRUE(adapter.useDora);
  const std::string folder = testing::TempDir() + "dora", other = testing::TempDir() + "other";
  std::filesystem::create_directories(folder);
  ASSERT_TRUE(formats::writePeftAdapter(folder, adapter));
  for (AdapterUse use : {AdapterUse::Serve, AdapterUse::Continue}) {
    std::vector<float> read = params(5);
    auto notes = loadAdapter(*plan, read.data(), folder, use, false);
    ASSERT_TRUE(notes) << notes.error().message;
    EXPECT_EQ(read, p);
  }
  // A module that the adapter lacks is the base alone: B is 0, and the magnitudes stay.
  formats::Adapter none = *formats::readAdapter(folder);
  none.modules[0].module = "elsewhere";
  Plan two = *plan;
  for (size_t i = 0; i < 3; ++i) {
    PlanParam param = two.params[i];
    param.module = "elsewhere";
    param.offset += 12;
    two.params.push_back(param);
  }
  std::filesystem::create_directories(other);
  ASSERT_TRUE(formats::writePeftAdapter(other, none));
  std::vector<float> read(24, 7.0f);
  ASSERT_TRUE(loadAdapter(two, read.data(), other, AdapterUse::Serve, false));
  EXPECT_EQ(std::vector<float>(read.begin(), read.begin() + 8), std::vector<float>(8, 0.0f));
  EXPECT_EQ(std::vector<float>(read.begin() + 8, read.begin() + 12), std::vector<float>(4, 7.0f));
  EXPECT_EQ(std::vector<float>(read.begin() + 12, read.end()), p);

  // DoRA's and plain ones do not go for each other; nothing is touched.
  Result<Plan> plain = parsePlan(fakePlanJson());
  std::vector<float> small(8, 1.0f);
  auto refused = loadAdapter(*plain, small.data(), folder, AdapterUse::Serve, false);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Exit::ForeignFile);
  EXPECT_EQ(small, std::vector<float>(8, 1.0f));
  ASSERT_TRUE(formats::writePeftAdapter(other, takeAdapter(*plain, p.data(), run, "base")));
  EXPECT_FALSE(loadAdapter(*plan, p.data(), other, AdapterUse::Continue, false));
}

// Gates begin as 1, and come back from a folder.
TEST(AdapterState, Gated) {
  Result<Plan> plan = parsePlan(fakeGatedPlanJson());
  ASSERT_TRUE(plan) << plan.error().message;
  std::vector<float> p(12, 7.0f);
  initAdapter(*plan, p.data(), 7);
  EXPECT_EQ(std::vector<float>(p.begin() + 8, p.end()), std::vector<float>(4, 1.0f));
  p[9] = 0.25f;
  RunConfig run;
  run.r = 1;
  run.loraAlpha = 2;
  const formats::Adapter adapter = takeAdapter(*plan, p.data(), run, "base");
  EXPECT_TRUE(adapter.useGate);
  const std::string folder = testing::TempDir() + "gated", other = testing::TempDir() + "ungated";
  std::filesystem::create_directories(folder);
  ASSERT_TRUE(formats::writePeftAdapter(folder, adapter));
  for (AdapterUse use : {AdapterUse::Serve, AdapterUse::Continue}) {
    std::vector<float> read(12, 5.0f);
    auto notes = loadAdapter(*plan, read.data(), folder, use, false);
    ASSERT_TRUE(notes) << notes.error().message;
    EXPECT_EQ(read, p);
  }
  // Neither goes for the other; nothing is touched.
  Result<Plan> plain = parsePlan(fakePlanJson());
  std::vector<float> small(8, 1.0f);
  EXPECT_FALSE(loadAdapter(*plain, small.data(), folder, AdapterUse::Serve, false));
  EXPECT_EQ(small, std::vector<float>(8, 1.0f));
  std::filesystem::create_directories(other);
  ASSERT_TRUE(formats::writePeftAdapter(other, takeAdapter(*plain, p.data(), run, "base")));
  EXPECT_FALSE(loadAdapter(*plan, p.data(), other, AdapterUse::Continue, false));
}

} // namespace
} // namespace lorac::train
