// Which modules get adapters: patterns by PEFT's rule, the last rule wins.

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

TEST(Adapters, PatternsMatchAsPeftMatchesThem) {
  Diagnostics diags;
  EXPECT_EQ(chosen("[adapter]\ntarget_modules = ['q_proj', 'v_proj']\n", diags).size(), 24u);
  // The whole name, not a part of it: PEFT's list ["proj"] would find nothing either.
  EXPECT_THAT(chosen("[adapter]\ntarget_modules = 'layers.1.mlp.down_proj'\n", diags),
              ElementsAre("1.mlp.down_proj:16"));
  EXPECT_THAT(chosen("[adapter]\ntarget_modules = 'model.layers.1.self_attn.(q|k)_proj'\n", diags),
              ElementsAre("1.self_attn.q_proj:16", "1.self_attn.k_proj:16"));
  EXPECT_THAT(chosen("[adapter]\ntarget_modules = 'layers.\\d\\d.mlp.up_proj'\n", diags),
              ElementsAre("10.mlp.up_proj:16", "11.mlp.up_proj:16"));
  EXPECT_EQ(diags.text(), "");
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
                          "8:38: error: no module matches 'layers.99.*'",
                          "10:11: error: no module is named 'c_attn'"));
}

TEST(Adapters, NothingLeft) {
  Diagnostics diags;
  chosen("[adapter]\ntarget_modules = 'q_proj'\n[[adapter.rule]]\nmodules = 'q_proj'\nr = "
         "0\n[[adapter.rule]]\nmodules = "
         "'k_proj'\nr = 3\n",
         diags);
  EXPECT_THAT(
      messages(diags),
      ElementsAre("8:18: error: no module has an adapter: there is nothing to train",
                  "13:11: warning: the rule changes nothing: 'target_modules' names none of its "
                  "modules"));
}

} // namespace
