// The regex dialect of tokenizer files; expected pieces by Oniguruma through tokenizers 0.23.3.
#include "runtime/tokenizer/Regex.h"
#include "runtime/tokenizer/RegexSyntax.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace lorac;
using namespace lorac::tok;

namespace {

/// Matches and what lies between them, none empty.
std::vector<std::string> pieces(const std::string &pattern, const std::string &text) {
  auto regex = Regex::compile(pattern);
  EXPECT_TRUE(regex) << (regex ? "" : regex.error().message);
  std::vector<std::string> out;
  Searcher searcher(*regex, text.size());
  searcher.start(text);
  size_t last = 0;
  auto add = [&](size_t begin, size_t end) {
    if (begin < end)
      out.push_back(text.substr(begin, end - begin));
  };
  for (Span span;;) {
    auto found = searcher.next(span);
    EXPECT_TRUE(found);
    if (!found || !*found)
      break;
    add(last, span.begin);
    add(span.begin, span.end);
    last = span.end;
  }
  add(last, text.size());
  return out;
}

using Strings = std::vector<std::string>;

TEST(Regex, ReadsOnigurumasDialect) {
  EXPECT_EQ(pieces("a$", "a\nba"), (Strings{"a", "\nb", "a"}));
  EXPECT_EQ(pieces("^b", "a\nba"), (Strings{"a\n", "b", "a"}));
  EXPECT_EQ(pieces(R"(\s+)", "a\u180eb\x0b"
                             "c\u0085d\x1c"
                             "e"),
            (Strings{"a\u180eb", "\x0b", "c", "\u0085",
                     "d\x1c"
                     "e"}));
  EXPECT_EQ(pieces(R"(\S+)", "a\u180e b"), (Strings{"a\u180e", " ", "b"}));
  EXPECT_EQ(pieces(R"(\w+)", "a\u0301\u24d0\u0661\u2167\u00b2_\u203fx"),
            (Strings{"a\u0301\u24d0\u0661\u2167", "\u00b2", "_\u203fx"}));
  EXPECT_EQ(pieces(R"(\d+)", "1\u0662\u00b2"), (Strings{"1\u0662", "\u00b2"}));
  EXPECT_EQ(pieces(R"((?=(\d{3})+(?!\d)))", "1234567a12"), (Strings{"1", "234", "567a12"}));
  EXPECT_EQ(pieces(R"([\p{L}&&[^\p{Han}]]+)", "ab\u4e00c"), (Strings{"ab", "\u4e00", "c"}));
  EXPECT_EQ(pieces("a{1,2}+", "aaaaa"), (Strings{"aaaaa"}));
  EXPECT_EQ(pieces("(?i:'s)", "'\u017f'S"), (Strings{"'\u017f", "'S"}));
  EXPECT_EQ(pieces("[a[bc]]+", "xabcy"), (Strings{"x", "abc", "y"}));
  EXPECT_EQ(pieces("x*", "axxb"), (Strings{"a", "xx", "b"}));
  EXPECT_EQ(pieces(R"(\h+)", "a g1"), (Strings{"a", " g", "1"}));
  EXPECT_EQ(pieces("\u4e00"
                   R"(\u4e01)",
                   "\u4e00\u4e01"),
            (Strings{"\u4e00\u4e01"}));
  EXPECT_EQ(pieces(R"([^(\s|.,!?]+)", "ab (c|d.e"), (Strings{"ab", " (", "c", "|", "d", ".", "e"}));
  EXPECT_EQ(pieces("(?m:.+)", "a\nb"), (Strings{"a\nb"}));
  EXPECT_EQ(pieces(".+", "a\nb"), (Strings{"a", "\n", "b"}));
  EXPECT_EQ(pieces("[[:punct:]]", "a!b$c"), (Strings{"a", "!", "b", "$", "c"}));
  EXPECT_EQ(pieces(R"([^\P{L}]+)", "a12b"), (Strings{"a", "12", "b"}));
  EXPECT_EQ(pieces(R"([\W&&[^ ]]+)", "a,; b"), (Strings{"a", ",;", " b"}));
  EXPECT_EQ(pieces("[]a]+", "a]b"), (Strings{"a]", "b"}));
  EXPECT_EQ(pieces("a{,2}", "aaab"), (Strings{"aa", "a", "b"}));
  EXPECT_EQ(pieces(R"(\bfoo)", "foo afoo"), (Strings{"foo", " afoo"}));
  EXPECT_EQ(pieces(R"(\d{1,3}(?=(?:\d{3})*\b))", "1237\u06d8"), (Strings{"1237\u06d8"}));
  EXPECT_EQ(pieces(R"(o\B)", "foo"), (Strings{"f", "o", "o"}));
  EXPECT_EQ(pieces("a{,", "xa{,y"), (Strings{"x", "a{,", "y"}));
}

/// U+2EBF0 (a letter since Unicode 15.1) and U+11F50 (a digit since 15) are newer than PCRE2's
/// tables.
TEST(Regex, KnowsCharactersOfUnicode16) {
  EXPECT_EQ(pieces(R"(\p{L}+)", "1a\U0002ebf0 "), (Strings{"1", "a\U0002ebf0", " "}));
  EXPECT_EQ(pieces(R"([^\s\p{L}\p{N}]+)", "!\U0002ebf0\U00011f50?"),
            (Strings{"!", "\U0002ebf0\U00011f50", "?"}));
  EXPECT_EQ(pieces(R"(\P{L}+)", "a1\U0002ebf0"), (Strings{"a", "1", "\U0002ebf0"}));
  EXPECT_EQ(pieces(R"([\P{L}x]+)", "a1x\U0002ebf0"), (Strings{"a", "1x", "\U0002ebf0"}));
  EXPECT_EQ(pieces(R"(\p{^Nd}+)", "a\U00011f50"), (Strings{"a", "\U00011f50"}));
  EXPECT_EQ(pieces(R"(\d+)", "a\U00011f50"), (Strings{"a", "\U00011f50"}));
}

TEST(Regex, SaysWhereAPatternFails) {
  EXPECT_THAT(Regex::compile("(").error().message, ::testing::HasSubstr("pattern '('"));
  EXPECT_THAT(Regex::compile("[a&&]").error().message, ::testing::HasSubstr("empty operand"));
  EXPECT_THAT(Regex::compile("\xff").error().message, ::testing::HasSubstr("not UTF-8"));
}

} // namespace
