// Which modules get adapters: by PEFT's rules, and the last rule wins.

#include "SpecText.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

using namespace lorac::dsl;
using namespace lorac::dsl::test;
using testing::ElementsAre;

namespace {

std::vector<std::string> llama(int layers) {
  std::vector<std::string> out;
  for (int layer = 0; layer < layers; ++layer)
    for (const char *name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                             "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"})
      out.push_back("model.layers." + std::to_string(layer) + "." + name);
  return out;
}

std::vector<std::string> chosen(const std::string &adapter, Diagnostics &diags) {
  Spec spec = parse(good(adapter), diags);
  std::vector<std::string> out;
  for (const AdapterChoice &choice : resolveAdapters(spec, llama(12), diags))
    out.push_back(choice.module.substr(13) + ":" + std::to_string(choice.r));
  return out;
}

TEST(Adapters, AllLinearIsEveryLinearOfTheBlocks) {
  Diagnostics diags;
  std::vector<std::string> all = chosen("", diags);
  EXPECT_EQ(diags.text(), "");
  EXPECT_EQ(all.size(), 84u);
  EXPECT_EQ(all.front(), "0.self_attn.q_proj:16");
}

TEST(Adapters, NamesMatchAsPeftMatchesThem) {
  Diagnostics diags;
  EXPECT_EQ(chosen("[adapter]\ntarget_modules = ['q_proj', 'v_proj']\n", diags).size(), 24u);
  EXPECT_THAT(chosen("[adapter]\ntarget_modules = ['layers.1.mlp.down_proj']\n", diags),
              ElementsAre("1.mlp.down_proj:16"));
  EXPECT_THAT(chosen("[adapter]\ntarget_modules = 'model.layers.1.self_attn.(q|k)_proj'\n", diags),
              ElementsAre("1.self_attn.q_proj:16", "1.self_attn.k_proj:16"));
  EXPECT_THAT(chosen("[adapter]\ntarget_modules = '.*layers.\\d\\d.mlp.up_proj'\n", diags),
              ElementsAre("10.mlp.up_proj:16", "11.mlp.up_proj:16"));
  EXPECT_THAT(chosen("[adapter]\ntarget_modules = ['up_proj', 'q_proj']\nexclude_modules = "
                     "'.*(layers.\\d\\d|[2-9]).*'\n",
                     diags),
              ElementsAre("0.self_attn.q_proj:16", "0.mlp.up_proj:16", "1.self_attn.q_proj:16",
                          "1.mlp.up_proj:16"));
  EXPECT_EQ(diags.text(), "");
}

TEST(Adapters, LayersAreThoseOfTheList) {
  Diagnostics diags;
  EXPECT_THAT(chosen("[adapter]\ntarget_modules = ['q_proj', 'model.layers.9.mlp.up_proj']\n"
                     "layers_to_transform = [1, 11]\nlayers_pattern = 'layers'\n",
                     diags),
              ElementsAre("1.self_attn.q_proj:16", "9.mlp.up_proj:16", "11.self_attn.q_proj:16"));
  EXPECT_EQ(diags.text(), "");
  chosen("[adapter]\ntarget_modules = ['q_proj']\nlayers_to_transform = [1, 12]\n", diags);
  EXPECT_THAT(messages(diags),
              ElementsAre("9:27: error: no module of 'target_modules' is in layer 12: they are in "
                          "layers from 0 to 11"));
  // Of a name with several numbers the pattern says which is the layer's.
  Spec spec = parse(good("[adapter]\ntarget_modules = ['up_proj']\nlayers_to_transform = 0\n"
                         "layers_pattern = 'layers'\n"),
                    diags);
  const std::vector<std::string> experts = {"model.layers.0.mlp.experts.3.up_proj",
                                            "model.layers.3.mlp.experts.0.up_proj"};
  EXPECT_EQ(resolveAdapters(spec, experts, diags).at(0).module, experts[0]);
}

TEST(Adapters, TheFirstPatternThatMatchesTheEndCounts) {
  Diagnostics diags;
  std::vector<std::string> all =
      chosen("[adapter]\ntarget_modules = ['up_proj', 'q_proj']\nexclude_modules = "
             "'.*(layers.\\d\\d|[2-9]).*'\n"
             "rank_pattern = { 'layers\\.1\\..*_proj' = 3, q_proj = 2, 'layers.0' = 7 }\n"
             "[[adapter.rule]]\nmodules = 'layers.1.mlp.*'\nr = 5\n",
             diags);
  EXPECT_THAT(all, ElementsAre("0.self_attn.q_proj:2", "0.mlp.up_proj:16", "1.self_attn.q_proj:3",
                               "1.mlp.up_proj:5"));
  EXPECT_THAT(messages(diags),
              ElementsAre("10:56: warning: 'layers.0' in 'adapter.rank_pattern' matches the end of "
                          "no adapted module's name: it changes nothing"));
}

TEST(Adapters, RulesRefineAndTheLastMatchWins) {
  Diagnostics diags;
  std::vector<std::string> all =
      chosen("[adapter]\ntarget_modules = ['up_proj', 'q_proj']\n"
             "[[adapter.rule]]\nmodules = 'layers.[0-3].mlp.*'\nr = 8\n"
             "[[adapter.rule]]\nmodules = 'layers.0..*'\nr = 2\n"
             "[[adapter.rule]]\nmodules = 'layers.([4-9]|1\\d).*'\nr = 0\n",
             diags);
  EXPECT_EQ(diags.text(), "");
  EXPECT_THAT(all, ElementsAre("0.self_attn.q_proj:2", "0.mlp.up_proj:2", "1.self_attn.q_proj:16",
                               "1.mlp.up_proj:8", "2.self_attn.q_proj:16", "2.mlp.up_proj:8",
                               "3.self_attn.q_proj:16", "3.mlp.up_proj:8"));
}

TEST(Adapters, Scale) {
  auto scale = [](const std::string &adapter) {
    Diagnostics diags;
    Spec spec = parse(good(adapter), diags);
    return resolveAdapters(spec, llama(1), diags)[0];
  };
  EXPECT_EQ(scale("[adapter]\nr = 8\nlora_alpha = 12\n").scale, 1.5);
  EXPECT_EQ(scale("[adapter]\nr = 8\nlora_alpha = 12\nuse_rslora = true\n").scale,
            12 / std::sqrt(8.0));
  AdapterChoice ruled = scale("[adapter]\nr = 8\n[[adapter.rule]]\nmodules = 'q_proj'\nlora_alpha "
                              "= 2\nlora_dropout = 0.5\n");
  EXPECT_EQ(ruled.scale, 0.25);
  EXPECT_EQ(ruled.dropout, 0.5);
  EXPECT_EQ(ruled.range.str(), "a.toml:10:11");
}

TEST(Adapters, Unmatched) {
  Diagnostics diags;
  chosen("[adapter]\ntarget_modules = [\"q_proj\", \"v_porj\"]\n", diags);
  EXPECT_EQ(
      diags.text(),
      "a.toml:8:29: error: no module is named 'v_porj'; did you mean 'v_proj'?\n"
      "target_modules = [\"q_proj\", \"v_porj\"]\n"
      "                            ^~~~~~~~\n"
      "a.toml:2:10: note: modules of 'm.gguf': q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, "
      "down_proj\n");
  Diagnostics more;
  chosen("[adapter]\ntarget_modules = ['proj', 'lm_head', "
         "'layers.99.*']\n[[adapter.rule]]\nmodules = 'c_attn'\nr = 2\n",
         more);
  EXPECT_THAT(messages(more),
              ElementsAre("8:19: error: no module is named 'proj'; did you mean 'q_proj'?",
                          "8:27: error: an adapter on 'lm_head' is known, not in this version",
                          "8:38: error: no module is named 'layers.99.*'",
                          "10:11: error: no module is named 'c_attn'"));
  // What means something in the other form is said so.
  auto said = [](const std::string &adapter) {
    Diagnostics diags;
    chosen("[adapter]\n" + adapter, diags);
    return messages(diags);
  };
  EXPECT_THAT(said("target_modules = ['.*_proj']\n"),
              ElementsAre("8:19: error: '.*_proj' names no module: an entry of a list is a name or "
                          "its end, no regular expression; did you mean '.*\\.(.*_proj)'?"));
  EXPECT_THAT(said("target_modules = 'q_proj'\n"),
              ElementsAre("8:18: error: 'q_proj' names no module: a string is a regular expression "
                          "that matches whole names; did you mean '[\"q_proj\"]'?"));
  EXPECT_THAT(
      said("target_modules = 'layers.1.*|up_proj'\n"),
      ElementsAre("8:18: error: 'layers.1.*|up_proj' names no module: a string is a regular "
                  "expression that matches whole names; did you mean "
                  "'.*\\.(layers.1.*|up_proj)'?"));
  EXPECT_THAT(said("target_modules = ['q_proj']\nexclude_modules = ['up_proj', 'lm_head']\n"),
              ElementsAre("9:20: warning: 'up_proj' leaves nothing out: 'target_modules' names no "
                          "such module",
                          "9:31: warning: 'lm_head' leaves nothing out: 'target_modules' names no "
                          "such module"));
}

TEST(Adapters, NothingLeft) {
  Diagnostics diags;
  chosen("[adapter]\ntarget_modules = ['q_proj']\n[[adapter.rule]]\nmodules = 'q_proj'\nr = "
         "0\n[[adapter.rule]]\nmodules = "
         "'k_proj'\nr = 3\n",
         diags);
  EXPECT_THAT(
      messages(diags),
      ElementsAre("8:18: error: no module has an adapter: there is nothing to train",
                  "13:11: warning: the rule changes nothing: 'target_modules' names none of its "
                  "modules"));
  Diagnostics excluded;
  chosen("[adapter]\ntarget_modules = ['q_proj']\nexclude_modules = ['q_proj']\n", excluded);
  EXPECT_THAT(messages(excluded),
              ElementsAre("9:19: error: no module has an adapter: 'exclude_modules' leaves out all "
                          "that 'target_modules' names"));
}

} // namespace
