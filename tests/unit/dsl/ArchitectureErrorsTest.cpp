// Errors of the architecture language, at their place inside the TOML.

#include "SpecText.h"

#include "dsl/Architecture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace lorac::dsl;
using namespace lorac::dsl::test;
using testing::ElementsAre;

namespace {

// Lines 1 to 21; the block's graph begins at line 22.
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
row = { kind = "row", shape = ['hidden_size'], hf = "l.{layer}.b", gguf = "b.{layer}.b" }
[rope.turns]
dim = 4
theta = 'rope_theta'
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

// A block that uses all weights; line 23 of the file is its first.
const std::string rest =
    "y = silu(linear(x, up))\nx = x + linear(rms_norm(x, ln, rms_norm_eps), w) + row\n";

std::vector<std::string> block(const std::string &text) { return errors(toy(text)); }

TEST(ArchitectureErrors, Good) {
  EXPECT_EQ(
      bindText(toy(
          "h = attention(heads(linear(rms_norm(x, ln, rms_norm_eps), w), n_heads), heads(x, 2), "
          "heads(x, 2), causal, scale = 1 / sqrt(4), window = (3 > 2) * 7 % 4, "
          "softcap = 30)\n"
          "x = x + 2 * h * n_heads - -h / 4 + row # a comment\n"
          "x = 1 - gelu(x) * 2 / exp(1)\n"
          "x = linear(\n  (x),\n  w)\n\n")),
      "a.toml:13:1: error: no graph uses the weight 'up'\n"
      "up = { kind = \"linear\", shape = ['3 * hidden_size', 'hidden_size'], hf = "
      "\"l.{layer}.up\", gguf = "
      "\"b.{layer}.up\" }\n^~\n");
}

TEST(ArchitectureErrors, ShapeInsideTheString) {
  EXPECT_EQ(bindText(toy("q = heads(x, n_heads)\nx = x + linear(q, w)\n")),
            "a.toml:24:9: error: linear(x, w) expects [tokens, 8], got [tokens, 2, 4]\n"
            "x = x + linear(q, w)\n"
            "        ^~~~~~~~~~~~\n"
            "a.toml:12:1: note: 'w' is [8, 8]\n");
}

TEST(ArchitectureErrors, Types) {
  EXPECT_THAT(block("x = linear(x, up)\n"),
              ElementsAre("23:1: error: 'x' of [block] must be [tokens, 8], got [tokens, 24]"));
  EXPECT_THAT(
      block("x = x + linear(x, up)\n"),
      ElementsAre(
          "23:5: error: expects two tensors of one shape, or a tensor and a row as long, got "
          "[tokens, 8] and [tokens, 24]"));
  EXPECT_THAT(block("x = x < x\n"),
              ElementsAre("23:5: error: tensors have + - * /; the others are of numbers"));
  EXPECT_THAT(block("x = linear(x, up) + row\n"),
              ElementsAre("23:5: error: expects two tensors of one shape, or a tensor and a row as "
                          "long, got [tokens, 24] and [8]"));
  EXPECT_THAT(block("x = row * 2\n"),
              ElementsAre("23:5: error: a row for all tokens stands beside a tensor"));
  EXPECT_THAT(block("x = linear(row, w)\n"),
              ElementsAre("23:12: error: expects a tensor, got a row for all tokens"));
  EXPECT_THAT(block("x = x / (2 - 2)\n"), ElementsAre("23:5: error: divides by zero"));
  EXPECT_THAT(block("x = x * 1e300\n"),
              ElementsAre("23:9: error: the number 1e+300 is no finite one in float32, in which "
                          "kernels compute"));
  EXPECT_THAT(
      block("x = (0 - 1e-60) * x\n"),
      ElementsAre("23:5: error: the number -1e-60 is 0 in float32, in which kernels compute"));
  EXPECT_THAT(block("x = x + log(0 - 1)\n"),
              ElementsAre(testing::HasSubstr("is no finite one in float32")));
  EXPECT_THAT(
      block("x = rms_norm(x, ln, 1e-60)\n"),
      ElementsAre("23:21: error: the number 1e-60 is 0 in float32, in which kernels compute"));
  EXPECT_THAT(
      block("x = linear(silu(3), w)\n"),
      ElementsAre(testing::StartsWith("23:12: error: expects a tensor, got the number 2.8")));
  EXPECT_THAT(block("x = rope(x, turns)\n"),
              ElementsAre("23:10: error: rope expects [tokens, heads, d], got [tokens, 8]"));
  EXPECT_THAT(block("x = rope(heads(x, 4), turns)\n"),
              ElementsAre("23:5: error: [rope.turns] turns heads of 4, got [tokens, 4, 2]"));
  EXPECT_THAT(block("x = rope(heads(x, 2), turn)\n"),
              ElementsAre("23:23: error: rope(x, frequencies) expects the name of a [rope.NAME] of "
                          "this file; did you mean 'turns'?"));
  EXPECT_THAT(block("x = heads(x, 3)\n"),
              ElementsAre("23:5: error: 8 columns do not divide into 3 heads"));
  EXPECT_THAT(block("x = heads(x, 1.5)\n"),
              ElementsAre("23:14: error: heads(x, count) expects a whole number of heads"));
  EXPECT_THAT(block("x = attention(heads(x, 2), heads(x, 4), heads(x, 4), causal, scale = 1)\n"),
              ElementsAre("23:5: error: attention expects heads of one size, got [tokens, 2, 4] "
                          "and [tokens, 4, 2]"));
  EXPECT_THAT(block("x = attention(heads(x, 2), heads(x, 2), heads(x, 4), causal, scale = 1)\n"),
              ElementsAre("23:5: error: attention expects k and v of one shape, got [tokens, 2, 4] "
                          "and [tokens, 4, 2]"));
  EXPECT_THAT(block("x = attention(heads(x, 2), heads(x, 2), heads(x, 2), full)\n"),
              ElementsAre("23:54: error: attention(q, k, v, causal) is known with 'causal' only"));
  const std::string three = "x = attention(heads(x, 2), heads(x, 2), heads(x, 2), causal";
  EXPECT_THAT(
      block(three + ")\n"),
      ElementsAre("23:5: error: attention needs 'scale', as in scale = 1 / sqrt(head_dim)"));
  EXPECT_THAT(block(three + ", scale = 0)\n"),
              ElementsAre("23:70: error: 'scale' is a positive number"));
  EXPECT_THAT(block(three + ", scale = 1, window = 1.5)\n"),
              ElementsAre("23:82: error: 'window' is a whole number of keys"));
  EXPECT_THAT(block(three + ", scale = 1, windw = 2)\n"),
              ElementsAre(testing::EndsWith("has no 'windw'")));
  EXPECT_THAT(block(three + ", scale = 1, scale = 2)\n"),
              ElementsAre("23:70: error: 'scale' is given twice"));
}

TEST(ArchitectureErrors, Names) {
  EXPECT_THAT(block("x = x + hh\nhh = 3\n"),
              ElementsAre("23:9: error: nothing is named 'hh' here",
                          "24:6: error: 'hh' would be a number: a statement gives a tensor"));
  EXPECT_THAT(block("x = x + w\n"),
              ElementsAre("23:9: error: 'w' is a weight: it stands in linear(x, w)"));
  EXPECT_THAT(block("x = linear(x, upp)\n"),
              ElementsAre("23:15: error: no weight is named 'upp'; did you mean 'up'?"));
  EXPECT_THAT(block("x = linear(x, x + x)\n"),
              ElementsAre("23:15: error: linear expects the name of a weight"));
  EXPECT_THAT(block("x = linaer(x, w)\n"),
              ElementsAre("23:5: error: no operator is named 'linaer'; did you mean 'linear'?"));
  EXPECT_THAT(block("x = linear(x)\n"),
              ElementsAre("23:5: error: linear(x, W) takes 2 arguments, got 1"));
  EXPECT_THAT(block("x = silu(x, x)\n"),
              ElementsAre("23:5: error: silu(x) takes 1 argument, got 2"));
  EXPECT_THAT(
      block("x = silu(y = x)\n"),
      ElementsAre("23:5: error: silu(x) takes its argument without a name: leave out 'y ='"));
  EXPECT_THAT(block("x = rms_norm(x, w, 1)\n"),
              ElementsAre("23:17: error: rms_norm does not take 'w', which is of kind \"linear\""));
  EXPECT_THAT(block("x = rms_norm(x, ln, 0)\n"),
              ElementsAre("23:21: error: eps of rms_norm is a positive number"));
  EXPECT_THAT(block("w = x\n"),
              ElementsAre("23:1: error: 'w' is the name of a weight: assign to another"));
  EXPECT_THAT(block("x = embed(ids, emb)\n"),
              ElementsAre("23:5: error: embed(ids, W) stands in [embed] and takes 'ids'"));
  EXPECT_THAT(
      block("x = linear(x, head_w)\n"),
      ElementsAre(
          "23:15: error: 'head_w' is one for all layers: [block] needs {layer} in its names"));
  EXPECT_THAT(block("h = silu(x)\n"),
              ElementsAre("23:1: error: [block] never assigns 'x', its result"));
  EXPECT_THAT(block("h = silu(x)\nx = rms_norm(x, ln, rms_norm_eps)\n"),
              ElementsAre("23:5: error: 'h' does not reach the result"));
  // An error in `h` is not repeated where `h` is used.
  EXPECT_THAT(block("h = linear(x, nope)\nx = x + h\nx = x + bad\n"),
              ElementsAre("23:15: error: no weight is named 'nope'",
                          "25:9: error: nothing is named 'bad' here"));
  EXPECT_THAT(errors(toy(rest, "logits = linear(x, w)")),
              ElementsAre("23:5: error: 'y' does not reach the result",
                          "27:29: error: 'w' is one of each layer: only [block] can use it"));
}

// The loss goes by chunks of logits: what follows the head's product is elementwise.
TEST(ArchitectureErrors, Head) {
  auto withHead = [](const std::string &graph) {
    return errors(toy("x = x + linear(rms_norm(x, ln, 1), w) + row\n", graph));
  };
  EXPECT_THAT(withHead("logits = heads(linear(x, head_w), 1)"),
              ElementsAre(testing::HasSubstr("'logits' of [head] must be [tokens, 16]")));
  EXPECT_THAT(withHead("logits = linear(x, head_w) * linear(x, head_w)"),
              ElementsAre(testing::HasSubstr("one product with a weight of kind \"head\"")));
  // A device's program of the head takes what a block gives.
  std::string narrow = toy("x = x + linear(rms_norm(x, ln, 1), w) + row\n",
                           "logits = linear(linear(x, less), head_w)");
  const std::string wide = "head_w = { kind = \"head\", shape = ['vocab_size', 'hidden_size']";
  narrow.replace(narrow.find(wide), wide.size(),
                 "less = { kind = \"linear\", shape = [4, 'hidden_size'], hf = \"n\", gguf = "
                 "\"n\" }\nhead_w = { kind = \"head\", shape = ['vocab_size', 4]");
  EXPECT_THAT(errors(narrow), ElementsAre(testing::HasSubstr(
                                  "the head's product takes the 8 columns of hidden_size, got 4")));
}

// Each layer is of the first kind whose `when` holds.
TEST(ArchitectureErrors, Kinds) {
  const std::string graph = "graph = 'x = x + linear(rms_norm(x, ln, 1), w) + row'\n";
  auto kinds = [&](const std::string &blocks) {
    std::string text =
        std::string(head) + "[head]\ngraph = 'logits = tanh(linear(x, head_w) / 3)'\n";
    text.replace(text.find("[block]\n"), 8, blocks);
    text.replace(text.find("up = {"), text.find("head_w = {") - text.find("up = {"), "");
    return errors(text);
  };
  EXPECT_THAT(kinds("[block.a]\nwhen = 'layer == 0'\n" + graph + "[block.b]\n" + graph),
              ElementsAre());
  EXPECT_THAT(kinds("[block.a]\nwhen = 'layer == 1'\n" + graph),
              ElementsAre(testing::HasSubstr("no kind of block takes layer 0")));
  EXPECT_THAT(kinds("[block.a]\n" + graph + "[block.b]\n" + graph),
              ElementsAre(testing::HasSubstr("[block.a] takes all layers")));
}

// Frequencies are positive numbers, whatever they are made of.
TEST(ArchitectureErrors, Rope) {
  auto turns = [](const std::string &more, const std::string &type = "linear") {
    std::string text = toy(rest);
    const std::string theta = "theta = 'rope_theta'", symbol = "rope_theta = {";
    text.replace(text.find(theta), theta.size(), more);
    text.replace(text.find(symbol), 0,
                 "scaling = { type = \"word\", values = [\"" + type + "\"] }\n");
    return errors(text);
  };
  const std::string scaled = "theta = 'rope_theta'\ntype = \"scaling\"\nfactor = ";
  for (const char *factor : {"nan", "0", "'log(0 - 1)'"})
    EXPECT_THAT(turns(scaled + factor),
                ElementsAre(testing::HasSubstr("'linear' need a factor of at least 1, got ")))
        << factor;
  EXPECT_THAT(turns(scaled + "'exp(800)'"),
              ElementsAre(testing::HasSubstr(
                  "the frequency of pair 0 is 0, where a positive number is needed")));
  EXPECT_THAT(turns("theta = inf"),
              ElementsAre(testing::HasSubstr("the frequency of pair 1 is 0")));
  EXPECT_THAT(turns("theta = 1e-200"),
              ElementsAre(testing::HasSubstr("the frequency of pair 1 is inf")));
  EXPECT_THAT(turns(scaled + "2", "yarn"),
              ElementsAre(testing::HasSubstr(
                  "rotary positions of type 'yarn' are known, not in this version")));
}

TEST(ArchitectureErrors, Syntax) {
  EXPECT_THAT(block("x = linear(x, w\nh = silu(x)\n= 3\nx + 1\nx = 1 2\nx =\n"),
              ElementsAre("24:1: error: expected ',' or ')', got 'h'",
                          "25:1: error: expected a name to assign to, got '='",
                          "26:3: error: expected '=' after 'x', got '+'",
                          "27:7: error: expected the end of the line, got '2'",
                          "28:4: error: expected a value, got the end of the line"));
  EXPECT_THAT(block("x = x ä\n"),
              ElementsAre("23:7: error: expected the end of the line, got 'ä'"));
  EXPECT_EQ(bindText(toy("x = linear((x, w)\n")),
            "a.toml:23:14: error: expected ',' or ')', got ','\n"
            "x = linear((x, w)\n"
            "             ^\n"
            "a.toml:23:12: note: this '(' is not closed\n");
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
      ElementsAre("6:42: error: 'heads' is no part of a number: write symbols, numbers, + - * "
                  "/ %, comparisons and functions of one number, as sqrt"));
  EXPECT_THAT(
      with("'hidden_size / 4'", "'sqrt(x = 16)'"),
      ElementsAre("6:42: error: sqrt(x) takes its argument without a name: leave out 'x ='"));
  EXPECT_THAT(with("'hidden_size / 4'", "'sqrt(16, 2)'"),
              ElementsAre("6:42: error: sqrt(x) takes 1 argument, got 2"));
  // A symbol that is asked for under a condition is not, once one before it is wrong.
  EXPECT_THAT(with("'hidden_size / 4' }\nrms_norm_eps = {",
                   "'hidden / 4' }\nrms_norm_eps = { when = 'n_heads',"),
              ElementsAre("6:42: error: no symbol is named 'hidden' above this one"));
  EXPECT_THAT(with("n_heads = {", "layer = {"),
              ElementsAre("6:1: error: 'layer' is the number of a layer in 'when': name it "
                          "otherwise"));
  const std::string eps = "rms_norm_eps = {";
  EXPECT_THAT(with(eps, "tie = { type = \"bool\", default = false, least = 0 }\n" + eps),
              ElementsAre("7:1: error: 'least' is of an integer or a number"));
  EXPECT_THAT(with(eps, "w1 = { type = \"word\", values = [\"a\"], least = 0 }\n" + eps),
              ElementsAre("7:1: error: 'least' is of an integer or a number"));
  EXPECT_THAT(with(eps, "w1 = { type = \"word\", values = [\"a\"], default = 'a' }\n" + eps),
              ElementsAre(testing::EndsWith(
                  "error: a word has no 'default': it is the first of 'values'")));
  EXPECT_THAT(with("hf = \"l.{layer}.ln\"", "permute = \"rope\", heads = 2, hf = \"l.{layer}.ln\""),
              ElementsAre(testing::EndsWith("error: 'permute' moves the rows of a matrix, and a "
                                            "weight of kind \"norm\" has none")));
  for (const char *added : {"inf", "nan", "1e39", "-1e-60"})
    EXPECT_THAT(
        with("hf = \"l.{layer}.ln\"", std::string("hf_add = ") + added + ", hf = \"l.{layer}.ln\""),
        ElementsAre(testing::HasSubstr("'hf_add' must be a number that float32 holds")))
        << added;
  EXPECT_THAT(
      with("dim = 4", "dim = 4\ngguf_divisors = \"rope_factors.weight\""),
      ElementsAre(testing::HasSubstr("'gguf_divisors' is \"rope_freqs.weight\" or left out")));
  EXPECT_THAT(with("'hidden_size / 4'", "\"\\u0068idden_size\""),
              ElementsAre("6:41: error: write it as a literal string, in ' or ''': escapes would "
                          "move its columns"));
  EXPECT_THAT(with("kind = \"norm\"", "kind = \"nrom\""),
              ElementsAre("11:15: error: 'weights.ln.kind' must be one of linear, embedding, head, "
                          "norm, row; got \"nrom\"; did "
                          "you mean 'norm'?"));
  EXPECT_THAT(
      with("'3 * hidden_size'", "'3 * hidden_size - 24'"),
      ElementsAre(
          "13:35: error: a size of 'up' must be a whole number from 1 to 2147483647, got 0"));
  EXPECT_THAT(with("gguf = \"b.{layer}.ln\"", "gguf = \"b.ln\""),
              ElementsAre("11:1: error: 'hf' and 'gguf' of 'ln' disagree about {layer}"));
  const std::string row = "row = { kind";
  EXPECT_THAT(
      with(row,
           "again = { kind = \"embedding\", shape = ['vocab_size', 'hidden_size'], hf = \"a\", "
           "gguf = \"a\", tied = \"emb\" }\nmore = { kind = \"embedding\", shape = "
           "['vocab_size', 'hidden_size'], hf = \"m\", gguf = \"m\", tied = \"again\" }\n" +
               row),
      ElementsAre("16:1: error: 'more' is tied to 'again', which is tied itself: name the weight "
                  "that has the tensor"));
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
                          "19:2: error: unknown table 'embedd' of an architecture; did you "
                          "mean 'embed'?"));
  EXPECT_THAT(with("layers = {", "n_layers = {"),
              ElementsAre("1:1: error: [hyper] must describe 'layers'"));
}

} // namespace
