// Adapters as PEFT and llama.cpp have them.
#include "runtime/formats/Adapter.h"
#include "runtime/formats/Gguf.h"
#include "tests/unit/formats/Support.h"

#include <cmath>
#include <fstream>
#include <random>

namespace lorac::formats {
namespace {

std::string contents(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Adapter, readsWhatPeftSaved) {
  for (const auto &[kind, scale] : {std::pair<std::string, double>{"lora", 2.0},
                                    {"rslora", 4.0},
                                    {"loraplus", 2.0},
                                    {"dora", 2.0}}) {
    SCOPED_TRACE(kind);
    const std::string folder = golden + "/tiny/untied/" + kind + "_init";
    const Adapter adapter = take(readAdapter(folder));
    EXPECT_EQ(adapter.modules.size(), 14u);
    EXPECT_EQ(adapter.r, 4);
    EXPECT_EQ(adapter.useRslora, kind == "rslora");
    EXPECT_EQ(adapter.useDora, kind == "dora");
    EXPECT_EQ(adapter.baseModel, "tiny-llama");
    const AdapterModule *module = adapter.find("model.layers.1.mlp.down_proj");
    ASSERT_TRUE(module);
    EXPECT_EQ(module->rank, 4);
    EXPECT_EQ(module->in, 176);
    EXPECT_EQ(module->out, 64);
    EXPECT_DOUBLE_EQ(module->scale, scale); // lora 8/4, rslora 8/sqrt(4)
    const Safetensors file = take(Safetensors::open(folder + "/adapter_model.safetensors"));
    EXPECT_EQ(module->b,
              take(file.floats("base_model.model.model.layers.1.mlp.down_proj.lora_B.weight")));
    if (kind == "dora")
      EXPECT_EQ(
          module->magnitude,
          take(file.floats("base_model.model.model.layers.1.mlp.down_proj.lora_magnitude_vector")));
    else
      EXPECT_TRUE(module->magnitude.empty());
  }
}

TEST(Adapter, writesPeftsTensorsByteForByte) {
  TempFolder folder;
  for (const std::string kind : {"lora", "rslora", "dora"}) {
    const std::string source = golden + "/tiny/tied/" + kind + "_init";
    take(writePeftAdapter(folder.path, take(readAdapter(source))));
    EXPECT_EQ(contents(folder / "adapter_model.safetensors"),
              contents(source + "/adapter_model.safetensors"));
    const Adapter again = take(readAdapter(folder.path));
    EXPECT_DOUBLE_EQ(again.modules[0].scale, kind == "rslora" ? 4.0 : 2.0);
    EXPECT_EQ(again.useDora, kind == "dora");
    const std::string config = contents(folder / "adapter_config.json");
    EXPECT_EQ(config.find("null"), std::string::npos) << "older readers refuse keys that are null";
    EXPECT_EQ(config.find("use_rslora") != std::string::npos, kind == "rslora");
    EXPECT_EQ(config.find("\"use_dora\": true") != std::string::npos, kind == "dora");
  }
}

// Names of a state_dict, which PEFT's own files have without `.default` and, of a magnitude,
// without `.weight`; a file alone is DoRA's by its tensors.
TEST(Adapter, knowsMagnitudesByEveryName) {
  const std::vector<float> values(12, 0.5f), magnitude = {1, 2, 3, 4};
  const std::string q = "base_model.model.q.lora_";
  for (const std::string ending : {"", ".weight", ".default", ".default.weight"}) {
    TempFolder folder;
    const std::vector<TensorToWrite> tensors = {
        {q + "A.default.weight", DType::F32, {2, 3}, values.data()},
        {q + "B.weight", DType::F32, {4, 2}, values.data()},
        {q + "magnitude_vector" + ending, DType::F32, {4}, magnitude.data()}};
    take(writeSafetensors(folder / "adapter_model.safetensors", tensors));
    const Adapter alone = take(readAdapter(folder / "adapter_model.safetensors"));
    EXPECT_TRUE(alone.isAlone);
    EXPECT_TRUE(alone.useDora);
    ASSERT_EQ(alone.modules.size(), 1u) << ending;
    EXPECT_EQ(alone.modules[0].magnitude, magnitude) << ending;
  }
}

TEST(Adapter, namesThePlaceOfWhatIsNotFinite) {
  const std::string q = "base_model.model.q.lora_";
  const std::vector<float> good(12, 0.5f), bad = {1, 2, NAN, 4, 5, 6, 7, 8};
  TempFolder folder;
  const std::string path = folder / "adapter_model.safetensors";
  auto says = [&](const std::vector<float> &b, const std::vector<float> &magnitude) {
    const std::vector<TensorToWrite> tensors = {
        {q + "A.weight", DType::F32, {2, 3}, good.data()},
        {q + "B.weight", DType::F32, {4, 2}, b.data()},
        {q + "magnitude_vector", DType::F32, {4}, magnitude.data()}};
    take(writeSafetensors(path, tensors));
    return readAdapter(path).error();
  };
  EXPECT_EQ(says(bad, good).message, "'" + path + "': tensor '" + q +
                                         "B.weight' is nan at [1, 0]; train or save the adapter "
                                         "again");
  EXPECT_EQ(says(good, bad).message, "'" + path + "': tensor '" + q +
                                         "magnitude_vector' is nan at [2]; train or save the "
                                         "adapter again");
  EXPECT_EQ(says(good, bad).code, Exit::ForeignFile);
}

TEST(Adapter, magnitudesGoWithTheSpecThatHasThem) {
  const std::string folder = golden + "/tiny/tied/";
  const Adapter dora = take(readAdapter(folder + "dora_init")),
                lora = take(readAdapter(folder + "lora_init"));
  EXPECT_TRUE(checkMagnitudes(dora, true, false, "d"));
  EXPECT_TRUE(checkMagnitudes(lora, false, false, "l"));
  EXPECT_TRUE(checkMagnitudes(lora, false, true, "l"));
  EXPECT_EQ(checkMagnitudes(dora, false, true, "d").error().message,
            "the adapter 'd' is DoRA's: it has "
            "'model.layers.0.mlp.down_proj.lora_magnitude_vector'; set method = \"lora\", which "
            "has them, and use_dora = true in [adapter]");
  EXPECT_EQ(checkMagnitudes(dora, false, false, "d").error().message,
            "the adapter 'd' is DoRA's: it has "
            "'model.layers.0.mlp.down_proj.lora_magnitude_vector'; set use_dora = true in "
            "[adapter]");
  EXPECT_EQ(checkMagnitudes(lora, true, false, "l").error().message,
            "the adapter 'l' is none of DoRA: it has no "
            "'model.layers.0.mlp.down_proj.lora_magnitude_vector'; set use_dora = false in "
            "[adapter]");
  EXPECT_EQ(checkMagnitudes(lora, true, false, "l").error().code, Exit::ForeignFile);
}

// Gates come back as they were; nothing but a program of gated LoRA takes them.
TEST(Adapter, keepsGates) {
  TempFolder folder;
  Adapter gated = take(readAdapter(golden + "/tiny/tied/lora_init"));
  gated.useGate = true;
  for (AdapterModule &module : gated.modules)
    for (int64_t i = 0; i < module.out; ++i)
      module.gate.push_back(float(i) - 0.5f);
  take(writePeftAdapter(folder.path, gated));
  EXPECT_NE(contents(folder / "adapter_config.json").find("\"peft_type\": \"GATED_LORA\""),
            std::string::npos);
  for (const Adapter &again : {take(readAdapter(folder.path)), [&] {
                                 std::filesystem::create_directory(folder / "alone");
                                 std::filesystem::copy(folder / "adapter_model.safetensors",
                                                       folder / "alone/a.safetensors");
                                 return take(readAdapter(folder / "alone/a.safetensors"));
                               }()}) {
    EXPECT_TRUE(again.useGate);
    ASSERT_EQ(again.modules.size(), gated.modules.size());
    for (size_t i = 0; i < again.modules.size(); ++i) {
      EXPECT_EQ(again.modules[i].gate, gated.modules[i].gate);
      EXPECT_EQ(again.modules[i].b, gated.modules[i].b);
    }
  }
  EXPECT_TRUE(checkGates(gated, true, "g"));
  EXPECT_EQ(
      checkGates(gated, false, "g").error().message,
      "the adapter 'g' is of gated LoRA: it has 'model.layers.0.mlp.down_proj.lora_gate'; set "
      "use_gate = true in [adapter]");
  gated.useGate = false;
  EXPECT_EQ(checkGates(gated, true, "l").error().message,
            "the adapter 'l' is not of gated LoRA: it has no "
            "'model.layers.0.mlp.down_proj.lora_gate'; set use_gate = false in [adapter]");
}

/// Modules of other ranks and scales.
Adapter mixed() {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  Adapter adapter;
  adapter.r = 4;
  adapter.alpha = 8;
  const auto add = [&](const std::string &name, int64_t rank, int64_t in, int64_t out,
                       double scale) {
    AdapterModule module{name, rank, in, out, 0, scale, {}, {}};
    for (int64_t i = 0; i < rank * in; ++i)
      module.a.push_back(normal(random));
    for (int64_t i = 0; i < out * rank; ++i)
      module.b.push_back(normal(random));
    adapter.modules.push_back(std::move(module));
  };
  add("model.layers.0.self_attn.q_proj", 4, 6, 8, 2);
  add("model.layers.0.self_attn.v_proj", 4, 6, 8, 2);
  add("model.layers.1.self_attn.q_proj", 2, 6, 8, 3.5);
  add("model.layers.11.self_attn.q_proj", 4, 6, 8, 0.3);
  return adapter;
}

TEST(Adapter, patternsSayWhatDiffers) {
  TempFolder folder;
  for (const bool rslora : {false, true}) {
    Adapter adapter = mixed();
    adapter.useRslora = rslora;
    adapter.targetModules = {"q_proj", "v_proj"};
    take(writePeftAdapter(folder.path, adapter));
    const Adapter again = take(readAdapter(folder.path));
    ASSERT_EQ(again.modules.size(), 4u);
    for (const AdapterModule &module : adapter.modules) {
      const AdapterModule *read = again.find(module.module);
      ASSERT_TRUE(read) << module.module;
      EXPECT_NEAR(read->scale, module.scale, 1e-12) << module.module;
      EXPECT_EQ(read->rank, module.rank);
      EXPECT_EQ(read->a, module.a);
      EXPECT_EQ(read->b, module.b);
    }
    const std::string config = contents(folder / "adapter_config.json");
    EXPECT_NE(config.find("\"rank_pattern\""), std::string::npos);
    EXPECT_EQ(config.find("layers.0.self_attn.q_proj\": 8"), std::string::npos)
        << "what is the default is not repeated";
  }
}

const std::vector<GgufModule> names = {
    {"model.layers.0.self_attn.q_proj", "blk.0.attn_q.weight", 2},
    {"model.layers.0.self_attn.v_proj", "blk.0.attn_v.weight", 0},
    {"model.layers.1.self_attn.q_proj", "blk.1.attn_q.weight", 2},
    {"model.layers.11.self_attn.q_proj", "blk.11.attn_q.weight", 2}};

// What llama.cpp computes: alpha / rank * B A, rows of q in GGUF's order.
TEST(GgufAdapter, aNaiveReaderGetsTheSameUpdate) {
  TempFolder folder;
  const Adapter adapter = mixed();
  take(writeGgufAdapter(folder / "a.gguf", adapter, "llama", names));
  const Gguf file = take(Gguf::open(folder / "a.gguf"));
  EXPECT_EQ(take(file.text("general.type")), "adapter");
  EXPECT_EQ(take(file.text("general.architecture")), "llama");
  EXPECT_EQ(take(file.text("adapter.type")), "lora");
  const double alpha = take(file.number("adapter.lora.alpha"));
  EXPECT_EQ(alpha, 8) << "the value of most modules";
  for (size_t m = 0; m < names.size(); ++m) {
    const AdapterModule &module = adapter.modules[m];
    const std::vector<float> a = take(file.tensorFloats(names[m].gguf + ".lora_a"));
    const std::vector<float> b = take(file.tensorFloats(names[m].gguf + ".lora_b"));
    EXPECT_EQ(file.tensor(names[m].gguf + ".lora_b")->shape,
              (std::vector<int64_t>{module.out, module.rank}));
    EXPECT_EQ(a, module.a);
    // 2 heads of 4 rows: GGUF has (j, half) where Hugging Face has (half, j).
    const int64_t order[] = {0, 2, 1, 3, 4, 6, 5, 7};
    for (int64_t row = 0; row < module.out; ++row)
      for (int64_t i = 0; i < module.rank; ++i) {
        const int64_t hfRow = names[m].permuteHeads ? order[row] : row;
        const double expected = module.scale * module.b[size_t(hfRow * module.rank + i)];
        EXPECT_NEAR(alpha / double(module.rank) * b[size_t(row * module.rank + i)], expected,
                    1e-6 * std::abs(expected))
            << names[m].gguf << " " << row;
      }
  }
  // Unfolded modules keep their bits.
  const Adapter again = take(readGgufAdapter(folder / "a.gguf", names));
  EXPECT_EQ(again.modules[0].b, adapter.modules[0].b);
  EXPECT_EQ(again.modules[1].b, adapter.modules[1].b);
  EXPECT_FALSE(readGgufAdapter(folder / "a.gguf",
                               std::vector<GgufModule>(names.begin(), names.begin() + 2)));
  EXPECT_FALSE(writeGgufAdapter(folder / "b.gguf", adapter, "llama",
                                std::vector<GgufModule>(names.begin(), names.begin() + 2)));
  EXPECT_FALSE(std::filesystem::exists(folder / "b.gguf"));
}

TEST(GgufAdapter, hasNoPlaceForGates) {
  TempFolder folder;
  Adapter gated;
  gated.useGate = true;
  Result<void> written = writeGgufAdapter(folder / "a.gguf", gated, "llama", {});
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Exit::Refused);
  EXPECT_NE(written.error().message.find("llama.cpp has no place for its lora_gate"),
            std::string::npos);
}

TEST(GgufAdapter, hasNoPlaceForMagnitudes) {
  TempFolder folder;
  const Adapter dora = take(readAdapter(golden + "/tiny/tied/dora_init"));
  Result<void> written = writeGgufAdapter(folder / "a.gguf", dora, "llama", {});
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Exit::Refused);
  EXPECT_NE(written.error().message.find("llama.cpp has no place for its lora_magnitude_vector"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder / "a.gguf"));
}

// The same adapter through PEFT and through llama.cpp's converter.
TEST(GgufAdapter, agreesWithLlamaCppsConverter) {
  const std::string folder = outside + "/data/stories260k/adapter-shakespeare";
  if (!std::filesystem::exists(folder))
    GTEST_SKIP() << folder << " is absent";
  const Adapter adapter = take(readAdapter(folder));
  std::vector<GgufModule> modules;
  const std::tuple<const char *, const char *, int64_t> kinds[] = {
      {"self_attn.q_proj", "attn_q", 8}, {"self_attn.k_proj", "attn_k", 4},
      {"self_attn.v_proj", "attn_v", 0}, {"self_attn.o_proj", "attn_output", 0},
      {"mlp.gate_proj", "ffn_gate", 0},  {"mlp.up_proj", "ffn_up", 0},
      {"mlp.down_proj", "ffn_down", 0}};
  for (int layer = 0; layer < 5; ++layer)
    for (const auto &[hf, gguf, heads] : kinds) {
      const std::string i = std::to_string(layer);
      modules.push_back(
          {"model.layers." + i + "." + hf, "blk." + i + "." + gguf + ".weight", heads});
    }
  TempFolder out;
  take(writeGgufAdapter(out / "a.gguf", adapter, "llama", modules));
  const Gguf ours = take(Gguf::open(out / "a.gguf")),
             theirs = take(Gguf::open(folder + "/adapter-shakespeare-f32.gguf"));
  EXPECT_EQ(take(ours.number("adapter.lora.alpha")), take(theirs.number("adapter.lora.alpha")));
  ASSERT_EQ(ours.tensors().size(), theirs.tensors().size());
  for (const GgufTensor &tensor : theirs.tensors()) {
    ASSERT_TRUE(ours.tensor(tensor.name)) << tensor.name;
    EXPECT_EQ(ours.tensor(tensor.name)->shape, tensor.shape) << tensor.name;
    EXPECT_EQ(take(ours.tensorFloats(tensor.name)), take(theirs.tensorFloats(tensor.name)))
        << tensor.name;
  }
  const Adapter read = take(readGgufAdapter(folder + "/adapter-shakespeare-f32.gguf", modules));
  for (const AdapterModule &module : adapter.modules) {
    EXPECT_EQ(read.find(module.module)->b, module.b);
    EXPECT_EQ(read.find(module.module)->scale, module.scale);
  }
}

} // namespace
} // namespace lorac::formats
