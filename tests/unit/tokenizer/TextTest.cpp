// Texts and ids at their limits: ill-formed UTF-8, long runs, unknown ids, streams.
#include "tests/unit/tokenizer/GgufVocabulary.h"

#include <sys/mman.h>

#include <ctime>

using namespace lorac;
using namespace lorac::testing;
using ::testing::HasSubstr;

namespace {

Tokenizer byteLevel() { return mustLoad(byteLevelVocabulary().write("bytes.gguf")); }
Tokenizer sentencePiece() { return mustLoad(sentencePieceVocabulary().write("spm.gguf")); }

TEST(Text, IllFormedUtf8IsRefusedWithItsOffset) {
  for (const Tokenizer &tokenizer : {byteLevel(), sentencePiece()})
    for (const char *bad : {"\xff", "\x80", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80",
                            "\xf4\x90\x80\x80", "\xf0\x9f\x98", "\xc3"}) {
      auto ids = tokenizer.encode("0123456789" + std::string(bad));
      ASSERT_FALSE(ids);
      EXPECT_EQ(ids.error().code, Exit::Refused);
      EXPECT_THAT(ids.error().message, HasSubstr("not UTF-8 at byte 10"));
    }
}

TEST(Text, TextsOfTwoGibibytesAreRefused) {
  size_t size = size_t{1} << 31;
  void *memory = mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto ids = byteLevel().encode({static_cast<const char *>(memory), size});
  EXPECT_FALSE(ids);
  munmap(memory, size);
}

TEST(Text, UnknownIdsAreRefused) {
  for (const Tokenizer &tokenizer : {byteLevel(), sentencePiece()})
    for (int32_t bad :
         {-1, static_cast<int32_t>(tokenizer.vocabularySize()), INT32_MAX, INT32_MIN}) {
      std::vector<int32_t> ids = {5, bad};
      auto text = tokenizer.decode(ids);
      ASSERT_FALSE(text);
      EXPECT_THAT(text.error().message, HasSubstr("id " + std::to_string(bad) + " at place 1"));
      EXPECT_FALSE(tokenizer.tokenText(bad));
      StreamDecoder decoder(tokenizer);
      EXPECT_FALSE(decoder.push(bad));
      EXPECT_TRUE(decoder.push(5)); // goes on
    }
}

/// Processor time grows about as the text does.
TEST(Text, TimeIsNearlyLinear) {
  auto secondsFor = [](const Tokenizer &tokenizer, const std::string &text) {
    std::clock_t begin = std::clock();
    EXPECT_FALSE(idsOf(tokenizer, text).empty());
    return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  };
  std::string marks;
  for (int i = 0; i < 100'000; ++i)
    marks += "\u0301\u0323";
  for (const char *pre : {"gpt-2", "llama-bpe", "qwen2", "tekken", "deepseek-llm", "default"}) {
    GgufVocabulary vocabulary = byteLevelVocabulary();
    vocabulary.pre = pre;
    Tokenizer tokenizer = mustLoad(vocabulary.write("bytes.gguf"));
    for (const std::string &unit :
         {std::string("a"), std::string(" "), std::string("1"), std::string("\n"), std::string("!"),
          std::string("aB"), std::string(" \t"), std::string("\u0301")}) {
      std::string text;
      while (text.size() < 300'000)
        text += unit;
      double small = secondsFor(tokenizer, text.substr(0, 30'000) + "x");
      double large = secondsFor(tokenizer, text + "x");
      EXPECT_LT(large, 15 * small + 0.5) << pre << " '" << unit << "'";
      EXPECT_LT(large, 8.0) << pre << " '" << unit << "'";
    }
    EXPECT_LT(secondsFor(tokenizer, marks), 8.0) << pre;
  }
  EXPECT_LT(secondsFor(sentencePiece(), std::string(1'000'000, 'a')), 8.0);
}

TEST(Stream, HoldsBackIncompleteCharacters) {
  Tokenizer tokenizer = byteLevel();
  auto ids = idsOf(tokenizer, "\xf0\x9f\x98\x80!");
  ASSERT_EQ(ids.size(), 5u); // four bytes, one token each, and '!'
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(*decoder.push(ids[0]), "");
  EXPECT_EQ(*decoder.push(ids[1]), "");
  EXPECT_EQ(*decoder.push(ids[2]), "");
  EXPECT_EQ(*decoder.push(ids[3]), "\xf0\x9f\x98\x80");
  EXPECT_EQ(*decoder.push(ids[4]), "!");
  EXPECT_EQ(*decoder.push(ids[0]), "");
  EXPECT_EQ(*decoder.push(ids[4]), "\xef\xbf\xbd!"); // the character never came
  EXPECT_EQ(*decoder.push(ids[0]), "");
  EXPECT_EQ(*decoder.finish(), "\xef\xbf\xbd");
  EXPECT_EQ(*decoder.finish(), "");
  for (int i = 0; i < 500; ++i) // a broken stream is given out, not kept
    ASSERT_TRUE(decoder.push(ids[0]));
}

TEST(Stream, StripsOnlyTheFirstSpace) {
  Tokenizer tokenizer = sentencePiece();
  auto ids = idsOf(tokenizer, "the kernel the kernel");
  EXPECT_EQ(streamed(tokenizer, ids), "the kernel the kernel");
  EXPECT_EQ(streamed(tokenizer, idsOf(tokenizer, "  x  y")), "  x  y");
}

} // namespace
