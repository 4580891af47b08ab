// A real SentencePiece-type vocabulary in both of its files, on a whole corpus.
#include "tests/unit/tokenizer/Support.h"

using namespace lorac;
using namespace lorac::testing;

namespace {

TEST(Stories260k, BothFilesAgreeOnTinyshakespeare) {
  std::string folder = sharedPath("stories260k");
  if (!std::filesystem::exists(folder))
    GTEST_SKIP() << folder << " is absent";
  Tokenizer json = mustLoad(folder);
  Tokenizer gguf = mustLoad(folder + "/stories260k-f16.gguf");
  std::string corpus = readFile(sharedPath("corpora/tinyshakespeare.txt"));
  auto ids = idsOf(json, corpus);
  EXPECT_EQ(idsOf(gguf, corpus), ids);
  // Counted and summed over the ids of PyPI sentencepiece 0.2.3, which tokenizers 0.23.3 equals.
  EXPECT_EQ(ids.size(), 693363u);
  uint64_t sum = 0;
  for (size_t i = 0; i < ids.size(); ++i)
    sum = sum * 31 + static_cast<uint64_t>(ids[i]);
  EXPECT_EQ(sum, 5595324883020175830u);
  EXPECT_EQ(textOf(json, ids), corpus);
  EXPECT_EQ(textOf(gguf, ids), corpus);
  EXPECT_EQ(json.bos(), gguf.bos());
  EXPECT_EQ(json.eos(), gguf.eos());
  EXPECT_TRUE(json.addBos() && gguf.addBos());
}

} // namespace
