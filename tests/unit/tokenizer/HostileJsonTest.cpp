// tokenizer.json files that have broken others: refused with one message, in proportion to the
// file.
#include "tests/unit/tokenizer/Support.h"

#include <ctime>
#include <random>

using namespace lorac;
using namespace lorac::testing;
using ::testing::HasSubstr;

namespace {

std::string errorOf(const std::string &text) {
  std::string path = writeTemporary("hostile", "tokenizer.json", text);
  Error error = loadError(path);
  EXPECT_EQ(error.code, Exit::ForeignFile) << error.message;
  EXPECT_THAT(error.message, HasSubstr(path));
  EXPECT_LT(error.message.size(), path.size() + 800);
  return error.message;
}

/// A file with this vocabulary and these merges, both as JSON.
std::string withModel(const std::string &vocabulary, const std::string &merges,
                      const std::string &more = "") {
  return R"({"model": {"type": "BPE", "vocab": )" + vocabulary + R"(, "merges": )" + merges + "}" +
         more + "}";
}

double secondsOf(const std::function<void()> &work) {
  std::clock_t begin = std::clock();
  work();
  return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

TEST(HostileJson, MergesMustJoinTokensToATokenOfTheVocabulary) {
  EXPECT_THAT(errorOf(withModel(R"({"a": 0, "b": 1})", R"(["a b"])")),
              HasSubstr("'model.merges[0]' joins 'a' and 'b', but 'ab' is not in 'model.vocab'"));
  EXPECT_THAT(errorOf(withModel(R"({"a": 0, "ab": 1})", R"([["a", "b"]])")),
              HasSubstr("but 'b' is not in"));
  EXPECT_THAT(
      errorOf(
          R"({"model": {"vocab": {"a": 0, "b": 1}, "merges": ["a b"], "continuing_subword_prefix": "######"}})"),
      HasSubstr("the right side 'b' does not begin with the prefix '######'"));
  for (const char *merges : {R"(["ab"])", R"(["a b c"])", R"([["a"]])", R"([["a", "b", "c"]])",
                             R"([["a", 1]])", R"([1])", R"([{}])"})
    EXPECT_THAT(errorOf(withModel(R"({"a": 0, "b": 1, "ab": 2})", merges)),
                HasSubstr("'model.merges["))
        << merges;
  EXPECT_THAT(errorOf(withModel(R"({"a": 0})", R"({"a": "b"})")),
              HasSubstr("'model.merges' must be an array"));
}

TEST(HostileJson, IdsMustBeDense) {
  EXPECT_THAT(errorOf(withModel(R"({"a": 2147483647})", "[]")),
              HasSubstr("gives 'a' the id 2147483647, but there are only 1 tokens"));
  EXPECT_THAT(errorOf(withModel(R"({"a": -1})", "[]")), HasSubstr("the id -1"));
  EXPECT_THAT(errorOf(withModel(R"({"a": 0, "b": 2, "c": 3})", "[]")),
              HasSubstr("the id 3, but there are only 3"));
  EXPECT_THAT(errorOf(withModel(R"({"a": 0, "b": 0})", "[]")),
              HasSubstr("the id 0, which belongs to 'a'"));
  EXPECT_THAT(errorOf(withModel(R"({"a": 0, "a": 1})", "[]")),
              HasSubstr("the id 1, but it has the id 0 already"));
  EXPECT_THAT(errorOf(withModel(R"({"a": 0.5})", "[]")),
              HasSubstr("needs an integer as id of 'a'"));
  EXPECT_THAT(errorOf(withModel(R"({"a": 18446744073709551615})", "[]")),
              HasSubstr("beyond 64 bits"));
  EXPECT_THAT(errorOf(withModel(R"({"a": {"b": 1}})", "[]")),
              HasSubstr("needs an integer as id of 'a'"));
  EXPECT_THAT(errorOf(withModel(R"({"a": 0})", "[]",
                                R"(, "added_tokens": [{"id": 4294967296, "content": "x"}])")),
              HasSubstr("'added_tokens[0]' needs an integer"));
  EXPECT_THAT(
      errorOf(withModel(R"({"a": 0})", "[]", R"(, "added_tokens": [{"id": 2, "content": "x"}])")),
      HasSubstr("the id 2, but there are only 2"));
  EXPECT_THAT(errorOf(withModel(
                  R"({"a": 0, "b": 1})", "[]",
                  R"(, "added_tokens": [{"id": 1, "content": "x"}, {"id": 3, "content": "y"}])")),
              HasSubstr("the id 1, which belongs to 'b'"));
  EXPECT_THAT(
      errorOf(withModel(R"({"a": 0})", "[]", R"(, "added_tokens": [{"id": 1, "content": ""}])")),
      HasSubstr("empty 'content'"));
  EXPECT_THAT(errorOf(R"({"model": {"vocab": {"a": 0}, "merges": [], "unk_token": "u"}})"),
              HasSubstr("'model.unk_token' is 'u'"));
  EXPECT_THAT(errorOf(R"({"added_tokens": []})"), HasSubstr("needs an object 'model'"));
}

TEST(HostileJson, DepthAndSizeStayWithinLimits) {
  double took = secondsOf([] {
    EXPECT_THAT(errorOf(R"({"model": )" + std::string(100'000, '[')),
                HasSubstr("nests deeper than 64"));
    EXPECT_THAT(errorOf(R"({"model": {"vocab": {"a": )" + std::string(100'000, '[')),
                HasSubstr("'model.vocab'"));
    std::string objects;
    for (int i = 0; i < 100'000; ++i)
      objects += "{\"a\":";
    EXPECT_THAT(errorOf(objects), HasSubstr("nests deeper than 64"));
    std::string escapes = "{\"";
    for (int i = 0; i < 1'000'000 / 6; ++i)
      escapes += "\\u0061";
    EXPECT_THAT(errorOf(escapes), HasSubstr("not JSON"));
    std::string many = "{\"x\": [";
    for (int i = 0; i < 400'000; ++i)
      many += "0,";
    EXPECT_THAT(errorOf(many + "0]}"), HasSubstr("more than 150000 values"));
  });
  EXPECT_LT(took, 2.0);
  EXPECT_THAT(errorOf(R"({"model": {}, "model": {}})"), HasSubstr("key 'model' stands twice"));
}

TEST(HostileJson, APatternThatBacktracksEndsInAnError) {
  auto tokenizerWith = [](const std::string &pattern) {
    nlohmann::json split = {
        {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}};
    return mustLoad(writeTemporary(
        "pattern", "tokenizer.json",
        withModel(R"({"a": 0, "b": 1})", "[]", ", \"pre_tokenizer\": " + split.dump())));
  };
  for (const char *pattern : {"(a+)+$", "(a|a)*$", "(?:a*)*c", "(a?){40}a{40}$"}) {
    Tokenizer tokenizer = tokenizerWith(pattern);
    double took = secondsOf([&] {
      for (size_t size : {30u, 3000u, 300000u}) {
        auto ids = tokenizer.encode(std::string(size, 'a') + "b");
        if (!ids) {
          EXPECT_THAT(ids.error().message, HasSubstr("it backtracks too much")) << pattern;
        }
      }
    });
    EXPECT_LT(took, 5.0) << pattern;
  }
  EXPECT_FALSE(tokenizerWith("(a+)+$").encode(std::string(30, 'a') + "b"));
}

TEST(HostileJson, BadPatternsAreNamed) {
  auto patternError = [](const std::string &pattern) {
    nlohmann::json split = {
        {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}};
    return errorOf(withModel(R"({"a": 0})", "[]", ", \"pre_tokenizer\": " + split.dump()));
  };
  EXPECT_THAT(patternError("(a"), HasSubstr("'pre_tokenizer' has a bad pattern '(a'"));
  EXPECT_THAT(patternError("[a"), HasSubstr("does not end"));
  EXPECT_THAT(patternError(std::string(100, '[')), HasSubstr("nests deeper"));
  EXPECT_THAT(patternError(R"(\C)"), HasSubstr("pattern"));
  EXPECT_THAT(patternError(std::string(1000, '(') + std::string(1000, ')')), HasSubstr("pattern"));
  EXPECT_THAT(patternError(std::string(70000, 'a')), HasSubstr("longer than 65536 bytes"));
  EXPECT_THAT(patternError("a{65536}"), HasSubstr("pattern"));
  EXPECT_THAT(
      errorOf(withModel(
          R"({"a": 0})", "[]",
          R"(, "normalizer": {"type": "Replace", "pattern": {"String": ""}, "content": "x"})")),
      HasSubstr("non-empty String"));
}

TEST(HostileJson, CutOrSpoiledFilesNeverCrash) {
  std::string whole = readFile(goldenPath("characters.tokenizer.json"));
  for (size_t size = 0; size < whole.size(); size += 7)
    EXPECT_FALSE(Tokenizer::load(writeTemporary("cut", "tokenizer.json", whole.substr(0, size))))
        << size;
  std::mt19937 random(7);
  for (int round = 0; round < 400; ++round) {
    std::string spoiled = whole;
    for (int i = 0; i < 3; ++i)
      spoiled[random() % spoiled.size()] = "\"{}[],:0-1aZ\\\xff"[random() % 14];
    auto tokenizer = Tokenizer::load(writeTemporary("cut", "tokenizer.json", spoiled));
    if (tokenizer)
      (void)tokenizer->encode("the kernel, \xc3\xa9<s>");
    else
      EXPECT_FALSE(tokenizer.error().message.empty());
  }
}

TEST(HostileJson, OtherFilesAreRefused) {
  EXPECT_EQ(loadError("/no/such/file").code, Exit::Failed);
  EXPECT_THAT(loadError(std::string(LORAC_SOURCE_DIR) + "/docs").message,
              HasSubstr("has no 'tokenizer.json'"));
  EXPECT_THAT(errorOf("plain text"),
              HasSubstr("is plain text, where a tokenizer.json or a GGUF file was expected"));
  EXPECT_THAT(errorOf(""), HasSubstr("is empty"));
}

} // namespace
