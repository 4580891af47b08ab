// A text that is cut has the ids of the whole, wherever a tokenizer allows the cut.
#include "tests/unit/tokenizer/Support.h"

#include "runtime/tokenizer/Cut.h"
#include "runtime/tokenizer/Vocabulary.h"

#include <random>

using namespace lorac;
using namespace lorac::testing;

namespace {

/// Words, spaces, digits, marks, line ends and other scripts, as a seed draws them.
std::string drawnText(uint32_t seed, size_t items) {
  static const std::vector<std::string> parts = {
      "word",      "a",        "I",  "it's", "THE", " ",  " ",    " ", "  ", "\n",
      "\n\n",      "\t",       ".",  ",",    "!?",  "42", "1234", "é", "ﬁ",  "日本",
      "e\xcc\x81", "\xcc\x81", "'s", "<s>",  "▁",   "x1", " y",   "z "};
  std::mt19937 draw(seed);
  std::string text;
  for (size_t i = 0; i < items; ++i)
    text += parts[draw() % parts.size()];
  return text;
}

/// The ids of `text` in parts of at most `most` bytes.
std::vector<int32_t> inParts(const Tokenizer &tokenizer, std::string_view text, size_t most,
                             size_t &cuts) {
  std::vector<int32_t> ids;
  for (bool continues = false;; continues = true) {
    size_t at = text.size() > most ? tokenizer.lastCut(text.substr(0, most)) : 0;
    auto part = tokenizer.encode(at ? text.substr(0, at) : text, Specials::AsTokens, continues);
    EXPECT_TRUE(part);
    ids.insert(ids.end(), part->begin(), part->end());
    if (at == 0)
      return ids;
    text.remove_prefix(at);
    ++cuts;
  }
}

void compare(const Tokenizer &tokenizer, const std::string &name) {
  size_t cuts = 0;
  for (uint32_t seed = 0; seed < 200; ++seed) {
    const std::string text = drawnText(seed, 120);
    EXPECT_EQ(inParts(tokenizer, text, 40, cuts), idsOf(tokenizer, text)) << name << ": " << text;
  }
  EXPECT_GT(cuts, 50u) << name << " is cut";
}

TEST(Cut, Stories260k) {
  std::string folder = sharedPath("stories260k");
  if (!std::filesystem::exists(folder))
    GTEST_SKIP() << folder << " is absent";
  compare(mustLoad(folder), "tokenizer.json");
  compare(mustLoad(folder + "/stories260k-f16.gguf"), "GGUF");
}

TEST(Cut, SmolLm2) {
  if (smollm2Path().empty())
    GTEST_SKIP() << "SmolLM2 is absent";
  compare(mustLoad(smollm2Path()), "SmolLM2");
}

TEST(Cut, LastPlace) {
  EXPECT_EQ(tok::lastCut("ab cd ef"), 5u);
  EXPECT_EQ(tok::lastCut("ab cd "), 2u) << "what follows must be there";
  EXPECT_EQ(tok::lastCut("ab  cd"), 0u);
  EXPECT_EQ(tok::lastCut(" ab"), 0u);
  EXPECT_EQ(tok::lastCut("ab, 12 cd\nef"), 0u);
  EXPECT_EQ(tok::lastCut(""), 0u);
}

tok::VocabularyData gpt2() {
  tok::VocabularyData data;
  tok::PreTokenizer bytes{};
  bytes.kind = tok::PreTokenizer::Kind::ByteLevel;
  bytes.useRegex = true;
  data.preTokenizers = {bytes};
  return data;
}

TEST(Cut, OnlyWhereItIsProved) {
  EXPECT_TRUE(tok::cutsAtSpaces(gpt2(), false));
  tok::VocabularyData data = gpt2();
  data.added.push_back({0, "two words", true});
  EXPECT_FALSE(tok::cutsAtSpaces(data, false)) << "a token across the cut";
  data = gpt2();
  data.added.push_back({0, "<mask>", true});
  data.added.back().rstrip = true;
  EXPECT_FALSE(tok::cutsAtSpaces(data, false)) << "a token that takes the space";
  data = gpt2();
  tok::Normalizer strip{tok::Normalizer::Kind::Strip, {}, "", true, true};
  data.normalizers = {strip};
  EXPECT_FALSE(tok::cutsAtSpaces(data, false));
  data = gpt2();
  data.preTokenizers[0].useRegex = false;
  EXPECT_FALSE(tok::cutsAtSpaces(data, false)) << "merges may go over spaces";
  data = gpt2();
  tok::PreTokenizer split{};
  split.kind = tok::PreTokenizer::Kind::Split;
  split.pattern.regex = *tok::Regex::compile(R"(\p{L}+(?: \p{L}+)*)");
  data.preTokenizers.insert(data.preTokenizers.begin(), split);
  EXPECT_FALSE(tok::cutsAtSpaces(data, false)) << "a pattern that is not known";
}

} // namespace
