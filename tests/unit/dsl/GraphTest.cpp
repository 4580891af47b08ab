// specs/architectures/llama.toml bound to numbers from a shape, a config.json and GGUF metadata.

#include "SpecText.h"

#include "dsl/Architecture.h"
#include "dsl/Functions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

using namespace lorac::dsl;
using namespace lorac::dsl::test;
using testing::ElementsAre;

namespace {

const std::string folder = std::string(LORAC_SOURCE_DIR) + "/specs/architectures";

Architecture llama() {
  Diagnostics diags;
  std::optional<Architecture> out = loadArchitecture(folder + "/llama.toml", diags);
  EXPECT_EQ(diags.text(), "");
  return *out;
}

using Keys = std::map<std::string, HyperValue>;

ModelFacts facts(ModelFacts::Kind kind, Keys keys, std::vector<std::string> tensors = {}) {
  ModelFacts out;
  out.kind = kind;
  out.path = kind == ModelFacts::Kind::Gguf ? "m.gguf" : "config.json";
  out.ggufArchitecture = "llama";
  out.lookup = [keys](const std::string &key) -> std::optional<HyperValue> {
    auto it = keys.find(key);
    return it == keys.end() ? std::nullopt : std::optional(it->second);
  };
  out.hasTensor = [tensors](const std::string &name) {
    return std::find(tensors.begin(), tensors.end(), name) != tensors.end();
  };
  return out;
}

// SmolLM2-135M as its GGUF says it.
const Keys smol = {{"llama.block_count", int64_t(30)},
                   {"llama.embedding_length", int64_t(576)},
                   {"llama.feed_forward_length", int64_t(1536)},
                   {"llama.attention.head_count", int64_t(9)},
                   {"llama.attention.head_count_kv", int64_t(3)},
                   {"llama.rope.dimension_count", int64_t(64)},
                   {"llama.vocab_size", int64_t(49152)},
                   {"llama.context_length", int64_t(8192)},
                   {"llama.rope.freq_base", 100000.0},
                   {"llama.attention.layer_norm_rms_epsilon", 1e-5}};

std::string shapes(const GraphSection &section) {
  std::string out;
  for (const GraphNode &node : section.nodes) {
    out += std::string(toString(node.op)) + "(";
    for (int input : node.inputs)
      out += std::to_string(input) + " ";
    out += node.weight + ")";
    for (int64_t n : node.shape)
      out += " " + std::to_string(n);
    out += "\n";
  }
  return out;
}

TEST(Llama, FromGguf) {
  Diagnostics diags;
  BoundModel model;
  ASSERT_TRUE(bind(llama(), {}, facts(ModelFacts::Kind::Gguf, smol), model, diags)) << diags.text();
  EXPECT_EQ(model.layers, 30);
  EXPECT_EQ(model.hyper["head_dim"], 64);
  EXPECT_EQ(model.hyper["rope_theta"], 100000);
  ASSERT_EQ(model.ropes.size(), 1u);
  EXPECT_THAT(model.ropes[0].inverse, testing::SizeIs(32));
  EXPECT_FLOAT_EQ(model.ropes[0].inverse[16], float(std::pow(100000.0, -0.5)));
  EXPECT_EQ(model.maxPositions, 8192);
  EXPECT_TRUE(model.tied);
  EXPECT_EQ(model.weight("lm_head")->tiedTo, "embed_tokens");
  EXPECT_THAT(model.weight("k_proj")->shape, ElementsAre(192, 576));
  EXPECT_EQ(model.weight("k_proj")->permuteHeads, 3);
  EXPECT_EQ(model.weight("k_proj")->hfName(7), "model.layers.7.self_attn.k_proj.weight");
  EXPECT_EQ(model.weight("k_proj")->ggufName(7), "blk.7.attn_k.weight");
  EXPECT_EQ(model.adaptableModules().size(), 210u);
  EXPECT_EQ(model.adaptableModules()[8], "model.layers.1.self_attn.k_proj");
  EXPECT_EQ(shapes(model.embed), "embed(-2 embed_tokens) 576\n");
  EXPECT_EQ(shapes(model.block(29)), "rms_norm(-1 input_layernorm) 576\n"
                                     "linear(0 q_proj) 576\n"
                                     "heads(1 ) 9 64\n"
                                     "rope(2 ) 9 64\n"
                                     "linear(0 k_proj) 192\n"
                                     "heads(4 ) 3 64\n"
                                     "rope(5 ) 3 64\n"
                                     "linear(0 v_proj) 192\n"
                                     "heads(7 ) 3 64\n"
                                     "attention(3 6 8 ) 576\n"
                                     "linear(9 o_proj) 576\n"
                                     "add(-1 10 ) 576\n"
                                     "rms_norm(11 post_attention_layernorm) 576\n"
                                     "linear(12 gate_proj) 1536\n"
                                     "function(13 ) 1536\n"
                                     "linear(12 up_proj) 1536\n"
                                     "mul(14 15 ) 1536\n"
                                     "linear(16 down_proj) 576\n"
                                     "add(11 17 ) 576\n");
  EXPECT_EQ(model.block(0).output, 18);
  EXPECT_EQ(shapes(model.head), "rms_norm(-1 norm) 576\nlinear(0 lm_head) 49152\n");
  EXPECT_EQ(model.head.product, 1);
  EXPECT_EQ(model.block(0).nodes[0].number, 1e-5);
  EXPECT_EQ(model.block(0).nodes[9].number, 0.125);
  EXPECT_EQ(model.block(0).nodes[9].window, 0);
  EXPECT_THAT(model.block(0).nodes[1].range.str(), testing::EndsWith("llama.toml:59:16"));
}

TEST(Llama, UntiedWhereTheFileHasAHead) {
  Diagnostics diags;
  BoundModel model;
  ASSERT_TRUE(
      bind(llama(), {}, facts(ModelFacts::Kind::Gguf, smol, {"output.weight"}), model, diags));
  EXPECT_FALSE(model.tied);
  EXPECT_EQ(model.weight("lm_head")->tiedTo, "");
}

Keys config() {
  return {{"num_hidden_layers", int64_t(2)},   {"hidden_size", int64_t(64)},
          {"intermediate_size", int64_t(176)}, {"num_attention_heads", int64_t(4)},
          {"vocab_size", int64_t(512)},        {"rms_norm_eps", 1e-5},
          {"hidden_act", std::string("silu")}, {"attention_bias", false}};
}

TEST(Llama, FromConfigWithDefaults) {
  Diagnostics diags;
  BoundModel model;
  ASSERT_TRUE(bind(llama(), {}, facts(ModelFacts::Kind::HuggingFace, config()), model, diags))
      << diags.text();
  EXPECT_EQ(model.hyper["n_kv_heads"], 4);
  EXPECT_EQ(model.hyper["head_dim"], 16);
  EXPECT_EQ(model.hyper["rope_theta"], 10000);
  EXPECT_FALSE(model.tied);
  Keys newer = config();
  newer["rope_parameters.rope_theta"] = 500000.0;
  newer["rope_parameters.rope_type"] = std::string("default");
  ASSERT_TRUE(bind(llama(), {}, facts(ModelFacts::Kind::HuggingFace, newer), model, diags))
      << diags.text();
  EXPECT_EQ(model.hyper["rope_theta"], 500000);
  newer["rope_scaling.rope_type"] = std::string("default"); // nothing is scaled
  newer["rope_scaling.factor"] = int64_t(1);
  newer["attention_dropout"] = 0.0;
  EXPECT_TRUE(bind(llama(), {}, facts(ModelFacts::Kind::HuggingFace, newer), model, diags))
      << diags.text();
}

TEST(Llama, ShapeOverridesByEitherName) {
  Diagnostics diags;
  Spec spec = parse(good("[model.shape]\nlayers = 1\nnum_key_value_heads = 2\n"), diags);
  BoundModel model;
  ASSERT_TRUE(
      bind(llama(), spec.model, facts(ModelFacts::Kind::HuggingFace, config()), model, diags))
      << diags.text();
  EXPECT_EQ(model.layers, 1);
  EXPECT_THAT(model.weight("v_proj")->shape, ElementsAre(32, 64));
}

std::vector<std::string> bound(Keys keys, ModelFacts::Kind kind,
                               std::vector<std::string> tensors = {}) {
  Diagnostics diags;
  BoundModel model;
  EXPECT_FALSE(bind(llama(), {}, facts(kind, std::move(keys), std::move(tensors)), model, diags));
  for (const Diagnostic &diagnostic : diags.all())
    if (diagnostic.severity == Severity::Error) {
      EXPECT_EQ(diagnostic.range.file->origin, Origin::Model) << diagnostic.message;
    }
  return messages(diags);
}

TEST(Llama, BadFacts) {
  auto with = [](const std::string &key, HyperValue value) {
    Keys keys = config();
    keys[key] = std::move(value);
    return bound(keys, ModelFacts::Kind::HuggingFace);
  };
  EXPECT_THAT(with("num_hidden_layers", int64_t(0)),
              ElementsAre("config.json: error: 'num_hidden_layers' must be a whole number from 1 "
                          "to 2147483647, got 0"));
  EXPECT_THAT(
      with("num_hidden_layers", int64_t(1000000)),
      ElementsAre("config.json: error: a model of 1000000 layers: at most 10000 are taken"));
  EXPECT_THAT(with("vocab_size", int64_t(1) << 32),
              ElementsAre("config.json: error: 'vocab_size' must be a whole number from 1 to "
                          "2147483647, got 4294967296"));
  EXPECT_THAT(with("hidden_size", std::string("64")),
              ElementsAre("config.json: error: 'hidden_size' must be a whole number from 1 to "
                          "2147483647, got \"64\""));
  EXPECT_THAT(with("rms_norm_eps", -1.0),
              ElementsAre("config.json: error: 'rms_norm_eps' must be a positive number, got -1"));
  EXPECT_THAT(
      with("hidden_act", std::string("gelu")),
      ElementsAre("config.json: error: 'hidden_act' is \"gelu\"; 'llama' expects \"silu\" or "
                  "\"swish\""));
  for (const std::string key : {"rope_scaling.type", "rope_scaling.rope_type"})
    EXPECT_THAT(with(key, std::string("yarn")),
                ElementsAre("config.json: error: '" + key +
                            "' is \"yarn\"; 'llama' expects \"default\" or \"none\" or \"linear\" "
                            "or \"llama3\""));
  EXPECT_THAT(with("rope_scaling.type", std::string("linear")),
              ElementsAre("config.json: error: rotary positions of type 'linear' need a factor of "
                          "at least 1, got 0"));
  EXPECT_THAT(with("rope_scaling.factor", int64_t(2)),
              ElementsAre("config.json: error: a factor of 2 asks for scaled rotary positions, but "
                          "no type of scaling is stated"));
  Keys keys = config();
  keys.erase("hidden_size");
  keys.erase("vocab_size");
  EXPECT_THAT(
      bound(keys, ModelFacts::Kind::HuggingFace),
      ElementsAre("config.json: error: no 'hidden_size': the file does not say 'hidden_size'",
                  "config.json: error: no 'vocab_size': the file does not say 'vocab_size'"));
  EXPECT_THAT(
      bound(smol, ModelFacts::Kind::Gguf, {"rope_freqs.weight"}),
      ElementsAre("m.gguf: error: tensor 'rope_freqs.weight' must be 32 positive numbers of "
                  "type F32"));
}

// Every number that is read, as every kind of nonsense: one error that names the key.
TEST(Llama, EveryKeyIsChecked) {
  const Keys hf = {{"num_hidden_layers", int64_t(2)},
                   {"hidden_size", int64_t(64)},
                   {"intermediate_size", int64_t(176)},
                   {"num_attention_heads", int64_t(4)},
                   {"num_key_value_heads", int64_t(2)},
                   {"head_dim", int64_t(16)},
                   {"vocab_size", int64_t(512)},
                   {"rms_norm_eps", 1e-5},
                   {"max_position_embeddings", int64_t(64)},
                   {"rope_theta", 10000.0}};
  const HyperValue never[] = {
      int64_t(0), int64_t(-1), std::string("4"), std::string("an array of 2"), true, NAN, INFINITY};
  for (const auto &[kind, good] :
       {std::pair{ModelFacts::Kind::HuggingFace, hf}, {ModelFacts::Kind::Gguf, smol}}) {
    Diagnostics diags;
    BoundModel model;
    EXPECT_TRUE(bind(llama(), {}, facts(kind, good), model, diags)) << diags.text();
    for (const auto &[key, value] : good) {
      std::vector<HyperValue> bad(std::begin(never), std::end(never));
      if (std::holds_alternative<int64_t>(value))
        bad.insert(bad.end(), {int64_t(1) << 32, INT64_MAX, 0x1p63, 2.5});
      for (const HyperValue &other : bad) {
        Keys keys = good;
        keys[key] = other;
        EXPECT_THAT(bound(keys, kind), ElementsAre(testing::HasSubstr("'" + key + "' must be ")))
            << other.index();
      }
    }
  }
}

TEST(Llama, BadShapes) {
  auto shape = [](const std::string &body) {
    Diagnostics diags;
    Spec spec =
        parse("[model]\narchitecture = 'llama'\nshape = { " + body + " }\n" + Data + Train, diags);
    BoundModel model;
    EXPECT_FALSE(bind(llama(), spec.model, {}, model, diags));
    return diags.text().substr(0, diags.text().find('\n'));
  };
  std::string rest = "layers = 2, hidden_size = 64, intermediate_size = 176, vocab_size = 512, ";
  EXPECT_EQ(shape("layers = 2"),
            "a.toml:3:9: error: 'model.shape' does not give 'hidden_size', which 'llama' needs");
  EXPECT_EQ(shape(rest + "n_heads = 4, hidden = 3"),
            "a.toml:3:97: error: 'hidden' is no symbol of 'llama'");
  EXPECT_EQ(shape(rest + "n_heads = 4, n_head = 3"),
            "a.toml:3:97: error: 'n_head' is no symbol of 'llama'; did you mean 'n_heads'?");
  EXPECT_EQ(shape(rest + "n_heads = 4, num_attention_heads = 3"),
            "a.toml:3:97: error: 'n_heads' is given twice, here as 'num_attention_heads'");
  EXPECT_EQ(shape(rest + "n_heads = 4, n_kv_heads = 3"),
            folder + "/llama.toml:62:16: error: 4 heads of q cannot share 3 heads of k and v: the "
                     "first must be a multiple "
                     "of the second");
  EXPECT_EQ(shape(rest + "n_heads = 4, head_dim = 15"),
            folder +
                "/llama.toml:30:1: error: the 60 rows of 'q_proj' are not 4 heads of an even size");
  EXPECT_EQ(shape(rest + "n_heads = 5"), folder + "/llama.toml:14:146: error: 'head_dim' must be a "
                                                  "whole number from 1 to 2147483647, got 12.8");
  EXPECT_EQ(shape("layers = 10000, hidden_size = 2147483647, intermediate_size = 2147483647, "
                  "vocab_size = 512, n_heads = 1, "
                  "head_dim = 2"),
            folder + "/llama.toml:30:1: error: the model has more than 2^45 weights");
}

// Of each kind of rope: the numbers are those of tests/golden/arch; here what they are made of.
TEST(Rope, Scaling) {
  auto inverse = [](Keys more) {
    Keys keys = config();
    keys.merge(more);
    Diagnostics diags;
    BoundModel model;
    EXPECT_TRUE(bind(llama(), {}, facts(ModelFacts::Kind::HuggingFace, keys), model, diags))
        << diags.text();
    return model.ropes.at(0).inverse;
  };
  const std::vector<float> plain = inverse({});
  const std::vector<float> linear =
      inverse({{"rope_scaling.type", std::string("linear")}, {"rope_scaling.factor", 4.0}});
  const std::vector<float> llama3 =
      inverse({{"rope_parameters.rope_type", std::string("llama3")},
               {"rope_parameters.factor", 8.0},
               {"rope_parameters.low_freq_factor", 1.0},
               {"rope_parameters.high_freq_factor", 4.0},
               {"rope_parameters.original_max_position_embeddings", int64_t(128)}});
  ASSERT_EQ(plain.size(), 8u);
  for (size_t i = 0; i < plain.size(); ++i)
    EXPECT_EQ(linear[i], plain[i] / 4);
  EXPECT_EQ(llama3[0], plain[0]);     // a wavelength of 6 positions is kept
  EXPECT_EQ(llama3[7], plain[7] / 8); // one of 20,000 is stretched
  // One of 63, half a period of 128 above the shortest that is mixed: (128 / 62.8 - 1) / 3 of it
  // stays.
  EXPECT_GT(llama3[2], plain[2] / 8);
  EXPECT_LT(llama3[2], plain[2]);
  EXPECT_NEAR(llama3[2], plain[2] * (0.34577 + 0.65423 / 8), 1e-5);
}

TEST(FindArchitecture, ByNameByPathAndByType) {
  Diagnostics diags;
  Spec bySource = parse(good(), diags);
  EXPECT_TRUE(findArchitecture(bySource, "llama", {folder}, {}, diags));
  Spec byName = parse(good(), diags, {"model.architecture=llama"});
  EXPECT_TRUE(findArchitecture(byName, "", {"/nowhere", folder}, {}, diags));
  Spec byPath = parse(good(), diags, {"model.architecture=" + folder + "/llama.toml"});
  EXPECT_TRUE(findArchitecture(byPath, "", {}, {}, diags));
  EXPECT_EQ(diags.text(), "");
  EXPECT_FALSE(findArchitecture(bySource, "qwen9", {folder}, {}, diags));
  const std::vector<std::shared_ptr<const SourceFile>> embedded = {llama().file};
  EXPECT_TRUE(findArchitecture(bySource, "llama", {}, embedded, diags));
  EXPECT_FALSE(findArchitecture(bySource, "gemma", {}, embedded, diags)) << "it has its own norms";
  EXPECT_FALSE(
      findArchitecture(parse(good(), diags, {"model.architecture=lama"}), "", {folder}, {}, diags));
  EXPECT_THAT(
      messages(diags),
      ElementsAre("2:10: error: the model is of type 'qwen9', which no architecture describes",
                  "2:10: error: the model is of type 'gemma', which no architecture describes",
                  "--set model.architecture=lama: error: no architecture is named 'lama'; did you "
                  "mean 'llama'?"));
}

// A row of dsl/Functions.def that is a formula is what its name says, where exp overflows too.
TEST(Functions, Softplus) {
  for (double x : {-1000.0, -30.0, -2.5, -0.01, 0.0, 0.3, 4.0, 80.0, 1000.0}) {
    const double expected = std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
    EXPECT_NEAR(valueOf(*findFunction("softplus"), x), expected, 1e-15 * (1 + std::fabs(x))) << x;
  }
}

TEST(CheckModel, LengthWithinPositions) {
  Diagnostics diags;
  BoundModel model;
  model.maxPositions = 128;
  checkModel(parse(good("max_length = 129\n"), diags), model, diags);
  EXPECT_THAT(
      messages(diags),
      ElementsAre("7:14: error: 'train.max_length' is 129, but the model has 128 positions"));
}

} // namespace
