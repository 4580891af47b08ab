// SmolLM2's real vocabulary against ids of the upstream tokenizer.
#include "tests/unit/tokenizer/Support.h"

#include <chrono>

using namespace lorac;
using namespace lorac::testing;

namespace {

class SmolLm2 : public ::testing::Test {
protected:
  void SetUp() override {
    if (smollm2Path().empty())
      GTEST_SKIP()
          << "models/SmolLM2-135M-Instruct.Q4_1.gguf is absent and LORAC_SMOLLM2 is not set";
  }
};

TEST_F(SmolLm2, EncodesAndDecodesAsUpstream) {
  expectCases(mustLoad(smollm2Path()), readJsonFile(goldenPath("tokenizer_cases.json"))["cases"]);
}

TEST_F(SmolLm2, DecodesArbitraryIds) {
  Tokenizer tokenizer = mustLoad(smollm2Path());
  auto golden = readJsonFile(goldenPath("tokenizer_cases.json"));
  ASSERT_FALSE(golden["decode_only"].empty());
  for (const auto &expected : golden["decode_only"]) {
    auto ids = expected["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(textOf(tokenizer, ids), expected["decoded"]) << expected.dump();
    EXPECT_EQ(streamed(tokenizer, ids), expected["decoded"]) << expected.dump();
  }
}

TEST_F(SmolLm2, KnowsItsSpecialTokens) {
  Tokenizer tokenizer = mustLoad(smollm2Path());
  auto golden = readJsonFile(goldenPath("tokenizer_cases.json"));
  EXPECT_EQ(tokenizer.vocabularySize(), golden["vocab_size"]);
  for (const auto &special : golden["special"]) {
    EXPECT_EQ(*tokenizer.tokenText(special["id"]), special["content"]);
    EXPECT_EQ(textOf(tokenizer, {special["id"].get<int32_t>()}, true), "") << special["content"];
  }
  EXPECT_EQ(textOf(tokenizer, {1000}, true), textOf(tokenizer, {1000}));
  EXPECT_EQ(tokenizer.bos(), 1);
  EXPECT_EQ(tokenizer.eos(), 2);
  EXPECT_FALSE(tokenizer.addBos());
}

TEST_F(SmolLm2, LoadsQuickly) {
  auto begin = std::chrono::steady_clock::now();
  mustLoad(smollm2Path());
  auto took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  EXPECT_LT(took, 1.0); // about 0.05 s on an idle machine
}

} // namespace
