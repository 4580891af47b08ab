// config.json and PEFT's adapters made to break a reader or to make it do something: rows 9, 11,
// 29, 35, 36 and 38.
#include "runtime/formats/Adapter.h"
#include "runtime/formats/Checked.h"
#include "runtime/formats/DurableFile.h"
#include "runtime/formats/HfConfig.h"
#include "runtime/formats/ModelSource.h"
#include "runtime/formats/Safetensors.h"
#include "runtime/tokenizer/Tokenizer.h"
#include "tests/hostile/AdapterFolder.h"
#include "tests/hostile/Refuse.h"

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sys/inotify.h>
#include <unistd.h>

namespace lorac::hostile {
namespace {

using namespace formats;

const auto readConfig = [](const File &file) {
  const auto bytes = file->bytes();
  return HfConfig::parse(file->path(),
                         {reinterpret_cast<const char *>(bytes.data()), bytes.size()});
};

TEST(HostileConfig, refused) {
  const auto refused = [](const std::string &text, const std::string &words) {
    expectRefused(text.substr(0, 20), Bytes().raw(text), words, readConfig);
  };
  refused(std::string(100000, '['), "nested more than 64 deep");
  refused("{\"a\":" + std::string(100000, '['), "nested more than 64 deep");
  refused("[1]", "no JSON object");
  refused("", "is empty");
  refused("{\"a\": 1, \"a\": 2}", "the key 'a' stands twice");
  refused("{\"a\": \"\xff\"}", "not JSON at byte");
  refused("{\"a\": 1e999}", "not JSON at byte");
  refused("{\"a\": 1} {", "not JSON at byte");
}

TEST(HostileConfig, linearInItsLength) {
  std::string text = "{\"a\": \"";
  for (int i = 0; i < 170000; ++i) // 1 MB
    text += "\\u00e9";
  const std::clock_t start = std::clock();
  EXPECT_TRUE(HfConfig::parse("config.json", text + "\"}"));
  EXPECT_LT(std::clock() - start, CLOCKS_PER_SEC);
}

TEST(HostileConfig, failingAllocations) { // 11
  failEveryAllocation(Bytes()
                          .raw(R"({"model_type": "llama", "rope_parameters": {"rope_theta": 1},
                                      "architectures": ["a"], "hidden_size": 64})")
                          .vector(),
                      readConfig);
}

TEST(HostileConfig, numbersOfOtherKinds) { // 9; what each key takes: tests/unit/dsl/GraphTest.cpp
  Result<HfConfig> config =
      HfConfig::parse("config.json", R"({"hidden_size": 4294967296, "num_hidden_layers": "many",
    "rope_theta": [1, 2], "head_dim": {"a": 1}})");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->lookup("hidden_size"), HyperValue(int64_t(1) << 32));
  EXPECT_EQ(config->lookup("num_hidden_layers"), HyperValue(std::string("many")));
  EXPECT_EQ(config->lookup("rope_theta"), HyperValue(std::string("an array of 2")));
  EXPECT_EQ(config->lookup("head_dim"), HyperValue(std::string("an object")));
}

/// Counts who opens the files of a folder.
class Watch {
public:
  explicit Watch(const std::string &folder) {
    EXPECT_GE(inotify_add_watch(descriptor, folder.c_str(), IN_OPEN | IN_ACCESS), 0);
  }
  ~Watch() { close(descriptor); }
  bool quiet() const {
    char event[4096];
    return ::read(descriptor, event, sizeof event) < 0 && errno == EAGAIN;
  }

private:
  int descriptor = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
};

class HostileKeys : public InOwnFolder {};

TEST_F(HostileKeys, nameFilesThatNobodyOpens) { // 36
  std::filesystem::create_directories("bait");
  std::filesystem::create_directories("model");
  for (const char *name : {"bait/evil.py", "bait/adapter_config.json", "bait/config.json"})
    write(name, "{}");
  const std::string bait = (folder / "bait").string(), evil = "\"" + bait + "/evil.py\"";
  write("model/config.json", R"({"model_type": "llama", "auto_map": {"AutoModel": )" + evil +
                                 R"(}, "custom_pipelines": {"a": {"impl": )" + evil +
                                 R"(}}, "trust_remote_code": true, "_name_or_path": ")" + bait +
                                 R"(", "tokenizer_class": )" + evil + "}");
  write("model/tokenizer.json",
        R"({"model": {"vocab": {"a": 0}, "merges": [], "cache": )" + evil + "}}");
  write("model/tokenizer_config.json", R"({"auto_map": {"AutoTokenizer": [)" + evil +
                                           R"(, null]}, "tokenizer_file": )" + evil +
                                           R"(, "vocab_file": )" + evil + "}");
  const std::vector<float> values(8, 0.5f);
  ASSERT_TRUE(
      writeSafetensors("model/model.safetensors",
                       std::vector<TensorToWrite>{{"w", DType::F32, {2, 4}, values.data()}}));
  std::filesystem::create_directories("adapter");
  write("adapter/adapter_config.json",
        R"({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": ")" + bait +
            R"(", "auto_mapping": {"parent_library": )" + evil + R"(}, "megatron_core": )" + evil +
            R"(, "revision": )" + evil + R"(, "corda_config": {"cache_file": )" + evil + "}}");
  ASSERT_TRUE(writeSafetensors(
      "adapter/adapter_model.safetensors",
      std::vector<TensorToWrite>{
          {"base_model.model.q.lora_A.weight", DType::F32, {2, 3}, values.data()},
          {"base_model.model.q.lora_B.weight", DType::F32, {4, 2}, values.data()}}));
  const Watch watch("bait");
  const auto model = ModelSource::open("model");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((*model)->config()->ignored(),
            (std::vector<std::string>{"auto_map", "custom_pipelines", "trust_remote_code"}))
      << "and reported by the compiler";
  const auto tokenizer = Tokenizer::load("model");
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  const auto adapter = readAdapter("adapter");
  EXPECT_TRUE(adapter) << adapter.error().message;
  EXPECT_TRUE(watch.quiet());
  std::ifstream("bait/evil.py").get();
  EXPECT_FALSE(watch.quiet()) << "the watch works";
}

TEST(HostileAdapter, configs) {
  AdapterFolder folder;
  EXPECT_TRUE(readAdapter(folder.path));
  for (const auto &[text, words] : std::vector<std::pair<std::string, std::string>>{
           {R"({"peft_type": "LOHA"})", "peft_type is 'LOHA'; only 'LORA' and 'ADALORA'"},
           {R"({})", "peft_type is ''"},
           {R"({"peft_type": "LORA", "r": 0})", "'r' is no positive whole number"},
           {R"({"peft_type": "LORA", "r": -2})", "'r' is no positive whole number"},
           {R"({"peft_type": "LORA", "r": "2"})", "'r' is no positive whole number"},
           {R"({"peft_type": "LORA", "r": 4294967298})", "its rank is 2, but"},
           {R"({"peft_type": "LORA", "r": 9223372036854775807})", "says 9223372036854775808"},
           {R"({"peft_type": "LORA", "r": 2, "use_rslora": "yes"})",
            "'use_rslora' is neither true nor false"},
           {R"({"peft_type": "LORA", "r": 2, "lora_alpha": [4]})", "'lora_alpha' is no number"},
           {R"({"peft_type": "LORA", "r": 3})", "its rank is 2, but"},
           {R"({"peft_type": "LORA", "r": 2, "lora_alpha": "x"})", "'lora_alpha' is no number"},
           {R"({"peft_type": "LORA", "r": 2, "use_dora": 1})",
            "'use_dora' is neither true nor false"},
           {R"({"peft_type": "LORA", "r": 2, "use_dora": true})",
            "lora_magnitude_vector is absent, but '"},
           {R"({"peft_type": "LORA", "r": 2, "bias": "all"})", "'bias' is 'all'"},
           {R"({"peft_type": "LORA", "r": 2, "modules_to_save": ["lm_head"]})",
            "'modules_to_save' asks for"},
           {R"({"peft_type": "LORA", "r": 2, "rank_pattern": {"(a+)+$": 2}})",
            "is a regular expression"},
           {R"({"peft_type": "LORA", "r": 2, "rank_pattern": {"q": 0}})",
            "'rank_pattern' gives 'q' no positive whole number"},
           {R"({"rank_pattern": {"q.lora_E": [true, true]}, "peft_type": "LORA", "r": 2})",
            "'rank_pattern' gives 'q.lora_E' no positive whole number"},
           {R"({"peft_type": "LORA", "r": 2, "r": 2})", "the key 'r' stands twice"},
           {"{\"x\":" + std::string(1000, '['), "nested more than 64 deep"}}) {
    folder.config(text);
    folder.refused(words);
  }
}

TEST(HostileAdapter, namesInMessages) { // 38
  AdapterFolder folder;
  for (const std::string name : {"\"; #include", "$(id)", "../../x", "a\nb", "\x1b[31m"}) {
    folder.tensors({{"base_model.model." + name + ".lora_A.weight", {2, 3}}});
    folder.refused("module '" + shown(name) + "': lora_B is absent");
  }
  const std::string name(1 << 20, 'x');
  folder.tensors({{"base_model.model." + name + ".lora_A.weight", {2, 3}}});
  Result<Adapter> adapter = readAdapter(folder.path);
  ASSERT_FALSE(adapter);
  EXPECT_LT(adapter.error().message.size(), 500u);
}

TEST(HostileAdapter, failingAllocations) { // 11
  AdapterFolder folder;
  const auto open = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                         std::filesystem::directory_iterator());
  };
  const auto before = open();
  failEveryAllocation({}, [&](const File &) { return readAdapter(folder.path); });
  EXPECT_EQ(open(), before) << "a file was left open";
}

TEST(HostileAdapter, tensors) {
  AdapterFolder folder;
  const std::string q = "base_model.model.q.lora_";
  folder.tensors({{q + "A.weight", {2, 3}}});
  folder.refused("module 'q': lora_B is absent");
  folder.tensors({{q + "B.weight", {4, 2}}});
  folder.refused("module 'q': lora_A is absent");
  folder.tensors({{q + "A.weight", {2, 3}}, {q + "B.weight", {4, 3}}});
  folder.refused("lora_A is [2, 3] and lora_B is [4, 3]");
  folder.tensors({{q + "A.weight", {0, 3}}, {q + "B.weight", {4, 0}}});
  folder.refused("lora_A is [0, 3]");
  folder.tensors({{q + "A.weight", {2}}, {q + "B.weight", {4, 2}}});
  folder.refused("lora_A is [2]");
  for (const std::string other :
       {"base_model.model.q.lora_E", "base_model.model.q.lora_A",
        "base_model.model.q.lora_A.default", "base_model.model.lora_magnitude_vector",
        "q.lora_magnitude_vector", "base_model.model.e.lora_embedding_A", "q.lora_A.weight",
        "base_model.model.lora_A.weight"}) {
    folder.tensors({{q + "A.weight", {2, 3}}, {q + "B.weight", {4, 2}}, {other, {4}}});
    folder.refused("tensor '" + other + "' is no lora_A, lora_B or lora_magnitude_vector");
  }
  const std::string magnitude = q + "magnitude_vector";
  folder.tensors({{q + "A.weight", {2, 3}}, {q + "B.weight", {4, 2}}, {magnitude, {4}}});
  folder.refused("module 'q': it has a lora_magnitude_vector, which is DoRA's, but '");
  folder.config(R"({"peft_type": "LORA", "r": 2, "use_dora": true})");
  EXPECT_TRUE(readAdapter(folder.path));
  for (const std::vector<int64_t> &shape :
       std::vector<std::vector<int64_t>>{{}, {0}, {3}, {5}, {4, 1}, {1, 4}, {2, 2}}) {
    folder.tensors({{q + "A.weight", {2, 3}}, {q + "B.weight", {4, 2}}, {magnitude, shape}});
    folder.refused("module 'q': lora_magnitude_vector is [");
  }
  folder.tensors({{q + "A.weight", {2, 3}},
                  {q + "B.weight", {4, 2}},
                  {magnitude, {4}},
                  {magnitude + ".weight", {4}}});
  folder.refused("stands twice under two names");
  const std::string gate = q + "gate";
  folder.config(R"({"peft_type": "LORA", "r": 2})");
  folder.tensors({{q + "A.weight", {2, 3}}, {q + "B.weight", {4, 2}}, {gate, {4}}});
  folder.refused("module 'q': lora_gate is there, but '");
  folder.config(R"({"peft_type": "GATED_LORA", "r": 2})");
  folder.tensors({{q + "A.weight", {2, 3}}, {q + "B.weight", {4, 2}}});
  folder.refused("module 'q': lora_gate is absent, but '");
  folder.tensors({{q + "A.weight", {2, 3}}, {q + "B.weight", {4, 2}}, {gate, {3}}});
  folder.refused("module 'q': lora_gate is [3] and lora_B is [4, 2]");
  folder.config(R"({"peft_type": "GATED_LORA", "r": 2, "use_dora": true})");
  folder.refused("'use_dora' asks for DoRA, which gated LoRA does not have");
  folder.config(R"({"peft_type": "LORA", "r": 2, "use_dora": true})");
  folder.tensors({{magnitude, {4}}});
  folder.refused("module 'q': lora_A is absent");
  const std::string k = "base_model.model.k.lora_";
  const std::vector<std::pair<std::string, std::vector<int64_t>>> half = {{q + "A.weight", {2, 3}},
                                                                          {q + "B.weight", {4, 2}},
                                                                          {magnitude, {4}},
                                                                          {k + "A.weight", {2, 3}},
                                                                          {k + "B.weight", {4, 2}}};
  folder.tensors(half);
  folder.refused("module 'k': lora_magnitude_vector is absent, but '");
  std::filesystem::remove(folder.path + "/adapter_config.json");
  Result<Adapter> alone = readAdapter(folder.path + "/adapter_model.safetensors");
  ASSERT_FALSE(alone);
  EXPECT_NE(alone.error().message.find("module 'k': lora_magnitude_vector is absent, which other"),
            std::string::npos);
  folder.config(R"({"peft_type": "LORA", "r": 2})");
  folder.tensors({});
  folder.refused("holds no adapter tensors");
}

TEST(HostileAdapter, pickles) { // 35
  AdapterFolder folder;
  std::filesystem::rename(folder.path + "/adapter_model.safetensors",
                          folder.path + "/adapter_model.bin");
  folder.refused("adapter_model.bin' is a pickle by its name");
  for (const std::string name : {"a.bin", "a.pt", "a.pth"}) {
    EXPECT_TRUE(writeDurably(folder.path + "/" + name, "x"));
    Result<Adapter> adapter = readAdapter(folder.path + "/" + name);
    ASSERT_FALSE(adapter);
    EXPECT_EQ(adapter.error().code, Exit::ForeignFile);
  }
  EXPECT_TRUE(writeDurably(folder.path + "/adapter_model.safetensors",
                           std::string("PK\x03\x04\x14\x00\x00\x00\x08\x08zip", 13)));
  folder.refused("can run code and is not read");
}

TEST(HostileAdapter, ofAnotherModel) {
  AdapterFolder folder;
  Result<Adapter> adapter = readAdapter(folder.path);
  ASSERT_TRUE(adapter);
  using Program = std::vector<WantedAdapter>;
  EXPECT_TRUE(checkAdapter(*adapter, Program{{"q", 2, 3, 4}}, folder.path, "mend"));
  EXPECT_TRUE(checkAdapter(*adapter, Program{{"k", 1, 1, 1}, {"q", 8, 3, 4}}, folder.path, "mend"))
      << "a program may have more";
  const auto check = [&](const Program &program, const std::string &words) {
    Result<void> fits = checkAdapter(*adapter, program, folder.path, "mend");
    ASSERT_FALSE(fits);
    EXPECT_EQ(fits.error().code, Exit::ForeignFile);
    EXPECT_NE(fits.error().message.find(words), std::string::npos) << fits.error().message;
  };
  check({{"q", 2, 5, 4}}, "is of another model or spec: module 'q' is [4, 3], expected [4, 5]");
  check({{"q", 1, 3, 4}}, "is too large: module 'q' has rank 2, more than the 1 here; mend");
  check({{"k", 2, 3, 4}}, "module 'q' is none that is adapted here");
}

} // namespace
} // namespace lorac::hostile
