// Vocabularies in GGUF files: byte-level by the names of pre-tokenizers, and SentencePiece's.
#include "tests/unit/tokenizer/GgufVocabulary.h"

using namespace lorac;
using namespace lorac::testing;

namespace {

nlohmann::json casesNamed(const std::string &name) {
  for (const auto &configuration : readJsonFile(goldenPath("bytelevel_cases.json")))
    if (configuration["name"] == name)
      return configuration["cases"];
  ADD_FAILURE() << name;
  return {};
}

TEST(GgufTokenizer, ByteLevelSplitsAsTheNamedPreTokenizer) {
  for (auto [pre, name] : {std::pair{"gpt-2", "gpt2"},
                           {"llama-bpe", "llama3"},
                           {"tekken", "cased"},
                           {"smollm", "digits"},
                           {"bailingmoe", "possessive"},
                           {"superbpe", "lookahead"}}) {
    SCOPED_TRACE(pre);
    GgufVocabulary vocabulary = byteLevelVocabulary();
    vocabulary.pre = pre;
    expectCases(mustLoad(vocabulary.write("bytes.gguf")), casesNamed(name));
  }
}

TEST(GgufTokenizer, SentencePieceMergesByScore) {
  Tokenizer tokenizer = mustLoad(sentencePieceVocabulary().write("spm.gguf"));
  expectCases(tokenizer, readJsonFile(goldenPath("sentencepiece.json"))["cases"]);
  EXPECT_EQ(tokenizer.bos(), 1);
  EXPECT_EQ(tokenizer.eos(), 2);
  EXPECT_TRUE(tokenizer.addBos());
}

TEST(GgufTokenizer, SpecialAndUserTokensAreRecognised) {
  Tokenizer tokenizer = mustLoad(sentencePieceVocabulary().write("spm.gguf"));
  auto the = idsOf(tokenizer, "the");
  auto ids = idsOf(tokenizer, "<s>the<word>the</s>");
  std::vector<int32_t> expected = {1};
  expected.insert(expected.end(), the.begin(), the.end());
  expected.push_back(3);
  expected.insert(expected.end(), the.begin(), the.end());
  expected.push_back(2);
  EXPECT_EQ(ids, expected); // a space is put before each stretch of text
  EXPECT_EQ(textOf(tokenizer, ids), "<s> the<word> the</s>");
  EXPECT_EQ(textOf(tokenizer, ids, true), "the<word> the");
}

TEST(GgufTokenizer, SpecialsAsText) {
  Tokenizer tokenizer = mustLoad(sentencePieceVocabulary().write("spm.gguf"));
  auto ids = tokenizer.encode("<s>the</s>", Specials::AsText);
  ASSERT_TRUE(ids);
  EXPECT_EQ(textOf(tokenizer, *ids), "<s>the</s>");
  EXPECT_EQ(textOf(tokenizer, *ids, true), "<s>the</s>") << "none of them is special";
  auto user = tokenizer.encode("the<word>", Specials::AsText);
  ASSERT_TRUE(user);
  EXPECT_EQ(user->back(), 3) << "a token of the user's is none of control";
}

TEST(GgufTokenizer, SpacePrefixCanBeOff) {
  GgufVocabulary vocabulary = sentencePieceVocabulary();
  vocabulary.flags = {{"add_space_prefix", false}, {"add_bos_token", false}};
  Tokenizer tokenizer = mustLoad(vocabulary.write("spm.gguf"));
  Tokenizer prefixed = mustLoad(sentencePieceVocabulary().write("spm.gguf"));
  EXPECT_EQ(idsOf(tokenizer, " the kernel"), idsOf(prefixed, "the kernel"));
  EXPECT_EQ(textOf(tokenizer, idsOf(tokenizer, " the kernel")), " the kernel");
  EXPECT_FALSE(tokenizer.addBos());
}

TEST(GgufTokenizer, WithoutByteTokensUnknownCharactersFuse) {
  GgufVocabulary vocabulary;
  vocabulary.model = "llama";
  vocabulary.tokens = {"<unk>",
                       "<s>",
                       "</s>",
                       "\xe2\x96\x81",
                       "a",
                       "\xe2\x96\x81"
                       "a",
                       "bc"};
  vocabulary.types = {2, 3, 3, 1, 1, 1, 1};
  vocabulary.scores = {0, 0, 0, -3, -2, -1, -4};
  Tokenizer tokenizer = mustLoad(vocabulary.write("small.gguf"));
  EXPECT_EQ(idsOf(tokenizer, "axxa"), (std::vector<int32_t>{5, 0, 4}));
  EXPECT_EQ(idsOf(tokenizer, "abc"),
            (std::vector<int32_t>{5, 6})); // b and c are no tokens, bc is one
}

TEST(GgufTokenizer, EqualScoresMergeFromTheLeft) {
  GgufVocabulary vocabulary;
  vocabulary.model = "llama";
  vocabulary.tokens = {"<unk>", "<s>", "</s>", "a", "aa"};
  vocabulary.types = {2, 3, 3, 1, 1};
  vocabulary.scores = {0, 0, 0, -1, -1};
  vocabulary.flags = {{"add_space_prefix", false}};
  Tokenizer tokenizer = mustLoad(vocabulary.write("small.gguf"));
  EXPECT_EQ(idsOf(tokenizer, "aaaaa"), (std::vector<int32_t>{4, 4, 3}));
  std::vector<int32_t> many(50, 4); // beyond what is scanned: the heap
  many.push_back(3);
  EXPECT_EQ(idsOf(tokenizer, std::string(101, 'a')), many);
}

TEST(GgufTokenizer, AllNamedPreTokenizersCompile) {
  GgufVocabulary vocabulary = byteLevelVocabulary();
  vocabulary.pre = "no-such";
  std::string message = loadError(vocabulary.write("bytes.gguf")).message;
  auto at = message.find("known are ");
  ASSERT_NE(at, std::string::npos) << message;
  EXPECT_THAT(message,
              ::testing::HasSubstr("'tokenizer.ggml.pre': pre-tokenizer 'no-such' is not known"));
  std::string names = message.substr(at + 10);
  size_t count = 0;
  for (size_t begin = 0; begin < names.size(); ++count) {
    size_t end = std::min(names.find(", ", begin), names.size());
    vocabulary.pre = names.substr(begin, end - begin);
    auto tokenizer = Tokenizer::load(vocabulary.write("bytes.gguf"));
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    EXPECT_EQ(
        textOf(*tokenizer, idsOf(*tokenizer, "The 12345 K\xc3\xb6pfe!\r\n \n\xf0\x9f\x98\x80")),
        "The 12345 K\xc3\xb6pfe!\r\n \n\xf0\x9f\x98\x80")
        << vocabulary.pre;
    begin = end + 2;
  }
  EXPECT_GE(count, 60u);
}

} // namespace
