#include "dsl/Diagnostics.h"

#include <gtest/gtest.h>

using namespace lorac::dsl;

namespace {

std::shared_ptr<const SourceFile> file(const std::string &text) {
  return std::make_shared<SourceFile>("a.toml", text);
}

TEST(Diagnostics, RendersCaretRangeAndNotes) {
  auto f = file("[model]\ntarget_modules = [\"q_proj\", \"v_porj\"]\n");
  Diagnostics diags;
  diags.error({f, 2, 29, 2, 37}, "no module is named 'v_porj'").suggest("v_proj");
  Diagnostics both = diags;
  both.error({f, 1, 1, 1, 8}, "first in the file").note({f, 2, 1, 2, 2}, "elsewhere").note("here");
  EXPECT_EQ(both.text(), "a.toml:1:1: error: first in the file\n"
                         "[model]\n"
                         "^~~~~~~\n"
                         "a.toml:2:1: note: elsewhere\n"
                         "a.toml:1:1: note: here\n"
                         "a.toml:2:29: error: no module is named 'v_porj'; did you mean 'v_proj'?\n"
                         "target_modules = [\"q_proj\", \"v_porj\"]\n"
                         "                            ^~~~~~~~\n");
}

TEST(Diagnostics, CaretsLineUpUnderWideCharactersAndTabs) {
  auto f = file("a = \"漢字\" # é\n\tb = 1\n");
  Diagnostics diags;
  diags.error({f, 1, 5, 1, 9}, "wide");
  diags.error({f, 1, 12, 1, 13}, "after wide");
  diags.error({f, 2, 2, 2, 3}, "after a tab");
  EXPECT_EQ(diags.text(), "a.toml:1:5: error: wide\n"
                          "a = \"漢字\" # é\n"
                          "    ^~~~~~\n"
                          "a.toml:1:12: error: after wide\n"
                          "a = \"漢字\" # é\n"
                          "             ^\n"
                          "a.toml:2:2: error: after a tab\n"
                          "\tb = 1\n"
                          "\t^\n");
}

TEST(Diagnostics, LongLinesAreCutAroundTheCaret) {
  auto f = file(std::string(5000, 'x') + "y" + std::string(5000, 'z'));
  Diagnostics diags;
  diags.error({f, 1, 5001, 1, 5002}, "here");
  std::string want = "a.toml:1:5001: error: here\n…" + std::string(60, 'x') + "y" +
                     std::string(99, 'z') + "…\n" + std::string(61, ' ') + "^\n";
  EXPECT_EQ(diags.text(), want);
}

TEST(Diagnostics, InvalidBytesAndRangesBeyondTheLineDoNoHarm) {
  auto f = file("a = \"\xff\xfe\x01\"\n");
  Diagnostics diags;
  diags.error({f, 1, 6, 1, 400}, "bad bytes");
  diags.error({f, 9, 9, 9, 9}, "no such line");
  EXPECT_EQ(diags.text(), "a.toml:1:6: error: bad bytes\na = \"\uFFFD\uFFFD\uFFFD\"\n     ^~~~\n"
                          "a.toml:9:9: error: no such line\n\n^\n");
  EXPECT_NE(diags.json().find("\"line\": 9"), std::string::npos);
}

TEST(Diagnostics, Json) {
  Diagnostics diags;
  diags.error({file("r = 0"), 1, 5, 1, 6}, "rank must be positive, got 0");
  EXPECT_EQ(diags.json(), R"([
  {
    "severity": "error",
    "file": "a.toml",
    "line": 1,
    "column": 5,
    "end_line": 1,
    "end_column": 6,
    "message": "rank must be positive, got 0",
    "notes": []
  }
])");
}

TEST(Diagnostics, Nearest) {
  std::vector<std::string> words = {"q_proj", "v_proj", "gate_proj", "r"};
  EXPECT_EQ(nearest("v_porj", words), "v_proj");
  EXPECT_EQ(nearest("gateproj", words), "gate_proj");
  EXPECT_EQ(nearest("banana", words), "");
  EXPECT_EQ(nearest("", words), "");
}

TEST(Diagnostics, OfAFileWithoutAPlace) {
  Diagnostics diags;
  diags.error({std::make_shared<SourceFile>("config.json", "", Origin::Model), 0, 0, 0, 0},
              "no 'hidden_size'");
  EXPECT_EQ(diags.text(), "config.json: error: no 'hidden_size'\n");
}

} // namespace
