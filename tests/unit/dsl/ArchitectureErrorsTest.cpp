// Errors of the architecture language, at their place inside the TOML.

#include "SpecText.h"

#include "dsl/Architecture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace lorac::dsl;
using namespace lorac::dsl::test;
using testing::ElementsAre;

namespace {

// Lines 1 to 17; the block's graph begins at line 18.
const char *const head = R"(name = "toy"
[hyper]
layers = { type = "integer", default = 1 }
hidden_size = { type = "integer", default = 8 }
vocab_size = { type = "integer", default = 16 }
n_heads = { type = "integer", default = 'hidden_size / 4' }
rms_norm_eps = { type = "number", default = 1e-6 }
rope_theta = { type = "number", default = 1e4 }
[weights]
emb = { kind = "embedding", shape = ['vocab_size', 'hidden_size'], hf = "e", gguf = "e" }
ln = { kind = "norm", shape = ['hidden_size'], hf = "l.{layer}.ln", gguf = "b.{layer}.ln" }
w = { kind = "linear", shape = ['hidden_size', 'hidden_size'], hf = "l.{layer}.w", gguf = "b.{layer}.w" }
up = { kind = "linear", shape = ['3 * hidden_size', 'hidden_size'], hf = "l.{layer}.up", gguf = "b.{layer}.up" }
head_w = { kind = "head", shape = ['vocab_size', 'hidden_size'], hf = "h", gguf = "h" }
[embed]
graph = 'x = embed(ids, emb)'
[block]
)";

std::string toy(const std::string &block,
                const std::string &headGraph = "logits = linear(x, head_w)") {
  return head + ("graph = '''\n" + block) + "'''\n[head]\ngraph = '" + headGraph + "'\n";
}

std::string bindText(const std::string &text) {
  Diagnostics diags;
  auto file = std::make_shared<SourceFile>("a.toml", text);
  std::optional<Architecture> architecture = parseArchitecture(file, diags);
  BoundModel model;
  if (architecture)
    bind(*architecture, {}, {}, model, diags);
  return diags.text();
}

std::vector<std::string> errors(const std::string &text) {
  std::vector<std::string> out;
  std::istringstream lines(bindText(text));
  for (std::string line; std::getline(lines, line);)
    if (line.find(": error: ") != std::string::npos)
      out.push_back(line.substr(7));
  return out;
}

// A block that uses all weights; line 19 of the file is its first.
const std::string rest = "y = silu(linear(x, up))\nx = x + linear(rms_norm(x, ln), w)\n";

std::vector<std::string> block(const std::string &text) { return errors(toy(text)); }

TEST(ArchitectureErrors, Good) {
  EXPECT_EQ(bindText(toy("h = attention(heads(linear(rms_norm(x, ln), w), n_heads), heads(x, 2), "
                         "heads(x, 2), causal)\n"
                         "x = x + 2 * h * n_heads - -h / 4 # a comment\n"
                         "x = linear(\n  (x),\n  w)\n\n")),
            "a.toml:13:1: error: no graph uses the weight 'up'\n"
            "up = { kind = \"linear\", shape = ['3 * hidden_size', 'hidden_size'], hf = "
            "\"l.{layer}.up\", gguf = "
            "\"b.{layer}.up\" }\n^~\n");
}

TEST(ArchitectureErrors, ShapeInsideTheString) {
  EXPECT_EQ(bindText(toy("q = heads(x, n_heads)\nx = x + linear(q, w)\n")),
            "a.toml:20:9: error: linear(x, w) expects [tokens, 8], got [tokens, 2, 4]\n"
            "x = x + linear(q, w)\n"
            "        ^~~~~~~~~~~~\n"
            "a.toml:12:1: note: 'w' is [8, 8]\n");
}

TEST(ArchitectureErrors, Types) {
  EXPECT_THAT(block("x = linear(x, up)\n"),
              ElementsAre("19:1: error: 'x' of [block] must be [tokens, 8], got [tokens, 24]"));
  EXPECT_THAT(
      block("x = x + linear(x, up)\n"),
      ElementsAre(
          "19:5: error: '+' expects two tensors of one shape, got [tokens, 8] and [tokens, 24]"));
  EXPECT_THAT(
      block("x = x + 1\n"),
      ElementsAre(
          "19:5: error: a number and a tensor can only be multiplied: got [tokens, 8] and 1"));
  EXPECT_THAT(block("x = x / x\n"),
              ElementsAre("19:5: error: a tensor is not divided by a tensor"));
  EXPECT_THAT(block("x = x / (2 - 2)\n"), ElementsAre("19:5: error: divides by zero"));
  EXPECT_THAT(block("x = silu(3)\n"),
              ElementsAre("19:10: error: expects a tensor, got the number 3"));
  EXPECT_THAT(block("x = rope(x)\n"),
              ElementsAre("19:10: error: rope expects [tokens, heads, d], got [tokens, 8]"));
  EXPECT_THAT(block("x = rope(heads(x, 8))\n"),
              ElementsAre("19:5: error: rope turns pairs: a head of 1 is odd"));
  EXPECT_THAT(block("x = heads(x, 3)\n"),
              ElementsAre("19:5: error: 8 columns do not divide into 3 heads"));
  EXPECT_THAT(block("x = heads(x, 1.5)\n"),
              ElementsAre("19:14: error: heads(x, count) expects a whole number of heads"));
  EXPECT_THAT(block("x = attention(heads(x, 2), heads(x, 4), heads(x, 4), causal)\n"),
              ElementsAre("19:5: error: attention expects heads of one size, got [tokens, 2, 4] "
                          "and [tokens, 4, 2]"));
  EXPECT_THAT(block("x = attention(heads(x, 2), heads(x, 2), heads(x, 4), causal)\n"),
              ElementsAre("19:5: error: attention expects k and v of one shape, got [tokens, 2, 4] "
                          "and [tokens, 4, 2]"));
  EXPECT_THAT(block("x = attention(heads(x, 2), heads(x, 2), heads(x, 2), full)\n"),
              ElementsAre("19:54: error: attention(q, k, v, causal) is known with 'causal' only"));
}

TEST(ArchitectureErrors, Names) {
  EXPECT_THAT(block("x = x + hh\nhh = 3\n"),
              ElementsAre("19:9: error: nothing is named 'hh' here",
                          "20:6: error: 'hh' would be a number: a statement gives a tensor"));
  EXPECT_THAT(block("x = x + w\n"),
              ElementsAre("19:9: error: 'w' is a weight: it stands in linear(x, w)"));
  EXPECT_THAT(block("x = linear(x, upp)\n"),
              ElementsAre("19:15: error: no weight is named 'upp'; did you mean 'up'?"));
  EXPECT_THAT(block("x = linear(x, x + x)\n"),
              ElementsAre("19:15: error: linear expects the name of a weight"));
  EXPECT_THAT(block("x = linaer(x, w)\n"),
              ElementsAre("19:5: error: no operator is named 'linaer'; did you mean 'linear'?"));
  EXPECT_THAT(block("x = linear(x)\n"),
              ElementsAre("19:5: error: linear(x, W) takes 2 arguments, got 1"));
  EXPECT_THAT(block("x = rms_norm(x, w)\n"),
              ElementsAre("19:17: error: rms_norm does not take 'w', which is of kind \"linear\""));
  EXPECT_THAT(block("w = x\n"),
              ElementsAre("19:1: error: 'w' is the name of a weight: assign to another"));
  EXPECT_THAT(block("x = embed(ids, emb)\n"),
              ElementsAre("19:5: error: embed(ids, W) stands in [embed] and takes 'ids'"));
  EXPECT_THAT(
      block("x = linear(x, head_w)\n"),
      ElementsAre(
          "19:15: error: 'head_w' is one for all layers: [block] needs {layer} in its names"));
  EXPECT_THAT(block("h = silu(x)\n"),
              ElementsAre("19:1: error: [block] never assigns 'x', its result"));
  EXPECT_THAT(block("h = silu(x)\nx = rms_norm(x, ln)\n"),
              ElementsAre("19:5: error: 'h' does not reach the result"));
  // An error in `h` is not repeated where `h` is used.
  EXPECT_THAT(block("h = linear(x, nope)\nx = x + h\nx = x + bad\n"),
              ElementsAre("19:15: error: no weight is named 'nope'",
                          "21:9: error: nothing is named 'bad' here"));
  EXPECT_THAT(errors(toy(rest, "logits = linear(x, w)")),
              ElementsAre("19:5: error: 'y' does not reach the result",
                          "23:29: error: 'w' is one of each layer: only [block] can use it"));
}

TEST(ArchitectureErrors, Syntax) {
  EXPECT_THAT(block("x = linear(x, w\nh = silu(x)\n= 3\nx + 1\nx = 1 2\nx =\n"),
              ElementsAre("20:1: error: expected ',' or ')', got 'h'",
                          "21:1: error: expected a name to assign to, got '='",
                          "22:3: error: expected '=' after 'x', got '+'",
                          "23:7: error: expected the end of the line, got '2'",
                          "24:4: error: expected a value, got the end of the line"));
  EXPECT_THAT(block("x = x ä\n"),
              ElementsAre("19:7: error: expected the end of the line, got 'ä'"));
  EXPECT_EQ(bindText(toy("x = linear((x, w)\n")),
            "a.toml:19:14: error: expected ',' or ')', got ','\n"
            "x = linear((x, w)\n"
            "             ^\n"
            "a.toml:19:12: note: this '(' is not closed\n");
}

TEST(ArchitectureErrors, Tables) {
  auto with = [](const std::string &from, const std::string &to) {
    std::string text = toy(rest);
    text.replace(text.find(from), from.size(), to);
    return errors(text);
  };
  EXPECT_THAT(with("'hidden_size / 4'", "'hidden / 4'"),
              ElementsAre("6:42: error: no symbol is named 'hidden' above this one"));
  EXPECT_THAT(with("'hidden_size / 4'", "'hidden_size / 3'"),
              ElementsAre("6:42: error: 'n_heads' must be a whole number from 1 to 2147483647, got "
                          "2.6666666666666665"));
  EXPECT_THAT(
      with("'hidden_size / 4'", "'heads(2, 3)'"),
      ElementsAre("6:42: error: 'heads' is no part of a size: write symbols, numbers, + - * /"));
  EXPECT_THAT(with("'hidden_size / 4'", "\"\\u0068idden_size\""),
              ElementsAre("6:41: error: write it as a literal string, in ' or ''': escapes would "
                          "move its columns"));
  EXPECT_THAT(with("kind = \"norm\"", "kind = \"nrom\""),
              ElementsAre("11:15: error: 'weights.ln.kind' must be one of linear, embedding, head, "
                          "norm; got \"nrom\"; did "
                          "you mean 'norm'?"));
  EXPECT_THAT(
      with("'3 * hidden_size'", "'3 * hidden_size - 24'"),
      ElementsAre(
          "13:35: error: a size of 'up' must be a whole number from 1 to 2147483647, got 0"));
  EXPECT_THAT(with("gguf = \"b.{layer}.ln\"", "gguf = \"b.ln\""),
              ElementsAre("11:1: error: 'hf' and 'gguf' of 'ln' disagree about {layer}"));
  // Names that would leave the comment, string or folder in which they end up.
  for (const char *name :
       {"\\\"; #include", "$(id)", "../../x/", "a\\nb", "a\\u0000b", "a b", "a\\\\"})
    EXPECT_THAT(with("hf = \"h\"", "hf = \"" + std::string(name) + "\""),
                ElementsAre(testing::HasSubstr("is no name of a tensor: at most 200 letters")))
        << name;
  EXPECT_THAT(with("gguf = \"h\"", "gguf = '" + std::string(1 << 20, 'x') + "'"),
              ElementsAre(testing::AllOf(
                  testing::HasSubstr("xxx…' is no name of a tensor"),
                  testing::ResultOf([](const std::string &text) { return text.size(); },
                                    testing::Lt(300u)))));
  EXPECT_THAT(with("[embed]", "[embedd]"),
              ElementsAre("1:1: error: [embed] is missing",
                          "15:2: error: unknown table 'embedd' of an architecture; did you "
                          "mean 'embed'?"));
  EXPECT_THAT(with("layers = {", "n_layers = {"),
              ElementsAre("1:1: error: [hyper] must describe 'layers'"));
}

} // namespace
