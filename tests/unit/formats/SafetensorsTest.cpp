// The reader and the writer on files that others wrote and on our own. Hostile ones: tests/hostile.
#include "runtime/formats/Safetensors.h"
#include "runtime/formats/DurableFile.h"
#include "runtime/formats/HfConfig.h"
#include "runtime/formats/SafetensorsWriter.h"
#include "tests/unit/formats/Support.h"

#include <sys/stat.h>

namespace lorac::formats {
namespace {

TEST(Safetensors, readsPeftsFile) {
  const Safetensors file =
      take(Safetensors::open(golden + "/tiny/tied/lora_init/adapter_model.safetensors"));
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.tensors().size(), 28u);
  const TensorInfo *a = file.find("base_model.model.model.layers.0.mlp.down_proj.lora_A.weight");
  ASSERT_TRUE(a);
  EXPECT_EQ(a->shape, (std::vector<int64_t>{4, 176}));
  EXPECT_EQ(toString(a->dtype), "F32");
  EXPECT_FALSE(file.floats("absent"));
  EXPECT_FALSE(file.integers(a->name));
}

TEST(Safetensors, readsIntegers) {
  const Safetensors file = take(Safetensors::open(golden + "/tiny/train_data.safetensors"));
  const std::vector<int64_t> labels = take(file.integers("labels"));
  EXPECT_EQ(labels.size(), 20u * 2 * 24);
  EXPECT_NE(std::find(labels.begin(), labels.end(), -100), labels.end());
}

TEST(Safetensors, writesWhatItReads) {
  TempFolder folder;
  const std::vector<float> f = {1.5f, -2, 3, 4, 5, 6};
  const std::vector<uint8_t> u = {1, 2, 3};
  const std::vector<uint16_t> halves = {0x3c00, 0xc000};
  const std::vector<int64_t> l = {-1, INT64_MAX};
  take(
      writeSafetensors(folder / "a.safetensors",
                       std::vector<TensorToWrite>{{"u", DType::U8, {3}, u.data()},
                                                  {"f", DType::F32, {2, 3}, f.data()},
                                                  {"h", DType::F16, {2}, halves.data()},
                                                  {"l", DType::I64, {2, 1}, l.data()},
                                                  {"none", DType::F32, {0, 4}, nullptr},
                                                  {"one \"quoted\" Ünï", DType::F32, {}, f.data()}},
                       {{"key", "value"}}));
  const Safetensors file = take(Safetensors::open(folder / "a.safetensors"));
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"key", "value"}}));
  EXPECT_EQ(take(file.floats("f")), f);
  EXPECT_EQ(take(file.floats("h")), (std::vector<float>{1, -2}));
  EXPECT_EQ(take(file.integers("u")), (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(take(file.integers("l")), l);
  EXPECT_TRUE(take(file.floats("none")).empty());
  EXPECT_EQ(take(file.floats("one \"quoted\" Ünï")), std::vector<float>{1.5f});
  for (const TensorInfo &tensor : file.tensors())
    EXPECT_EQ(tensor.offset % uint64_t(dtypeSize(tensor.dtype)), 0u) << tensor.name;
}

TEST(Safetensors, shardsAreOneModel) {
  const auto tensor = [](const std::string &name, float value) {
    return StreamedTensor{name, DType::F32, {2}, [value](DurableFile &file) {
                            const float values[] = {value, -value};
                            return file.write(values, sizeof values);
                          }};
  };
  for (const uint64_t shardBytes : {16, 1000}) {
    TempFolder folder;
    ShardWriter writer(folder.path, shardBytes);
    take(writer.add({tensor("a", 1), tensor("b", 2), tensor("c", 3)})); // larger than a shard
    take(writer.add({tensor("d", 4)}));
    take(writer.add({tensor("e", 5)}));
    std::map<std::string, std::string> hashes;
    take(writer.finish(hashes));
    EXPECT_EQ(hashes.size(), shardBytes == 16 ? 3u : 1u); // the index too
    for (const auto &[name, hash] : hashes)
      EXPECT_EQ(take(hashFile(folder / name)), hash) << name;
    const std::vector<Safetensors> shards = take(openSafetensorsFolder(folder.path));
    ASSERT_EQ(shards.size(), shardBytes == 16 ? 2u : 1u);
    EXPECT_EQ(take(shards.front().floats("b")), (std::vector<float>{2, -2}));
    EXPECT_EQ(take(shards.back().floats("e")), (std::vector<float>{5, -5}));
  }
}

/// Two shards and their index.
struct Sharded {
  TempFolder folder;
  Sharded() {
    const float one = 1, two = 2;
    take(writeSafetensors(folder / "m-1.safetensors",
                          std::vector<TensorToWrite>{{"a", DType::F32, {1}, &one}}));
    take(writeSafetensors(folder / "m-2.safetensors",
                          std::vector<TensorToWrite>{{"b", DType::F32, {1}, &two}}));
  }
  Result<std::vector<Safetensors>> open(const std::string &index) {
    take(writeDurably(folder / "model.safetensors.index.json", index));
    return openSafetensorsFolder(folder.path);
  }
};

TEST(Safetensors, opensShards) {
  Sharded model;
  const std::vector<Safetensors> shards = take(model.open(
      R"({"metadata": {"total_size": 8}, "weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}})"));
  ASSERT_EQ(shards.size(), 2u);
  EXPECT_EQ(take(shards[1].floats("b")), std::vector<float>{2});
}

TEST(Safetensors, refusesShardsOutsideTheFolder) {
  Sharded model;
  ASSERT_EQ(symlink("m-1.safetensors", (model.folder / "link.safetensors").c_str()), 0);
  ASSERT_EQ(mkfifo((model.folder / "pipe.safetensors").c_str(), 0600), 0);
  for (const auto &[name, words] : std::vector<std::pair<std::string, std::string>>{
           {"../m-1.safetensors", "names the file '../m-1.safetensors', which is not a plain name"},
           {"/etc/passwd", "names the file '/etc/passwd', which is not a plain name"},
           {"x/../m-1.safetensors", "is not a plain name"},
           {"", "names the file '', which is not a plain name"},
           {".", "is not a plain name"},
           {"..", "is not a plain name"},
           {"m-1.safetensors\\u0000", "names the file 'm-1.safetensors\\x00'"},
           {"a/\\n\\u001b[31m", "names the file 'a/\\x0a\\x1b[31m'"},
           {"link.safetensors", "link.safetensors' is a link"},
           {"pipe.safetensors", "pipe.safetensors' is a pipe, not a regular file"}}) {
    Result<std::vector<Safetensors>> opened =
        model.open(R"({"weight_map": {"a": ")" + name + R"("}})");
    ASSERT_FALSE(opened) << name;
    EXPECT_EQ(opened.error().code, Exit::ForeignFile) << opened.error().message;
    EXPECT_NE(opened.error().message.find(words), std::string::npos) << opened.error().message;
    EXPECT_NE(opened.error().message.find(model.folder.path), std::string::npos)
        << opened.error().message;
  }
  Result<std::vector<Safetensors>> missing =
      model.open(R"({"weight_map": {"a": ")" + std::string(1 << 20, 'x') + R"("}})");
  ASSERT_FALSE(missing);
  EXPECT_LT(missing.error().message.size(), 500u);
}

TEST(Safetensors, refusesAnIndexThatDoesNotFit) {
  Sharded model;
  for (const auto &[index, words] : std::vector<std::pair<std::string, std::string>>{
           {R"({"weight_map": {"a": "m-1.safetensors"}, "weight_map": {}})",
            "the key 'weight_map' stands twice"},
           {R"({"weight_map": {"x": "m-1.safetensors"}})",
            "says that 'm-1.safetensors' holds tensor 'x', which it does not"},
           {R"({"weight_map": {"a": "m-1.safetensors", "b": "m-1.safetensors"}})",
            "says that 'm-1.safetensors' holds tensor 'b', which it does not"},
           {R"({"weight_map": {"a": 1}})", "'weight_map' gives 'a' no file name"},
           {R"({"weight_map": []})", "'weight_map' is no JSON object"},
           {R"([])", "no JSON object"},
           {R"({)", "not JSON at byte"},
           {R"({})", "has no 'weight_map'"}}) {
    Result<std::vector<Safetensors>> opened = model.open(index);
    ASSERT_FALSE(opened) << index;
    EXPECT_EQ(opened.error().code, Exit::ForeignFile) << opened.error().message;
    EXPECT_NE(opened.error().message.find(words), std::string::npos) << opened.error().message;
    EXPECT_NE(opened.error().message.find("model.safetensors.index.json"), std::string::npos)
        << opened.error().message;
  }
}

TEST(HfConfig, looksUpDottedKeys) {
  const HfConfig config = take(HfConfig::open(golden + "/tiny/tied/config.json"));
  EXPECT_EQ(std::get<int64_t>(*config.lookup("hidden_size")), 64);
  EXPECT_EQ(std::get<double>(*config.lookup("rope_parameters.rope_theta")), 10000.0);
  EXPECT_EQ(std::get<bool>(*config.lookup("tie_word_embeddings")), true);
  EXPECT_EQ(std::get<std::string>(*config.lookup("model_type")), "llama");
  EXPECT_EQ(std::get<std::string>(*config.lookup("architectures")), "an array of 1");
  EXPECT_EQ(std::get<std::string>(*config.lookup("rope_parameters")), "an object");
  EXPECT_FALSE(config.lookup("absent"));
}

TEST(HfConfig, reportsKeysThatNameCode) {
  const HfConfig config = take(HfConfig::parse(
      "config.json",
      R"({"auto_map": {"AutoModel": "evil.py--Model"}, "model_type": "llama", "rope_scaling": null})"));
  EXPECT_EQ(config.ignored(), std::vector<std::string>{"auto_map"});
  EXPECT_FALSE(config.lookup("auto_map.AutoModel"));
  EXPECT_FALSE(config.lookup("rope_scaling"));
}

} // namespace
} // namespace lorac::formats
