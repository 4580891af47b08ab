// Every component of tokenizer.json against Hugging Face tokenizers: small vocabularies, many
// configurations, nasty strings (tests/golden/tokenizer/make_cases.py made the ids).
#include "tests/unit/tokenizer/Support.h"

using namespace lorac;
using namespace lorac::testing;

namespace {

/// Runs all configurations of a cases file over its base tokenizer.
void expectConfigurations(const std::string &name) {
  auto base = readJsonFile(goldenPath(name + ".tokenizer.json"));
  auto configurations = readJsonFile(goldenPath(name + "_cases.json"));
  ASSERT_GE(configurations.size(), 10u);
  for (const auto &configuration : configurations) {
    SCOPED_TRACE(configuration["name"].dump());
    auto merged = base;
    for (const auto &[key, value] : configuration["patch"].items())
      if (key == "model")
        merged["model"].update(value);
      else
        merged[key] = value;
    std::string path = writeTemporary(name, "tokenizer.json", merged.dump());
    auto tokenizer = Tokenizer::load(path);
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    // This decoder's last token depends on whether another follows: no stream can know.
    expectCases(*tokenizer, configuration["cases"], configuration["name"] != "suffix decoder",
                !configuration.value("encode_only", false));
  }
}

TEST(Components, ByteLevel) { expectConfigurations("bytelevel"); }

TEST(Components, Characters) { expectConfigurations("characters"); }

// What Hugging Face calls encode_special_tokens: make_plain.py made the ids.
TEST(Components, SpecialsAsText) {
  for (const auto &configuration : readJsonFile(goldenPath("plain_cases.json"))) {
    const std::string base = configuration["base"];
    SCOPED_TRACE(base + " " + configuration["name"].dump());
    auto merged = readJsonFile(goldenPath(base + ".tokenizer.json"));
    for (const auto &other : readJsonFile(goldenPath(base + "_cases.json"))) {
      if (other["name"] != configuration["name"])
        continue;
      for (const auto &[key, value] : other["patch"].items()) {
        if (key == "model")
          merged["model"].update(value);
        else
          merged[key] = value;
      }
    }
    Tokenizer tokenizer = mustLoad(writeTemporary("plain", "tokenizer.json", merged.dump()));
    for (const auto &expected : configuration["cases"]) {
      SCOPED_TRACE(expected["text"].dump());
      auto ids = tokenizer.encode(expected["text"].get<std::string>(), Specials::AsText);
      ASSERT_TRUE(ids) << ids.error().message;
      EXPECT_EQ(*ids, expected["ids"].get<std::vector<int32_t>>());
    }
  }
}

TEST(Components, UnknownOnesAreNamed) {
  auto base = readJsonFile(goldenPath("bytelevel.tokenizer.json"));
  auto errorOf = [&](const char *key, const nlohmann::json &component) {
    auto patched = base;
    patched[key] = component;
    return loadError(writeTemporary("unknown", "tokenizer.json", patched.dump())).message;
  };
  EXPECT_THAT(
      errorOf("normalizer", {{"type", "Precompiled"}}),
      ::testing::HasSubstr("'normalizer' has type 'Precompiled', which is not known; known are "));
  EXPECT_THAT(errorOf("pre_tokenizer",
                      {{"type", "Sequence"}, {"pretokenizers", {{{"type", "UnicodeScripts"}}}}}),
              ::testing::HasSubstr("'pre_tokenizer.pretokenizers[0]' has type 'UnicodeScripts'"));
  EXPECT_THAT(errorOf("decoder", {{"type", "CTC"}}),
              ::testing::HasSubstr("'decoder' has type 'CTC'"));
  EXPECT_THAT(errorOf("post_processor", {{"type", "Magic"}}),
              ::testing::HasSubstr("'post_processor' has type 'Magic'"));
  EXPECT_THAT(errorOf("model", {{"type", "Unigram"}, {"vocab", nlohmann::json::array()}}),
              ::testing::HasSubstr("'model.vocab' must be an object"));
  EXPECT_THAT(errorOf("model", {{"type", "WordPiece"}, {"vocab", nlohmann::json::object()}}),
              ::testing::HasSubstr("'model.type' is 'WordPiece'; only BPE is read"));
}

TEST(Components, TemplateAndConfigGiveBosAndEos) {
  auto base = readJsonFile(goldenPath("bytelevel.tokenizer.json"));
  base["post_processor"] = nlohmann::json::parse(R"({"type": "Sequence", "processors": [
    {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
    {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|end|>", "type_id": 0}},
     {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
     "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [0], "tokens": ["<|end|>"]}}}]})");
  std::string path = writeTemporary("bos", "tokenizer.json", base.dump());
  Tokenizer alone = mustLoad(path);
  EXPECT_EQ(alone.bos(), 0);
  EXPECT_EQ(alone.eos(), -1);
  EXPECT_TRUE(alone.addBos());
  EXPECT_EQ(idsOf(alone, "").size(), 0u); // nothing is added

  writeTemporary(
      "bos", "tokenizer_config.json",
      R"({"bos_token": null, "eos_token": {"content": "!", "lstrip": false}, "add_bos_token": false})");
  Tokenizer configured = mustLoad(std::filesystem::path(path).parent_path());
  EXPECT_EQ(configured.eos(), configured.idOf("!"));
  EXPECT_FALSE(configured.addBos());
}

} // namespace
