// GGUF vocabularies that have broken others.
#include "tests/unit/tokenizer/GgufVocabulary.h"

#include <limits>
#include <random>

using namespace lorac;
using namespace lorac::testing;
using ::testing::HasSubstr;

namespace {

std::string errorOf(const GgufVocabulary &vocabulary) {
  std::string path = vocabulary.write("hostile.gguf");
  Error error = loadError(path);
  EXPECT_EQ(error.code, Exit::ForeignFile) << error.message;
  EXPECT_THAT(error.message, HasSubstr(path));
  return error.message;
}

std::string errorOfWriter(const formats::GgufWriter &writer) {
  auto bytes = writer.bytes();
  Error error =
      loadError(writeTemporary("gguf", "hostile.gguf", std::string(bytes.begin(), bytes.end())));
  EXPECT_EQ(error.code, Exit::ForeignFile) << error.message;
  return error.message;
}

TEST(HostileGguf, ParallelArraysMustHaveTheLengthOfTheTokens) {
  for (long more : {-1L, 1L}) {
    GgufVocabulary spoiled = sentencePieceVocabulary();
    spoiled.scores.resize(spoiled.scores.size() + static_cast<size_t>(more));
    EXPECT_THAT(errorOf(spoiled), HasSubstr("'tokenizer.ggml.scores' has"));
    spoiled = sentencePieceVocabulary();
    spoiled.types.resize(spoiled.types.size() + static_cast<size_t>(more));
    EXPECT_THAT(errorOf(spoiled), HasSubstr("'tokenizer.ggml.token_type' has"));
  }
  GgufVocabulary without = sentencePieceVocabulary();
  without.scores.clear();
  EXPECT_THAT(errorOf(without), HasSubstr("tokenizer.ggml.scores"));
  without = byteLevelVocabulary();
  without.merges.clear();
  EXPECT_THAT(errorOf(without), HasSubstr("tokenizer.ggml.merges"));
  without.tokens.clear();
  EXPECT_THAT(errorOf(without), HasSubstr("tokenizer.ggml.tokens"));
}

TEST(HostileGguf, ArraysMustHaveTheRightElementType) {
  GgufVocabulary good = sentencePieceVocabulary();
  formats::GgufWriter scores;
  scores.text("tokenizer.ggml.model", "llama");
  scores.texts("tokenizer.ggml.tokens", good.tokens);
  scores.integers("tokenizer.ggml.scores", good.types);
  EXPECT_THAT(errorOfWriter(scores), HasSubstr("tokenizer.ggml.scores"));
  formats::GgufWriter types;
  types.text("tokenizer.ggml.model", "llama");
  types.texts("tokenizer.ggml.tokens", good.tokens);
  types.floats("tokenizer.ggml.scores", good.scores);
  types.floats("tokenizer.ggml.token_type", good.scores);
  EXPECT_THAT(errorOfWriter(types), HasSubstr("tokenizer.ggml.token_type"));
  formats::GgufWriter tokens;
  tokens.text("tokenizer.ggml.model", "llama");
  tokens.integers("tokenizer.ggml.tokens", good.types);
  EXPECT_THAT(errorOfWriter(tokens), HasSubstr("tokenizer.ggml.tokens"));
  formats::GgufWriter model;
  model.u32("tokenizer.ggml.model", 3);
  EXPECT_THAT(errorOfWriter(model), HasSubstr("tokenizer.ggml.model"));
}

TEST(HostileGguf, SpecialIdsMustLieInTheVocabulary) {
  for (const char *key : {"bos_token_id", "eos_token_id", "unknown_token_id", "padding_token_id"})
    for (int64_t id : {int64_t{400}, int64_t{-1}, int64_t{1} << 31}) {
      GgufVocabulary spoiled = sentencePieceVocabulary();
      ASSERT_EQ(spoiled.tokens.size(), 400u);
      spoiled.ids = {{key, id}};
      EXPECT_THAT(errorOf(spoiled),
                  HasSubstr("'tokenizer.ggml." + std::string(key) + "' is " + std::to_string(id)));
    }
  GgufVocabulary one;
  one.model = "llama";
  one.tokens = {"a"};
  one.scores = {0};
  EXPECT_THAT(errorOf(one), HasSubstr("'tokenizer.ggml.bos_token_id' is absent, and its default is "
                                      "1, but the vocabulary has 1 tokens"));
}

TEST(HostileGguf, TokensAndMergesMustMakeSense) {
  GgufVocabulary spoiled = byteLevelVocabulary();
  spoiled.tokens[7] = spoiled.tokens[8];
  EXPECT_THAT(errorOf(spoiled), HasSubstr("twice, as 7 and 8"));
  spoiled = byteLevelVocabulary();
  spoiled.merges[3] = "nosuch pair";
  EXPECT_THAT(
      errorOf(spoiled),
      HasSubstr("'tokenizer.ggml.merges[3]' joins 'nosuch' and 'pair', but 'nosuch' is no token"));
  for (const char *merge : {"", " ", "a", "a ", " b"}) {
    spoiled = byteLevelVocabulary();
    spoiled.merges[0] = merge;
    EXPECT_THAT(errorOf(spoiled), HasSubstr("'tokenizer.ggml.merges[0]'")) << merge;
  }
  spoiled = sentencePieceVocabulary();
  spoiled.scores[9] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(errorOf(spoiled), HasSubstr("'tokenizer.ggml.scores[9]' is not a finite number"));
  spoiled = sentencePieceVocabulary();
  spoiled.types[5] = 7;
  EXPECT_THAT(errorOf(spoiled), HasSubstr("'tokenizer.ggml.token_type[5]' is 7"));
  spoiled = sentencePieceVocabulary();
  spoiled.model = "t5";
  EXPECT_THAT(errorOf(spoiled),
              HasSubstr("'tokenizer.ggml.model' is 't5'; only 'gpt2' and 'llama' are read"));
  formats::GgufWriter bare;
  bare.text("general.architecture", "llama");
  EXPECT_THAT(errorOfWriter(bare), HasSubstr("tokenizer.ggml.model"));
}

TEST(HostileGguf, EmptyAndLongTokensAreHarmless) {
  GgufVocabulary odd = sentencePieceVocabulary();
  odd.tokens[399] = "";
  odd.tokens[398] = std::string(100'000, 'a');
  Tokenizer tokenizer = mustLoad(odd.write("odd.gguf"));
  EXPECT_EQ(textOf(tokenizer, idsOf(tokenizer, "the kernel")), "the kernel");
  EXPECT_EQ(textOf(tokenizer, {399}), "");
}

TEST(HostileGguf, CutOrSpoiledFilesNeverCrash) {
  for (const GgufVocabulary &good : {sentencePieceVocabulary(), byteLevelVocabulary()}) {
    std::string whole = readFile(good.write("whole.gguf"));
    for (size_t size = 0; size + 64 < whole.size(); size += 11)
      EXPECT_FALSE(Tokenizer::load(writeTemporary("gguf", "cut.gguf", whole.substr(0, size))))
          << size;
    std::mt19937 random(11);
    for (int round = 0; round < 400; ++round) {
      std::string spoiled = whole;
      for (int i = 0; i < 3; ++i)
        spoiled[random() % spoiled.size()] = static_cast<char>(random());
      auto tokenizer = Tokenizer::load(writeTemporary("gguf", "cut.gguf", spoiled));
      if (tokenizer)
        (void)tokenizer->encode("the kernel, \xc3\xa9<s>");
      else
        EXPECT_FALSE(tokenizer.error().message.empty());
    }
  }
}

} // namespace
