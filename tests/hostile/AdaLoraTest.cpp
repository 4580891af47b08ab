// AdaLoRA adapters made to break a reader: what rank_pattern, init_r and the tensors say of one
// another.
#include "runtime/formats/Checked.h"
#include "tests/hostile/AdapterFolder.h"
#include "tests/hostile/Refuse.h"

#include <cmath>
#include <ctime>
#include <fstream>
#include <iterator>

namespace lorac::hostile {
namespace {

const std::string q = "base_model.model.q.lora_";

/// One module of rank 2 of 3.
class AdaLoraFolder : public AdapterFolder {
public:
  AdaLoraFolder() {
    tensors({{q + "A", {2, 3}}, {q + "B", {4, 2}}, {q + "E", {2, 1}}});
    keys(R"("init_r": 3, "rank_pattern": {"q.lora_E": [true, false, true]})");
  }
  void keys(const std::string &text) {
    config(R"({"peft_type": "ADALORA", "lora_alpha": 4, )" + text + "}");
  }
  void whole() { tensors({{q + "A", {3, 3}}, {q + "B", {4, 3}}, {q + "E", {3, 1}}}); }
};

TEST(HostileAdaLora, configs) {
  AdaLoraFolder folder;
  EXPECT_TRUE(readAdapter(folder.path));
  for (const auto &[text, words] : std::vector<std::pair<std::string, std::string>>{
           {R"("init_r": 0)", "'init_r' is no whole number from 1 to 65536"},
           {R"("init_r": 65537)", "'init_r' is no whole number from 1 to 65536"},
           {R"("init_r": 9223372036854775807)", "'init_r' is no whole number from"},
           {R"("init_r": 3.0)", "'init_r' is no whole number from"},
           {R"("init_r": [3])", "'init_r' is no whole number from"},
           {R"("target_r": -1)", "'target_r' is no whole number from 0"},
           {R"("tinit": -1)", "'tinit' is no whole number from 0"},
           {R"("tfinal": 9223372036854775807)", "'tfinal' is no whole number from 0"},
           {R"("deltaT": 0)", "'deltaT' is no whole number from 1"},
           {R"("total_step": "40")", "'total_step' is no whole number from 0"},
           {R"("beta1": "x")", "'beta1' is no number"},
           {R"("orth_reg_weight": true)", "'orth_reg_weight' is no number"},
           {R"("use_dora": true)", "'use_dora' asks for DoRA, which AdaLoRA does not have"},
           {R"("bias": "all")", "'bias' is 'all'"},
           {R"("rank_pattern": [true])", "'rank_pattern' is no object"},
           {R"("rank_pattern": {"q.lora_E": "all"})",
            "neither a list of true and false nor a count"},
           {R"("rank_pattern": {"q.lora_E": -1})", "neither a list of true and false nor a count"},
           {R"("rank_pattern": {"q.lora_E": 2.0})", "neither a list of true and false nor a count"},
           {R"("rank_pattern": {"q.lora_E": true})",
            "neither a list of true and false nor a count"},
           {R"("rank_pattern": {"q.lora_E": [1, 0, 1]})", "neither a list of true and false"},
           {R"("rank_pattern": {"q.lora_E": [[true], false, true]})", "neither a list"},
           {R"("rank_pattern": {"q.lora_E": [{"0": true}, true]})", "neither a list"},
           {R"("rank_pattern": {"q.lora_E": {"0": true}})", "neither a list of true and false"},
           {R"("rank_pattern": {"q.lora_E": []})",
            "gives 'q.lora_E' 0 triplets, but 'init_r' is 12"},
           {R"("rank_pattern": {"q.lora_E": [true, true]}, "init_r": 3)",
            "gives 'q.lora_E' 2 triplets, but 'init_r' is 3"},
           {R"("init_r": 3, "rank_pattern": {"q.lora_E": [true, true, true, true]})",
            "gives 'q.lora_E' 4 triplets, but 'init_r' is 3"},
           {R"("init_r": 3, "rank_pattern": {"q.lora_E": 4})",
            "gives 'q.lora_E' 4 triplets, but 'init_r' is 3"},
           {R"("init_r": 3, "rank_pattern": {"q.lora_E": [true, true, true]})",
            "its rank is 2, but"},
           {R"("init_r": 3, "rank_pattern": {"q.lora_E": [false, false, false]})", "says 0 of 3"},
           {R"("init_r": 3, "rank_pattern": {"q.lora_E": 1})", "says 1 of 3"},
           {R"("init_r": 3, "rank_pattern": null)", "says 3 of 3"},
           {R"("init_r": 3)", "its rank is 2, but"},
           {R"("init_r": 3, "rank_pattern": {"q": 2})", "'q', which is no lora_E"},
           {R"("init_r": 3, "rank_pattern": {"q.lora_A": 2})", "'q.lora_A', which is no lora_E"},
           {R"("init_r": 3, "rank_pattern": {"q.lora_E": 2, "q.lora_E.default": 2})",
            "has module 'q' twice"},
           {R"("init_r": 3, "rank_pattern": {"q.lora_E": 2, "k.lora_E": 2})",
            "module 'k' is absent, but"}}) {
    SCOPED_TRACE(text);
    folder.keys(text);
    folder.refused(words);
  }
  for (const char *alpha : {"0", "-4"}) {
    folder.config(R"({"peft_type": "ADALORA", "init_r": 2, "lora_alpha": )" + std::string(alpha) +
                  "}");
    folder.refused(std::string("'lora_alpha' is ") + alpha + "; AdaLoRA's must be positive");
  }
  folder.keys(R"("init_r": 3, "rank_pattern": {"q.lora_E": 2, "k.lora_E": 0})");
  EXPECT_TRUE(readAdapter(folder.path)) << "a module of rank 0 needs no tensors";
}

TEST(HostileAdaLora, tensors) {
  AdaLoraFolder folder;
  folder.tensors({{q + "A", {2, 3}}, {q + "B", {4, 2}}});
  folder.refused("module 'q': lora_E is absent");
  folder.tensors({{q + "E", {2, 1}}});
  folder.refused("module 'q': lora_A is absent");
  folder.tensors({{q + "A", {2, 3}}, {q + "E", {2, 1}}});
  folder.refused("module 'q': lora_B is absent");
  using Shape = std::vector<int64_t>;
  for (const auto &[a, b, e] : {std::tuple<Shape, Shape, Shape>{{2, 3}, {4, 2}, {2}},
                                {{2, 3}, {4, 2}, {1, 2}},
                                {{2, 3}, {4, 2}, {3, 1}},
                                {{2, 3}, {4, 2}, {2, 1, 1}},
                                {{2, 3}, {4, 3}, {2, 1}},
                                {{2, 3}, {8}, {2, 1}},
                                {{}, {}, {}},
                                {{2, 0}, {4, 2}, {2, 1}},
                                {{2, 3}, {0, 2}, {2, 1}},
                                {{0, 0}, {4, 0}, {0, 1}},
                                {{0, 3}, {4, 0}, {1, 1}}}) {
    folder.tensors({{q + "A", a}, {q + "B", b}, {q + "E", e}});
    folder.refused("lora_A is " + shownShape(a) + ", lora_B is " + shownShape(b) +
                   " and lora_E is " + shownShape(e));
  }
  for (const std::string other :
       {"base_model.model.q.lora_magnitude_vector", "base_model.model.e.lora_embedding_A", "lora_A",
        "lora_E.weight", "base_model.model.lora_A", "base_model.model.q.lora_A.one.two",
        ".lora_A"}) {
    folder.tensors({{q + "A", {2, 3}}, {q + "B", {4, 2}}, {q + "E", {2, 1}}, {other, {4}}});
    folder.refused("tensor '" + other + "' is no lora_A, lora_B, lora_E or ranknum");
  }
  for (const std::string other :
       {"q.lora_A", "q.lora_A.weight", "base_model.model.q.lora_A.other"}) {
    folder.tensors({{q + "A", {2, 3}}, {q + "B", {4, 2}}, {q + "E", {2, 1}}, {other, {2, 3}}});
    folder.refused("stands twice under two names");
  }
  folder.tensors({{q + "A", {2, 3}}, {q + "B", {4, 2}}, {q + "E", {2, 1}}, {"q.ranknum", {2}}});
  folder.refused("module 'q': ranknum is [2]; expected [1]");
  folder.tensors({{"q.ranknum", {1}}});
  folder.refused("module 'q': lora_A is absent");
  folder.tensors({});
  folder.refused("holds no adapter tensors");
}

TEST(HostileAdaLora, ranknums) {
  AdaLoraFolder folder;
  const std::vector<float> values(16, 1);
  for (const float ranknum : {0.f, -3.f, INFINITY, NAN}) {
    ASSERT_TRUE(writeSafetensors(
        folder.path + "/adapter_model.safetensors",
        std::vector<TensorToWrite>{{q + "A", DType::F32, {2, 3}, values.data()},
                                   {q + "B", DType::F32, {4, 2}, values.data()},
                                   {q + "E", DType::F32, {2, 1}, values.data()},
                                   {"base_model.model.q.ranknum", DType::F32, {1}, &ranknum}}));
    folder.refused("expected a positive number");
  }
}

TEST(HostileAdaLora, noneOrUnknownLive) {
  AdaLoraFolder folder;
  folder.whole();
  folder.keys(R"("init_r": 3, "rank_pattern": {"q.lora_E": [false, false, false]})");
  folder.refused("all modules have rank 0: this adapter changes nothing");
  folder.keys(R"("init_r": 3, "rank_pattern": {"q.lora_E": 2})"); // no E is 0
  folder.refused("says that 2 of 3 triplets live, not which, and 3 have an E other than 0");
  folder.tensors({{q + "A", {0, 3}}, {q + "B", {4, 0}}, {q + "E", {0, 1}}});
  folder.keys(R"("init_r": 3, "rank_pattern": {"q.lora_E": [false, false, false]})");
  folder.refused("all modules have rank 0");
  std::filesystem::remove(folder.path + "/adapter_config.json");
  Result<Adapter> alone = readAdapter(folder.path + "/adapter_model.safetensors");
  ASSERT_FALSE(alone);
  EXPECT_NE(alone.error().message.find("all modules have rank 0"), std::string::npos);
}

std::string contents(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// An error or a value, never a signal; what a changed config is read as can be written again.
TEST(HostileAdaLora, cutAndChangedEverywhere) {
  AdaLoraFolder folder, out;
  folder.whole();
  for (const std::string name : {"/adapter_config.json", "/adapter_model.safetensors"}) {
    const std::string good = contents(folder.path + name);
    const auto read = [&](const std::string &bytes) {
      std::ofstream(folder.path + name, std::ios::binary) << bytes;
      Result<Adapter> adapter = readAdapter(folder.path);
      if (adapter && adapter->adaLora && name == "/adapter_config.json") {
        EXPECT_TRUE(writePeftAdaLora(out.path, *adapter));
        EXPECT_TRUE(readAdapter(out.path));
      }
      return bool(adapter);
    };
    EXPECT_TRUE(read(good));
    for (size_t size = 0; size < good.size(); ++size)
      EXPECT_FALSE(read(good.substr(0, size))) << name << " cut at byte " << size;
    for (size_t at = 0; at < good.size(); ++at)
      for (const int flip : {0x01, 0x10, 0x80}) {
        std::string bad = good;
        bad[at] = char(bad[at] ^ flip);
        (void)read(bad);
      }
    EXPECT_TRUE(read(good));
  }
}

TEST(HostileAdaLora, failingAllocations) {
  AdaLoraFolder folder;
  folder.whole();
  failEveryAllocation({}, [&](const File &) { return readAdapter(folder.path); });
}

TEST(HostileAdaLora, longPatterns) {
  AdaLoraFolder folder;
  std::string list = "[true";
  for (int i = 0; i < 500000; ++i)
    list += ",true";
  const std::string key(1 << 20, 'x');
  const std::clock_t start = std::clock();
  folder.keys("\"init_r\": 3, \"rank_pattern\": {\"" + key + ".lora_E\": " + list + "]}");
  folder.refused("500001 triplets, but 'init_r' is 3");
  EXPECT_LT(std::clock() - start, 2 * CLOCKS_PER_SEC);
}

} // namespace
} // namespace lorac::hostile
