// AdaLoRA adapters: as PEFT saves them, folded into plain LoRA, and written for PEFT.
#include "runtime/formats/Adapter.h"
#include "runtime/formats/Gguf.h"
#include "tests/unit/formats/Support.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>

namespace lorac::formats {
namespace {

using Json = nlohmann::json;

Json jsonOf(const std::string &path) { return Json::parse(std::ifstream(path)); }

void expectSame(const Adapter &read, const Adapter &expected) {
  EXPECT_EQ(read.adaLora, expected.adaLora);
  EXPECT_EQ(read.r, expected.r);
  EXPECT_EQ(read.alpha, expected.alpha);
  EXPECT_EQ(read.dropout, expected.dropout);
  EXPECT_EQ(read.baseModel, expected.baseModel);
  ASSERT_EQ(read.modules.size(), expected.modules.size());
  for (const AdapterModule &module : expected.modules) {
    SCOPED_TRACE(module.module);
    const AdapterModule *m = read.find(module.module);
    ASSERT_TRUE(m);
    EXPECT_EQ(m->rank, module.rank);
    EXPECT_EQ(m->in, module.in);
    EXPECT_EQ(m->out, module.out);
    EXPECT_EQ(m->scale, module.scale);
    EXPECT_EQ(m->a, module.a);
    EXPECT_EQ(m->b, module.b);
    EXPECT_EQ(m->e, module.e);
  }
}

/// scale · B·diag(E)·A in float64.
std::vector<double> update(const AdapterModule &m) {
  std::vector<double> delta(size_t(m.out * m.in));
  for (int64_t row = 0; row < m.out; ++row)
    for (int64_t i = 0; i < m.rank; ++i)
      for (int64_t column = 0; column < m.in; ++column)
        delta[size_t(row * m.in + column)] += m.scale * m.b[size_t(row * m.rank + i)] *
                                              (m.e.empty() ? 1.0 : m.e[size_t(i)]) *
                                              m.a[size_t(i * m.in + column)];
  return delta;
}

double largest(const auto &values) {
  double most = 0;
  for (const double value : values)
    most = std::max(most, std::abs(value));
  return most;
}

// --- PEFT's own run over the tiny Llama (tests/golden/README.md, adalora/)

class AdaLoraGolden : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override { folder = golden + "/adalora/" + GetParam(); }
  /// W + update of each module of layer 0 is what PEFT merged.
  void expectMerged(const Adapter &adapter) {
    const Safetensors base =
        take(Safetensors::open(golden + "/tiny/" + GetParam() + "/model.safetensors"));
    const Safetensors merged = take(Safetensors::open(folder + "/merged_layer0.safetensors"));
    EXPECT_EQ(merged.tensors().size(), 7u);
    for (const TensorInfo &tensor : merged.tensors()) {
      const AdapterModule *module = adapter.find(tensor.name.substr(0, tensor.name.size() - 7));
      ASSERT_TRUE(module) << tensor.name;
      const std::vector<double> delta = update(*module);
      const std::vector<float> w = take(base.floats(tensor.name)),
                               expected = take(merged.floats(tensor.name));
      ASSERT_EQ(delta.size(), expected.size());
      const double allowed = 1e-6 * largest(expected);
      EXPECT_GT(largest(delta), 1000 * allowed) << "the update is seen";
      double worst = 0;
      for (size_t i = 0; i < expected.size(); ++i)
        worst = std::max(worst, std::abs(w[i] + delta[i] - expected[i]));
      EXPECT_LE(worst, allowed) << tensor.name;
    }
  }
  std::string folder;
};

TEST_P(AdaLoraGolden, readsWhatPeftSaved) {
  const Adapter adapter = take(readAdapter(folder + "/adapter_final"));
  ASSERT_TRUE(adapter.adaLora);
  const AdaLora expected{.initR = 8,
                         .targetR = 3,
                         .tinit = 5,
                         .tfinal = 10,
                         .deltaT = 5,
                         .totalStep = 40,
                         .beta1 = 0.85,
                         .beta2 = 0.85,
                         .orthRegWeight = 0.5};
  EXPECT_EQ(*adapter.adaLora, expected);
  EXPECT_EQ(adapter.alpha, 16);
  EXPECT_EQ(adapter.baseModel, "tiny-llama");
  const Json config = jsonOf(folder + "/adapter_final/adapter_config.json");
  const Safetensors file =
      take(Safetensors::open(folder + "/adapter_final/adapter_model.safetensors"));
  size_t modules = 0, leftOut = 0;
  for (const auto &[key, alive] : config["rank_pattern"].items()) {
    SCOPED_TRACE(key);
    const std::string name = key.substr(0, key.size() - 7); // .lora_E
    const AdapterModule *module = adapter.find(name);
    const auto rank = std::count(alive.begin(), alive.end(), true);
    if (rank == 0) {
      EXPECT_FALSE(module);
      ++leftOut;
      continue;
    }
    ASSERT_TRUE(module);
    ++modules;
    EXPECT_EQ(module->rank, rank);
    EXPECT_EQ(module->scale, 16 / (8 + 1e-5));
    for (const auto &[part, values] :
         {std::pair("A", &module->a), {"B", &module->b}, {"E", &module->e}})
      EXPECT_EQ(*values, take(file.floats("base_model.model." + name + ".lora_" + part)));
  }
  EXPECT_EQ(adapter.modules.size(), modules);
  EXPECT_GT(leftOut, 0u);
}

TEST_P(AdaLoraGolden, theUpdateIsWhatPeftMerged) {
  expectMerged(take(readAdapter(folder + "/adapter_final")));
}

TEST_P(AdaLoraGolden, soItIsFoldedAndWrittenAsPlainLora) {
  const Adapter adapter = take(readAdapter(folder + "/adapter_final"));
  expectMerged(foldTriplets(adapter));
  TempFolder out;
  take(writePeftAdapter(out.path, adapter));
  const Adapter plain = take(readAdapter(out.path));
  EXPECT_FALSE(plain.adaLora);
  EXPECT_EQ(plain.modules.size(), adapter.modules.size());
  for (const AdapterModule &module : plain.modules) {
    EXPECT_TRUE(module.e.empty());
    EXPECT_DOUBLE_EQ(module.scale, 16 / (8 + 1e-5));
  }
  expectMerged(plain);
}

// Nothing cut yet: rank_pattern says which rows live.
TEST_P(AdaLoraGolden, theRowsOfFullStorageAreCut) {
  TempFolder full;
  std::filesystem::copy(folder + "/adapter_final/adapter_config.json",
                        full / "adapter_config.json");
  std::filesystem::copy(folder + "/final_full_rank_storage.safetensors",
                        full / "adapter_model.safetensors");
  expectSame(take(readAdapter(full.path)), take(readAdapter(folder + "/adapter_final")));
}

TEST_P(AdaLoraGolden, aFileAlone) {
  const Adapter adapter = take(readAdapter(folder + "/init.safetensors"));
  ASSERT_TRUE(adapter.adaLora);
  EXPECT_EQ(adapter.adaLora->initR, 8);
  ASSERT_EQ(adapter.modules.size(), 14u);
  const Safetensors file = take(Safetensors::open(folder + "/init.safetensors"));
  for (const AdapterModule &module : adapter.modules) {
    EXPECT_EQ(module.rank, 8);
    EXPECT_NEAR(module.scale, 1, 1e-5);
    EXPECT_EQ(module.e, take(file.floats("base_model.model." + module.module + ".lora_E")));
    EXPECT_NE(largest(module.e), 0);
  }
}

TEST_P(AdaLoraGolden, comesBackFromWritePeftAdaLora) {
  TempFolder out;
  const Adapter adapter = take(readAdapter(folder + "/adapter_final"));
  take(writePeftAdaLora(out.path, adapter));
  expectSame(take(readAdapter(out.path)), adapter);
  // Key for key what PEFT wrote, but for the modules of rank 0, which triplets lived, and the
  // modules' full paths.
  const Json theirs = jsonOf(folder + "/adapter_final/adapter_config.json");
  const Json ours = jsonOf(out / "adapter_config.json");
  for (const auto &[key, value] : ours.items()) {
    ASSERT_TRUE(theirs.contains(key)) << key;
    if (key != "rank_pattern" && key != "target_modules") {
      EXPECT_EQ(value, theirs[key]) << key;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, AdaLoraGolden, testing::Values("tied", "untied"),
                         [](const auto &info) { return std::string(info.param); });

// --- Without the goldens

/// Ranks 3, 2, 3 and 0 of 4.
Adapter triplets() {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  Adapter adapter;
  adapter.adaLora = AdaLora{.initR = 4, .targetR = 2, .tfinal = 3, .totalStep = 20};
  adapter.r = 4;
  adapter.alpha = 32;
  adapter.baseModel = "tiny";
  for (const auto &[name, rank] : {std::pair<std::string, int64_t>{"model.layers.0.q_proj", 3},
                                   {"model.layers.0.v_proj", 2},
                                   {"model.layers.1.q_proj", 3},
                                   {"model.layers.1.v_proj", 0}}) {
    AdapterModule module{name, rank, 6, 8, 0, 32 / (4 + 1e-5), {}, {}, {}};
    const auto fill = [&](std::vector<float> &values, int64_t count) {
      for (int64_t i = 0; i < count; ++i)
        values.push_back(normal(random));
    };
    fill(module.a, rank * 6);
    fill(module.b, 8 * rank);
    fill(module.e, rank);
    adapter.modules.push_back(std::move(module));
  }
  return adapter;
}

/// As every reader has it: without the modules of rank 0.
Adapter withoutEmpty(Adapter adapter) {
  std::erase_if(adapter.modules, [](const AdapterModule &module) { return module.rank == 0; });
  return adapter;
}

void expectSameUpdates(const Adapter &read, const Adapter &expected, double allowed = 1e-6) {
  ASSERT_EQ(read.modules.size(), expected.modules.size());
  for (const AdapterModule &module : expected.modules) {
    ASSERT_TRUE(read.find(module.module)) << module.module;
    const std::vector<double> ours = update(*read.find(module.module)), theirs = update(module);
    for (size_t i = 0; i < theirs.size(); ++i)
      ASSERT_NEAR(ours[i], theirs[i], allowed * largest(theirs)) << module.module;
  }
}

TEST(AdaLora, comesBack) {
  TempFolder out;
  take(writePeftAdaLora(out.path, triplets()));
  expectSame(take(readAdapter(out.path)), withoutEmpty(triplets()));
  const Json config = jsonOf(out / "adapter_config.json");
  EXPECT_EQ(config["peft_type"], "ADALORA");
  EXPECT_EQ(config["rank_pattern"], Json::parse(R"({
      "model.layers.0.q_proj.lora_E": [true, true, true, false],
      "model.layers.0.v_proj.lora_E": [true, true, false, false],
      "model.layers.1.q_proj.lora_E": [true, true, true, false]})"));
  EXPECT_EQ(config["target_modules"],
            Json({"model.layers.0.q_proj", "model.layers.0.v_proj", "model.layers.1.q_proj"}));
}

TEST(AdaLora, foldsIntoPlainLora) {
  Adapter given = triplets();
  given.targetModules = {"q_proj", "v_proj"};
  const Adapter folded = foldTriplets(given);
  EXPECT_FALSE(folded.adaLora);
  EXPECT_EQ(folded.r, 3) << "of most modules";
  expectSameUpdates(folded, withoutEmpty(triplets()));
  TempFolder out;
  take(writePeftAdapter(out.path, given));
  const Adapter plain = take(readAdapter(out.path));
  expectSameUpdates(plain, withoutEmpty(triplets()));
  const Json config = jsonOf(out / "adapter_config.json");
  EXPECT_EQ(config["peft_type"], "LORA");
  EXPECT_EQ(config["target_modules"],
            Json({"model.layers.0.q_proj", "model.layers.0.v_proj", "model.layers.1.q_proj"}))
      << "'v_proj' would have PEFT adapt layer 1's anew";
  EXPECT_EQ(config["rank_pattern"], Json({{"model.layers.0.v_proj", 2}}));
  // PEFT divides by the rank: each module's scale comes back.
  const double scale = 32 / (4 + 1e-5);
  EXPECT_DOUBLE_EQ(config["lora_alpha"].get<double>() / 3, scale);
  ASSERT_EQ(config["alpha_pattern"].size(), 1u);
  EXPECT_DOUBLE_EQ(config["alpha_pattern"]["model.layers.0.v_proj"].get<double>() / 2, scale);
}

TEST(AdaLora, plainLoraIsFoldedIntoItself) {
  const Adapter plain = foldTriplets(triplets()), again = foldTriplets(plain);
  expectSame(again, plain);
  EXPECT_EQ(again.targetModules, plain.targetModules);
}

// Plain LoRA as AdaLoRA: E is 1 and nothing else moves, where all scales are one.
TEST(AdaLora, plainLoraAsTriplets) {
  const Adapter plain = foldTriplets(triplets()), made = asTriplets(plain);
  ASSERT_TRUE(made.adaLora);
  EXPECT_EQ(made.adaLora->initR, 3) << "the largest rank";
  TempFolder out;
  take(writePeftAdaLora(out.path, made));
  const Adapter read = take(readAdapter(out.path));
  for (const AdapterModule &module : plain.modules) {
    EXPECT_EQ(read.find(module.module)->a, module.a);
    EXPECT_EQ(read.find(module.module)->b, module.b);
    EXPECT_EQ(read.find(module.module)->e, std::vector<float>(size_t(module.rank), 1.0f));
  }
  expectSameUpdates(read, plain);
  expectSame(asTriplets(made), made);
}

TEST(AdaLora, otherScalesOfPlainLoraGoIntoE) {
  Adapter plain = foldTriplets(triplets());
  plain.useRslora = true;
  plain.modules[0].scale = -0.5;
  plain.modules[1].scale = 0;
  TempFolder out;
  take(writePeftAdaLora(out.path, asTriplets(plain)));
  expectSameUpdates(take(readAdapter(out.path)), plain);
}

TEST(AdaLora, foldsIntoGguf) {
  TempFolder out;
  const std::vector<GgufModule> names = {{"model.layers.0.q_proj", "blk.0.attn_q.weight", 2},
                                         {"model.layers.0.v_proj", "blk.0.attn_v.weight", 0},
                                         {"model.layers.1.q_proj", "blk.1.attn_q.weight", 2}};
  take(writeGgufAdapter(out / "a.gguf", triplets(), "llama", names));
  expectSameUpdates(take(readGgufAdapter(out / "a.gguf", names)), withoutEmpty(triplets()), 2e-6);
}

// A rule's own rank or a scale of its own: PEFT has one init_r and one alpha.
TEST(AdaLora, otherScalesGoIntoE) {
  Adapter adapter = withoutEmpty(triplets());
  adapter.modules[0].scale = 3;
  adapter.adaLora->initR = 2;
  TempFolder out;
  take(writePeftAdaLora(out.path, adapter));
  const Adapter read = take(readAdapter(out.path));
  EXPECT_EQ(read.adaLora->initR, 3) << "no smaller than a rank";
  expectSameUpdates(read, adapter);
  adapter.alpha = -2;
  take(writePeftAdaLora(out.path, adapter));
  expectSameUpdates(take(readAdapter(out.path)), adapter);
}

TEST(AdaLora, totalStepIsOneThatPeftTakes) {
  Adapter adapter = triplets();
  adapter.adaLora->tinit = 5;
  TempFolder out;
  for (const auto &[given, written] : {std::pair(0, 9), {8, 9}, {9, 9}, {100, 100}}) {
    adapter.adaLora->totalStep = given;
    take(writePeftAdaLora(out.path, adapter));
    EXPECT_EQ(jsonOf(out / "adapter_config.json")["total_step"], written);
  }
}

TEST(AdaLora, nothingLeftIsNoAdapter) {
  Adapter adapter = triplets();
  adapter.modules = {adapter.modules.back()};
  TempFolder out;
  EXPECT_FALSE(writePeftAdaLora(out.path, adapter));
  EXPECT_FALSE(writePeftAdapter(out.path, adapter));
  EXPECT_TRUE(std::filesystem::is_empty(out.path));
}

TEST(AdaLora, initRIsBounded) {
  Adapter adapter = triplets();
  adapter.adaLora->initR = AdaLora::largestInitR + 1;
  TempFolder out;
  EXPECT_FALSE(writePeftAdaLora(out.path, adapter));
  EXPECT_TRUE(writePeftAdapter(out.path, adapter));
}

/// Writes a module "q" of two triplets, in these names and with this config.
class AdaLoraNames : public testing::Test {
protected:
  Adapter read(const std::string &before, const std::string &after, const std::string &keys,
               float ranknum = 0) {
    std::vector<TensorToWrite> tensors = {
        {before + "q.lora_A" + after, DType::F32, {2, 3}, a.data()},
        {before + "q.lora_B" + after, DType::F32, {4, 2}, b.data()},
        {before + "q.lora_E" + after, DType::F32, {2, 1}, e.data()}};
    if (ranknum != 0)
      tensors.push_back({before + "q.ranknum" + after, DType::F32, {1}, &ranknum});
    take(writeSafetensors(out / "adapter_model.safetensors", tensors));
    std::ofstream(out / "adapter_config.json")
        << R"({"lora_alpha": 6, "peft_type": "ADALORA", "use_rslora": true, )" << keys << "}";
    Adapter adapter = take(readAdapter(out.path));
    EXPECT_EQ(adapter.modules.size(), 1u);
    EXPECT_EQ(adapter.modules.at(0).module, "q");
    EXPECT_FALSE(adapter.useRslora) << "PEFT's AdaLoRA does not look at it";
    return adapter;
  }
  std::vector<float> a = {1, 2, 3, 4, 5, 6}, b = {1, 2, 3, 4, 5, 6, 7, 8}, e = {0, 2};
  TempFolder out;
};

TEST_F(AdaLoraNames, asPeftAndStateDictsHaveThem) {
  for (const std::string before : {"base_model.model.", ""})
    for (const std::string after : {"", ".weight", ".default", ".default.weight", ".my-adapter"}) {
      SCOPED_TRACE(before + after);
      const Adapter adapter = read(before, after, R"("init_r": 2)");
      EXPECT_EQ(adapter.modules[0].a, a);
      EXPECT_EQ(adapter.modules[0].b, b);
      EXPECT_EQ(adapter.modules[0].e, e);
      EXPECT_EQ(adapter.modules[0].scale, 6 / (2 + 1e-5));
    }
}

TEST_F(AdaLoraNames, ranknumIsTheRankAtTheStart) {
  for (const std::string after : {"", ".default"})
    EXPECT_EQ(read("base_model.model.", after, R"("init_r": 2)", 5).modules[0].scale,
              6 / (5 + 1e-5));
}

TEST_F(AdaLoraNames, listsAndCounts) {
  const std::string name = "base_model.model.";
  for (const char *pattern : {"null", "{}", R"({"q.lora_E": 2})", R"({"q.lora_E": [true, true]})"})
    EXPECT_EQ(
        read(name, "", R"("init_r": 2, "rank_pattern": )" + std::string(pattern)).modules[0].a, a);
  for (const char *pattern : {R"({"q.lora_E": 2})", R"({"q.lora_E": [true, false, true]})",
                              R"({"base_model.model.q.lora_E.default": [false, true, true]})"})
    EXPECT_EQ(
        read(name, "", R"("init_r": 3, "rank_pattern": )" + std::string(pattern)).modules[0].rank,
        2);
  // Not cut: the list says which; a count means those whose E is not 0.
  for (const char *pattern : {R"({"q.lora_E": 1})", R"({"q.lora_E": [false, true]})"}) {
    const Adapter cut = read(name, "", R"("init_r": 2, "rank_pattern": )" + std::string(pattern));
    EXPECT_EQ(cut.modules[0].rank, 1);
    EXPECT_EQ(cut.modules[0].a, (std::vector<float>{4, 5, 6}));
    EXPECT_EQ(cut.modules[0].b, (std::vector<float>{2, 4, 6, 8}));
    EXPECT_EQ(cut.modules[0].e, (std::vector<float>{2}));
    EXPECT_EQ(cut.modules[0].scale, 6 / (2 + 1e-5)) << "the rank of the start";
  }
}

} // namespace
} // namespace lorac::formats
