// Which model files are: the same in both containers, and every difference by name.
#include "runtime/formats/ModelIdentity.h"
#include "runtime/formats/DurableFile.h"
#include "runtime/formats/Gguf.h"
#include "runtime/formats/ModelSource.h"
#include "tests/unit/formats/Support.h"

#include <functional>

namespace lorac::formats {
namespace {

ModelIdentity tiny() {
  ModelIdentity identity;
  identity.architecture = "tiny";
  identity.modelTypes = {"tiny"};
  identity.symbols = {
      {"layers", {"num_hidden_layers"}, {"{arch}.block_count"}, "", std::nullopt, int64_t(2)},
      {"eps", {"eps"}, {"{arch}.eps"}, "", 1e-6, 1e-5},
      {"theta", {"theta", "rope.theta"}, {"{arch}.theta", "{arch}.theta2"}, "", 1e4, 5e5},
      {"tied", {"tie"}, {}, "output.weight", false, true},
      {"reach", {"reach"}, {}, "", int64_t(8), int64_t(8), /*nullIsZero=*/true}};
  identity.expects = {{{"act"}, {"{arch}.act"}, "", {std::string("silu")}, "it is so"},
                      {{"window"}, {"{arch}.window"}, "rope_freqs.weight", {}, ""}};
  identity.harmless = {"note", "{arch}.note"};
  return identity;
}

class ModelIdentityTest : public testing::Test {
protected:
  std::string folderSays(const std::string &config) {
    std::filesystem::create_directories(folder / "hf");
    const float one = 1;
    take(writeSafetensors(folder / "hf/model.safetensors",
                          std::vector<TensorToWrite>{{"w", DType::F32, {1}, &one}}));
    take(writeDurably(folder / "hf/config.json", config));
    return words(folder / "hf");
  }
  std::string ggufSays(const std::function<void(GgufWriter &)> &more, bool hasOutput = false) {
    GgufWriter writer;
    writer.text("general.architecture", "tiny");
    writer.u32("tiny.block_count", 2);
    const std::vector<float> one = {1};
    more(writer);
    writer.tensor(hasOutput ? "output.weight" : "w", GgmlType::F32, {1},
                  std::span<const float>(one));
    take(writer.write(folder / "m.gguf"));
    return words(folder / "m.gguf");
  }
  std::string words(const std::string &path) {
    const auto model = take(ModelSource::open(path));
    // As it comes out of a program.
    const ModelIdentity identity = take(parseModelIdentity(toJson(tiny())));
    EXPECT_EQ(toJson(identity), toJson(tiny()));
    Result<void> same = checkIdentity(*model, identity);
    if (same)
      return "";
    EXPECT_EQ(same.error().code, Exit::ForeignFile);
    EXPECT_NE(same.error().message.find(path), std::string::npos);
    return same.error().message;
  }
  void saysAll(const std::string &said, const std::vector<std::string> &wanted) {
    for (const std::string &text : wanted)
      EXPECT_NE(said.find(text), std::string::npos) << said << "\nlacks: " << text;
  }
  TempFolder folder;
};

const std::string good = R"("model_type": "tiny", "num_hidden_layers": 2, "eps": 1e-5, )";

TEST_F(ModelIdentityTest, theSameInBothContainers) {
  EXPECT_EQ(folderSays("{" + good + R"("theta": 500000, "tie": true})"), "");
  EXPECT_EQ(
      folderSays("{" + good + R"("rope": {"theta": 5e5}, "tie": true, "act": "silu", "note": 3,
      "use_cache": true, "new": false, "newer": null, "newest": {}})"),
      "");
  EXPECT_EQ(ggufSays([](GgufWriter &writer) {
              writer.f32("tiny.eps", 1e-5f); // which is not the double 1e-5
              writer.f32("tiny.theta", 500000);
              writer.u32("tiny.note", 7);
              writer.text("general.name", "x");
              writer.u32("imatrix.chunks", 3);
            }),
            "");
}

TEST_F(ModelIdentityTest, everyDifferenceIsNamed) {
  saysAll(folderSays(R"({"model_type": "other", "num_hidden_layers": 3, "theta": 1, "act": "gelu",
      "window": 4, "new": [1], "deeper": {"a": {"b": 1}}})"),
          {"its model_type is 'other', expected 'tiny'", "'layers' was 2 and is 3",
           "'eps' was 1e-05 and is 1e-06, since it does not say", "'theta' was 500000 and is 1",
           "'tied' was true and is false, since it does not say",
           "'act' is \"gelu\"; 'tiny' expects \"silu\": it is so",
           "'window' is 4; 'tiny' expects none", "the key 'new' = an array of 1, which",
           "the key 'deeper' = an object, which"});
  EXPECT_EQ(folderSays("{" + good + R"("theta": 5e5, "tie": true, "deeper": {"a": {"b": 1}}})")
                .find("deeper.a"),
            std::string::npos)
      << "once is enough";
  saysAll(folderSays("{" + good + R"("theta": 5e5, "rope": {"theta": 1e4}, "tie": true})"),
          {"'theta' is 500000 and 'rope.theta' is 10000: they contradict each other"});
  saysAll(folderSays("{" + good + R"("theta": 5e5, "tie": true, "reach": null})"),
          {"'reach' was 8 and is 0"});
  saysAll(folderSays("{" + good + R"("theta": 5e5, "rope": {"beta": 1}, "tie": true})"),
          {"the key 'rope.beta' = 1, which"});
  saysAll(folderSays(R"({"model_type": "tiny"})"), {"it does not say 'layers', which was 2"});
  saysAll(ggufSays(
              [](GgufWriter &writer) {
                writer.f32("tiny.eps", 1e-5f);
                writer.f32("tiny.theta2", 500000);
                writer.truth("tiny.window", true);
                writer.f32("tiny.scale", 0.5f);
              },
              /*hasOutput=*/true),
          {"'tied' was true and is false", "'tiny.window' is true",
           "the key 'tiny.scale' = 0.5, which"});
}

TEST_F(ModelIdentityTest, factsOfCheckpointsAndAdapters) {
  const auto facts = tiny().facts();
  EXPECT_EQ(facts.at("architecture"), "tiny");
  EXPECT_EQ(facts.at("eps"), "1e-05");
  EXPECT_EQ(facts.at("reach"), "8");
  ModelIdentity none = tiny();
  none.symbols.back().value = int64_t(0);
  EXPECT_FALSE(none.facts().contains("reach")) << "what a model does not have is no fact of its";
  EXPECT_EQ(*factsFromJson(factsToJson(facts)), facts);
  EXPECT_FALSE(factsFromJson("[]"));
  EXPECT_FALSE(factsFromJson(R"({"a": 1})"));
  EXPECT_TRUE(checkAdapterBase({}, tiny(), "a")) << "an adapter of others says nothing";
  EXPECT_TRUE(checkAdapterBase(facts, tiny(), "a"));
  auto other = facts;
  other["theta"] = "10000";
  Result<void> same = checkAdapterBase(other, tiny(), "a");
  ASSERT_FALSE(same);
  saysAll(same.error().message, {"the adapter 'a'", "'theta' was 10000 and is 500000"});
  for (const std::string text :
       {"", "[]", "{}", R"({"symbols": 1, "expects": []})",
        R"({"symbols": {"a": 1}, "expects": []})", R"({"symbols": {}, "expects": [1]})"})
    EXPECT_FALSE(parseModelIdentity(text)) << text;
}

/// Of a model whose frequencies are scaled: the numbers say which it is, the words of scaling do
/// not, but in records of versions that kept no numbers.
TEST_F(ModelIdentityTest, frequenciesThatAreScaled) {
  ModelIdentity scaled = tiny();
  scaled.symbols.push_back({"factor", {"factor"}, {}, "", int64_t(0), int64_t(8)});
  scaled.symbols.back().ofFrequencies = true;
  scaled.frequencies["near"] = {1, 0.25f, 0.0625f};
  const auto facts = scaled.facts();
  EXPECT_EQ(differingFacts(facts, scaled.facts()), "");
  ModelIdentity other = scaled;
  other.symbols.back().value = int64_t(4);
  EXPECT_EQ(differingFacts(facts, other.facts()), "") << "said otherwise, but the same";
  other.frequencies["near"][1] *= 1 + 1e-6f;
  EXPECT_EQ(differingFacts(facts, other.facts()), "") << "rounded otherwise";
  other.frequencies["near"][1] = 0.5f;
  saysAll(differingFacts(facts, other.facts()),
          {"its rotary frequencies 'near' are others: frequency 1 was 0.25 and is 0.5"});
  other.frequencies["near"] = {1, 0.25f, 0.0625f, 0.015625f};
  saysAll(differingFacts(facts, other.facts()), {"one has 3 frequencies, the other more"});
  saysAll(differingFacts(facts, tiny().facts()), {"'near' were scaled and are not"});
  saysAll(differingFacts(tiny().facts(), facts), {"'near' were not scaled and are"});

  auto before = tiny().facts();
  before["factor"] = "8";
  EXPECT_EQ(differingFacts(before, facts), "");
  before["factor"] = "4";
  EXPECT_EQ(differingFacts(before, facts), "'factor' was 4 and is 8");
  saysAll(differingFacts(before, tiny().facts()), {"'factor' was 4 and is not there"});
}

/// Kinds of layers that no rule of the architecture gives.
TEST_F(ModelIdentityTest, whatMustBeSaid) {
  ModelIdentity kinds = tiny();
  kinds.layerTypes = "far near";
  kinds.expects.push_back(
      {{"kinds.0"}, {}, "", {std::string("far")}, "it is so", /*mustBeSaid=*/true});
  const ModelIdentity read = take(parseModelIdentity(toJson(kinds)));
  EXPECT_EQ(read.facts().at("layer_types"), "far near");
  const std::string good =
      R"("model_type": "tiny", "num_hidden_layers": 2, "eps": 1e-5, "theta": 5e5, "tie": true)";
  folderSays("{" + good + "}");
  const auto silent = take(ModelSource::open(folder / "hf"));
  Result<void> same = checkIdentity(*silent, read);
  ASSERT_FALSE(same);
  saysAll(same.error().message, {"it does not say 'kinds.0', which was \"far\""});
  folderSays("{" + good + R"(, "kinds": ["far"]})");
  const auto saying = take(ModelSource::open(folder / "hf"));
  EXPECT_TRUE(checkIdentity(*saying, read));
}

} // namespace
} // namespace lorac::formats
