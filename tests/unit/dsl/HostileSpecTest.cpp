// Texts that break parsers: one message each, no crash, no long wait.

#include "SpecText.h"

#include "dsl/Architecture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace lorac::dsl;
using namespace lorac::dsl::test;
using testing::ElementsAre;

namespace {

std::string repeat(const std::string &text, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i)
    out += text;
  return out;
}

TEST(HostileSpec, Syntax) {
  EXPECT_THAT(messages("a = "),
              ElementsAre("1:5: error: not TOML: encountered end-of-file (in a key-value pair)"));
  EXPECT_THAT(
      messages("a = 1\na = 2\n"),
      ElementsAre(
          "2:5: error: not TOML: cannot redefine existing integer 'a' (in a key-value pair)"));
  EXPECT_THAT(messages("[train\n"),
              ElementsAre("1:7: error: not TOML: expected ']', saw '\\n' (in a table header)"));
  EXPECT_THAT(messages("[train]\nsteps = bare\n"),
              ElementsAre("2:9: error: not TOML: could not determine value type (in a value)"));
  EXPECT_THAT(messages("r = 99999999999999999999\n"),
              ElementsAre("1:25: error: not TOML: '99999999999999999999' is not representable in "
                          "64 bits (in a decimal "
                          "integer)"));
  EXPECT_EQ(messages(std::string("a = 1\n\0b", 8)).size(), 1u);
}

// toml++ 3.3 asserts on these, or reaches what it says cannot be reached.
TEST(HostileSpec, TextsThatTripTheLibrary) {
  for (const char *text : {"[=]", "[[=", "é = 1", "a = +.'fa=é", "a = [é", "a = _", "a = ,"}) {
    Diagnostics diags;
    parse(text, diags);
    EXPECT_EQ(diags.errors(), 1u) << text << "\n" << diags.text();
  }
}

TEST(HostileSpec, NotUtf8) {
  EXPECT_THAT(messages("[model]\nsource = \"\xff\"\n"), ElementsAre("2:11: error: not UTF-8 text"));
  EXPECT_THAT(messages("# \xc0\xaf\n"), ElementsAre("1:3: error: not UTF-8 text"));
  EXPECT_THAT(messages("# \xed\xa0\x80\n"), ElementsAre("1:3: error: not UTF-8 text"));
}

TEST(HostileSpec, DeepNesting) {
  EXPECT_THAT(
      messages("a = " + repeat("[", 100000)),
      ElementsAre(
          "1:261: error: not TOML: exceeded maximum nested value depth of 256 (in a value)"));
  EXPECT_EQ(messages("a = " + repeat("{a=", 100000)).size(), 1u);
  EXPECT_THAT(messages(repeat("a.", 100000) + "a = 1"),
              ElementsAre("1:1: error: a key has more than 32 parts"));
  EXPECT_THAT(messages("\n[" + repeat("\"a\" . ", 100000) + "a]"),
              ElementsAre("2:1: error: a key has more than 32 parts"));
  // Dots in strings, comments and numbers are none of a key's.
  EXPECT_TRUE(messages(good("# " + repeat(".", 100) + "\noutput_dir = \"" + repeat("../", 50) +
                            "x\\\"..\"\n"))
                  .empty());
  EXPECT_TRUE(messages(good("output_dir = '''\n" + repeat(".'.", 50) + "x'''\n")).empty());
}

TEST(HostileSpec, LongStrings) {
  std::string text(1 << 20, 'x');
  EXPECT_THAT(
      messages(good("[quantization]\nformat = '" + text + "'")),
      ElementsAre("8:10: error: 'quantization.format' must be one of none, keep, nf4, fp4; got \"" +
                  std::string(60, 'x') + "…\""));
  EXPECT_EQ(messages(good(text + " = 1")).size(), 1u);
  Diagnostics diags;
  parse(good("[adapter]\ntarget_modules = '" + text + "'"), diags);
  EXPECT_LT(diags.text().size(), 2000u);
  EXPECT_THAT(messages(diags),
              ElementsAre("8:18: error: '" + std::string(60, 'x') +
                          "…' is not a regular expression: it is longer than 4096 bytes"));
}

TEST(HostileSpec, ByteOrderMarkAndLineEnds) {
  EXPECT_TRUE(messages("\xEF\xBB\xBF" + good()).empty());
  EXPECT_THAT(messages("\xEF\xBB\xBFx = 1\n" + good()),
              ElementsAre("1:1: error: unknown key 'x' of a spec"));
  EXPECT_THAT(messages("[model]\r\nsource = 3\r\n" + std::string(Data) + Train),
              ElementsAre("2:10: error: 'model.source' must be a string, got 3"));
}

TEST(HostileSpec, NamesAreEscapedInMessages) {
  EXPECT_THAT(messages(good("[adapter]\n\"a\\nb\\u001b[31m\" = 1")),
              ElementsAre("8:1: error: unknown key 'a\\nb\\x1b[31m' in [adapter]"));
}

TEST(HostileSpec, RunawayPatternsEnd) {
  Diagnostics diags;
  Spec spec = parse(good("[adapter]\ntarget_modules = '(a+)+$'"), diags);
  resolveAdapters(spec, {"model." + std::string(2000, 'a') + "!"}, diags);
  EXPECT_THAT(messages(diags), ElementsAre("8:18: error: no module matches '(a+)+$'"));
  Diagnostics more;
  Spec ranks = parse(good("[adapter]\nrank_pattern = { '(a+)+$' = 2 }"), more);
  resolveAdapters(ranks, {"model." + std::string(2000, 'a') + "!"}, more);
  ASSERT_EQ(more.errors(), 1u);
  EXPECT_THAT(messages(more)[0],
              testing::StartsWith("8:18: error: the pattern '(a+)+$' takes too much effort: match "
                                  "limit exceeded at 'model.aaa"));
}

TEST(HostileSpec, TruncatedAnywhere) {
  std::string text = good(
      "[adapter]\ntarget_modules = [\"q_proj\", 'v']\n[[adapter.rule]]\nmodules = 'x'\nr = 3\n");
  for (size_t size = 0; size < text.size(); ++size)
    messages(text.substr(0, size));
}

TEST(HostileArchitecture, DeepAndLongGraphs) {
  auto graph = [](const std::string &text) {
    Diagnostics diags;
    auto file = std::make_shared<SourceFile>("g", text);
    parseGraph({text, {file, 1, 1, 1, 1}}, diags);
    return diags.text().substr(0, diags.text().find('\n'));
  };
  EXPECT_EQ(graph("x = " + repeat("(", 100000)),
            "g:1:69: error: the expression is nested more than 64 deep");
  EXPECT_EQ(graph("x = " + repeat("silu(", 100000)),
            "g:1:329: error: the expression is nested more than 64 deep");
  EXPECT_EQ(graph("x = " + repeat("-", 100000) + "x"),
            "g:1:69: error: the expression is nested more than 64 deep");
  EXPECT_EQ(graph("x = x" + repeat(" + x", 100000)),
            "g:1:5: error: the expression has more than 1000 parts");
  EXPECT_EQ(graph("x = 1e999"), "g:1:5: error: the number 1e999 is out of range");
  EXPECT_EQ(graph("x = \xff\xff"), "g:1:5: error: expected a value, got '\\xff'");
}

} // namespace
