// `lorac tokenize`: lines of JSON in, lines of ids out, and a listing for readers.
#include "runtime/tokenizer/TokenizeCommand.h"
#include "tests/unit/tokenizer/GgufVocabulary.h"

#include <sstream>

using namespace lorac;
using namespace lorac::testing;
using ::testing::HasSubstr;

namespace {

struct Outcome {
  int code;
  std::string out;
  std::string err;
};

Outcome tokenize(const std::string &input, bool json) {
  std::istringstream in(input);
  std::ostringstream out;
  std::ostringstream err;
  int code = runTokenize(byteLevelVocabulary().write("bytes.gguf"), json, in, out, err);
  return {code, out.str(), err.str()};
}

TEST(TokenizeCommand, AnswersEachLineOfJson) {
  Tokenizer tokenizer = mustLoad(byteLevelVocabulary().write("bytes.gguf"));
  std::string expected;
  for (const char *text : {"the kernel", "", "a\nb\xc3\xa9<|end|>"})
    expected += nlohmann::json(idsOf(tokenizer, text)).dump() + "\n";
  Outcome outcome = tokenize("\"the kernel\"\n \"\" \r\n\"a\\nb\\u00e9<|end|>\"\n", true);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  std::string compact;
  std::copy_if(outcome.out.begin(), outcome.out.end(), std::back_inserter(compact),
               [](char c) { return c != ' '; });
  EXPECT_EQ(compact, expected);
  EXPECT_EQ(outcome.err, "");
}

TEST(TokenizeCommand, StopsAtALineThatIsNoString) {
  for (const char *bad : {"3", "[\"a\"]", "", "\"a", "\"\\ud800\"", "\"a\" \"b\"", "\"\xff\""}) {
    Outcome outcome = tokenize("\"a\"\n" + std::string(bad) + "\n\"b\"\n", true);
    EXPECT_EQ(outcome.code, 3) << bad;
    EXPECT_THAT(outcome.err, HasSubstr("error: line 2: expected one JSON string"));
    EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 1);
  }
}

TEST(TokenizeCommand, ListsTokens) {
  Outcome outcome = tokenize("!\"<|end|>", false);
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out, "1\t\"!\"\n2\t\"\\\"\"\n0\t\"<|end|>\"\n");
  EXPECT_EQ(outcome.err, "3 tokens of 9 bytes\n");
  EXPECT_EQ(tokenize("ok\xff", false).code, 3);
}

TEST(TokenizeCommand, NamesAModelThatIsMissing) {
  std::istringstream in;
  std::ostringstream out;
  std::ostringstream err;
  EXPECT_EQ(runTokenize("/no/such.gguf", true, in, out, err), 1);
  EXPECT_THAT(err.str(), HasSubstr("/no/such.gguf"));
}

} // namespace
