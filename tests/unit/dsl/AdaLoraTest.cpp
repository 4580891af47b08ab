// AdaLoRA in a spec: the schedule against the run's steps, bounds, budgets, and how they are
// written out.

#include "SpecText.h"

#include "dsl/SpecJson.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

using namespace lorac::dsl;
using namespace lorac::dsl::test;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

/// A spec with method = "adalora": [adapter] is line 7, `ada` begins at line 9, and `more` behind
/// it.
Spec specOf(const std::string &ada, int64_t steps, const std::string &more, Diagnostics &diags) {
  return parse(std::string(Model) + Data + "[train]\nsteps = " + std::to_string(steps) +
                   "\n[adapter]\nmethod = 'adalora'\n[adapter.adalora]\n" + ada + "\n" + more,
               diags);
}

std::vector<std::string> checked(const std::string &ada, int64_t steps = 40,
                                 const std::string &more = "") {
  Diagnostics diags;
  specOf(ada, steps, more, diags);
  return messages(diags);
}

TEST(AdaLora, PeftsDefaultsAreRight) {
  EXPECT_THAT(checked(""), IsEmpty());
  Diagnostics diags;
  Spec spec = specOf("", 40, "", diags);
  EXPECT_EQ(*spec.adapter.adalora->initR, 12);
  EXPECT_EQ(*spec.adapter.adalora->targetR, 8);
  EXPECT_EQ(*spec.adapter.adalora->deltaT, 1);
  EXPECT_EQ(*spec.adapter.adalora->tfinal, 0);
  EXPECT_EQ(*spec.adapter.adalora->beta1, 0.85);
  EXPECT_EQ(*spec.adapter.adalora->orthRegWeight, 0.5);
  EXPECT_EQ(*spec.adapter.adalora->prune, PruneMode::Bucketed);
}

TEST(AdaLora, TheTableMayBeLeftOut) {
  Diagnostics refused, diags;
  Spec spec = parse(good("[adapter]\nmethod = 'adalora'\n"), refused);
  ASSERT_TRUE(spec.adapter.adalora);
  checkAdaLora(spec, diags);
  EXPECT_THAT(messages(diags), IsEmpty());
  EXPECT_THAT(messages(refused), IsEmpty());
}

// huggingface/peft#2337: tinit 6,000, tfinal 11,000 of 13,500 steps ended in kthvalue().
TEST(AdaLora, AScheduleWithoutABudgetPhase) {
  EXPECT_THAT(checked("tinit = 6000\ntfinal = 11000\ndeltaT = 10", 13500),
              ElementsAre("11:10: error: no step is left in which ranks fall: tinit + tfinal < "
                          "train.steps does not hold, 6000 + 11000 = 17000 against 13500; lower "
                          "tinit or tfinal, or train longer"));
  // QingruZhang/AdaLoRA#20: the paper's own 5,000 and 25,000 of 27,600.
  EXPECT_THAT(checked("tinit = 5000\ntfinal = 25000", 27600),
              ElementsAre(HasSubstr("5000 + 25000 = 30000 against 27600")));
  EXPECT_THAT(checked("tinit = 40"), ElementsAre(HasSubstr("10:9: error: no step is left")));
  EXPECT_THAT(checked("tinit = 30\ntfinal = 10"),
              ElementsAre(HasSubstr("30 + 10 = 40 against 40")));
  EXPECT_THAT(checked("tinit = 28\ntfinal = 10"), IsEmpty());
  EXPECT_THAT(checked("tinit = 29\ntfinal = 10"),
              ElementsAre(HasSubstr("all ranks fall at once, at step 30")));
  EXPECT_THAT(checked("tinit = 2147483648\ntfinal = 2147483648"),
              ElementsAre(HasSubstr("2147483648 + 2147483648 = 4294967296 against 40")));
}

TEST(AdaLora, AScheduleThatNeverAllocates) {
  EXPECT_THAT(checked("deltaT = 100"),
              ElementsAre("10:10: error: ranks are never allocated: the first multiple of deltaT = "
                          "100 behind tinit = 0 is step 100, and the last step is 39 (steps count "
                          "from 0); lower deltaT, or give tfinal"));
  EXPECT_THAT(checked("", 1), ElementsAre(HasSubstr("is step 1, and the last step is 0")));
  EXPECT_THAT(checked("tinit = 39"), ElementsAre(HasSubstr("behind tinit = 39 is step 40")));
  EXPECT_THAT(checked("deltaT = 39"), IsEmpty());
}

TEST(AdaLora, AScheduleThatCutsOnce) {
  EXPECT_THAT(
      checked("deltaT = 100\ntfinal = 10\ntinit = 5"),
      ElementsAre("10:10: warning: all ranks fall at once, at step 30: no multiple of deltaT "
                  "= 100 lies between tinit = 5 and the final phase; lower deltaT or "
                  "tinit"));
  EXPECT_THAT(checked("deltaT = 30\ntfinal = 10\n"),
              ElementsAre(HasSubstr("all ranks fall at once")));
  EXPECT_THAT(checked("deltaT = 29\ntfinal = 10\n"), IsEmpty());
}

TEST(AdaLora, WithoutAFinalPhase) {
  EXPECT_THAT(
      checked("deltaT = 5"),
      ElementsAre("10:10: warning: the last allocation is at step 35 and training goes on to "
                  "step 39: what masked triplets regain meanwhile is cut off at the end; "
                  "give tfinal"));
  EXPECT_THAT(checked("deltaT = 5\nprune = 'eager'"), IsEmpty());
  EXPECT_THAT(checked("deltaT = 13"), IsEmpty());
  EXPECT_THAT(
      checked("prune = 'final'"),
      ElementsAre("10:9: error: prune = \"final\" removes triplets where the final phase "
                  "begins, and tfinal = 0 leaves none; give tfinal, or prune = \"mask\" for "
                  "PEFT's way"));
}

TEST(AdaLora, Ranks) {
  EXPECT_THAT(checked("init_r = 4\ntarget_r = 16"),
              ElementsAre("11:12: error: 'target_r' = 16 is larger than 'init_r' = 4: ranks only "
                          "fall; lower target_r or raise init_r"));
  EXPECT_THAT(checked("init_r = 4"),
              ElementsAre("10:10: error: 'target_r' = 8 (the default) is larger than 'init_r' = 4: "
                          "ranks only fall; lower target_r or raise init_r"));
  EXPECT_THAT(checked("target_r = 13"), ElementsAre(HasSubstr("'init_r' = 12 (the default)")));
  EXPECT_THAT(checked("init_r = 8\ntarget_r = 8"), IsEmpty());
  EXPECT_THAT(checked("init_r = 0\ntarget_r = -1"),
              ElementsAre("10:10: error: 'adapter.adalora.init_r' must be at least 1, got 0",
                          "11:12: error: 'adapter.adalora.target_r' must be at least 1, got -1"));
  EXPECT_THAT(checked("target_r = 8\nbudget = 10000"),
              ElementsAre("11:10: error: 'target_r' and 'budget' are both given: keep one"));
  EXPECT_THAT(checked("budget = 0"),
              ElementsAre("10:10: error: 'adapter.adalora.budget' must be at least 1, got 0"));
}

TEST(AdaLora, Values) {
  EXPECT_THAT(checked("beta1 = 0\nbeta2 = 1.0"),
              ElementsAre("10:9: error: 'adapter.adalora.beta1' must be in (0, 1), got 0",
                          "11:9: error: 'adapter.adalora.beta2' must be in (0, 1), got 1"));
  EXPECT_THAT(checked("orth_reg_weight = -0.5"),
              ElementsAre("10:19: error: 'adapter.adalora.orth_reg_weight' must be at least 0, got "
                          "-0.5"));
  EXPECT_THAT(checked("orth_reg_weight = 0"), IsEmpty());
  EXPECT_THAT(checked("deltaT = 0"),
              ElementsAre("10:10: error: 'adapter.adalora.deltaT' must be at least 1, got 0"));
}

TEST(AdaLora, StepsAreCounted) {
  Diagnostics refused, diags;
  checkAdaLora(
      parse(std::string(Model) + Data + "[train]\nepochs = 2\n[adapter]\nmethod = 'adalora'\n",
            refused),
      diags);
  EXPECT_THAT(messages(diags),
              ElementsAre("6:10: error: method = \"adalora\" needs 'train.steps': its schedule "
                          "counts steps, and how many an epoch has is known only with the data; "
                          "write steps instead of epochs"));
}

TEST(AdaLora, KeysOfOtherMethods) {
  Diagnostics refused, diags;
  checkAdaLora(parse(good("[adapter]\nmethod = 'adalora'\nr = 8\nuse_rslora = true\n"
                          "use_dora = true\nuse_gate = true\n"),
                     refused),
               diags);
  EXPECT_THAT(messages(diags),
              ElementsAre("9:5: error: 'adapter.r' is for method = \"lora\"; AdaLoRA begins with "
                          "'init_r' in [adapter.adalora] and ends with 'target_r'",
                          "10:14: error: 'use_rslora' is for method = \"lora\": AdaLoRA's scale is "
                          "lora_alpha / (init_r + 1e-5) to the end; leave it out",
                          "11:12: error: 'use_dora' is for method = \"lora\": AdaLoRA has no "
                          "magnitudes, and PEFT's files of it no place for them; leave it out",
                          "12:12: error: 'use_gate' is for method = \"lora\": AdaLoRA's triplets "
                          "have a factor already, lora_E; leave it out"));
  EXPECT_THAT(messages(good("[[adapter.rule]]\nmodules = 'q_proj'\nmin_r = 2\nmax_r = 4\n")),
              ElementsAre("9:9: error: 'min_r' is for method = \"adalora\"",
                          "10:9: error: 'max_r' is for method = \"adalora\""));
  EXPECT_THAT(messages(good("[adapter.adalora]\ninitial_warmup = 3\n")),
              testing::Contains(HasSubstr("unknown key 'initial_warmup' in [adapter.adalora]; did "
                                          "you mean 'tinit'?")));
}

TEST(AdaLora, Plateau) {
  const std::string asked = "tinit = 5\ntfinal = 10\n[adapter.adalora.plateau]\n";
  EXPECT_THAT(checked(asked), IsEmpty()); // eval_steps = 20: after step 19, in 6 to 29
  EXPECT_THAT(
      checked(asked + "patience = 0\nmin_delta = -1\nstretch = 1\n"),
      ElementsAre("13:12: error: 'adapter.adalora.plateau.patience' must be at least 1, got "
                  "0",
                  "14:13: error: 'adapter.adalora.plateau.min_delta' must be at least 0, "
                  "got -1",
                  "15:11: error: 'adapter.adalora.plateau.stretch' must be greater than 1, "
                  "got 1"));
  EXPECT_THAT(
      checked(asked, 20),
      ElementsAre("12:1: error: [adapter.adalora.plateau] needs evaluations while ranks "
                  "fall, in steps 6 to 9, and 'train.eval_steps' = 20 has none there; lower "
                  "it"));
  EXPECT_THAT(checked(asked + "patients = 3\n"),
              testing::Contains(HasSubstr("unknown key 'patients' in [adapter.adalora.plateau]")));
  EXPECT_THAT(checked("deltaT = 3\n[adapter.adalora.plateau]\n"),
              ElementsAre("11:1: error: [adapter.adalora.plateau] needs tfinal: pruning that was "
                          "delayed is made up for where the final phase begins"));
  Diagnostics refused, diags;
  checkAdaLora(parse(std::string(Model) + Data + "eval_fraction = 0\n" + Train +
                         "[adapter]\nmethod = 'adalora'\n[adapter.adalora]\ntfinal = "
                         "5\n[adapter.adalora.plateau]\n",
                     refused, {"train.eval_steps=5"}),
               diags);
  EXPECT_THAT(messages(diags),
              ElementsAre("5:17: error: [adapter.adalora.plateau] needs a held-out "
                          "loss, and 'data.eval_fraction' is 0"));
}

// Two layers of q_proj [64, 64] and up_proj [128, 64]: triplets of 129 and 193 parameters.
BoundModel twoLayers() {
  BoundModel model;
  model.layers = 2;
  model.kindOfLayer = {0, 0};
  model.blocks.emplace_back();
  for (auto [name, out] : {std::pair("self_attn.q_proj", 64), {"mlp.up_proj", 128}}) {
    BoundWeight weight;
    weight.key = name;
    weight.shape = {out, 64};
    weight.perLayer = true;
    weight.hfTemplate = std::string("model.layers.{layer}.") + name + ".weight";
    model.weights.push_back(weight);
    GraphNode node{GraphOp::Linear, {}, name, {out}};
    model.blocks[0].nodes.push_back(node);
  }
  return model;
}

struct Resolved {
  std::vector<AdapterChoice> choices;
  std::optional<RankBudget> budget;
  std::vector<std::string> told;
};

Resolved resolved(const std::string &ada, const std::string &rules = "") {
  Diagnostics parsing, diags;
  Spec spec = specOf(ada, 40, rules, parsing);
  BoundModel model = twoLayers();
  Resolved out;
  out.choices = resolveAdapters(spec, model.adaptableModules(), diags);
  out.budget = resolveRankBudget(spec, model, out.choices, diags);
  out.told = messages(diags);
  return out;
}

TEST(RankBudget, OfTargetRanks) {
  Resolved all = resolved("init_r = 12\ntarget_r = 4");
  EXPECT_THAT(all.told, IsEmpty());
  ASSERT_TRUE(all.budget);
  EXPECT_EQ(all.budget->initial, 48);
  EXPECT_EQ(all.budget->target, 16);
  EXPECT_EQ(all.budget->initialParameters, 24 * 129 + 24 * 193);
  EXPECT_EQ(all.choices[0].r, 12);
  EXPECT_EQ(all.choices[0].scale, 32 / (12 + 1e-5));
  EXPECT_EQ(all.choices[0].most(), 12);
}

TEST(RankBudget, RulesSetInitialRanksAndBounds) {
  Resolved all = resolved("init_r = 12\ntarget_r = 4",
                          "[[adapter.rule]]\nmodules = 'q_proj'\nr = 20\nmin_r = 2\n"
                          "[[adapter.rule]]\nmodules = 'layers.1..*'\nmax_r = 9\n"
                          "[[adapter.rule]]\nmodules = 'layers.1.mlp.*'\nr = 0\n");
  EXPECT_THAT(all.told, IsEmpty());
  ASSERT_EQ(all.choices.size(), 3u);
  EXPECT_EQ(all.budget->initial, 52);
  EXPECT_EQ(all.budget->target, 12);
  EXPECT_EQ(all.choices[2].module, "model.layers.1.self_attn.q_proj");
  EXPECT_EQ(*all.choices[2].minR, 2);
  EXPECT_EQ(all.choices[2].most(), 9);
  EXPECT_EQ(all.choices[1].most(), 12);
  EXPECT_EQ(all.choices[2].scale, 32 / (20 + 1e-5));
}

// The largest total rank whose parameters fit at the mean cost of a triplet: 161 here.
TEST(RankBudget, OfParameters) {
  EXPECT_EQ(resolved("budget = 161").budget->target, 1);
  EXPECT_EQ(resolved("budget = 321").budget->target, 1);
  EXPECT_EQ(resolved("budget = 322").budget->target, 2);
  EXPECT_EQ(resolved("budget = 2000").budget->target, 12);
  EXPECT_THAT(
      resolved("budget = 160").told,
      ElementsAre("10:10: error: 'budget' = 160 is less than one triplet has, on average 161 "
                  "parameters"));
  EXPECT_THAT(resolved("budget = 7728").told,
              ElementsAre("10:10: warning: nothing is pruned: the target is the 48 triplets in 4 "
                          "modules of the start"));
  EXPECT_THAT(resolved("budget = 7729").told,
              ElementsAre("10:10: error: 'budget' = 7729 is more than the 7728 parameters of the "
                          "initial ranks (48 triplets in 4 modules): ranks only fall; lower it, or "
                          "raise init_r"));
  EXPECT_THAT(resolved("budget = 4611686018427387904").told,
              ElementsAre(HasSubstr("'budget' = 4611686018427387904 is more than")));
}

TEST(RankBudget, NothingIsPruned) {
  EXPECT_THAT(resolved("init_r = 8").told,
              ElementsAre("10:10: warning: nothing is pruned: the target is the 32 triplets in 4 "
                          "modules of the start"));
  EXPECT_THAT(
      resolved("init_r = 8", "[[adapter.rule]]\nmodules = 'q_proj'\nmax_r = 3\n").told,
      ElementsAre("13:9: warning: the bounds 'max_r' leave 22 ranks in all, of the 32 of the "
                  "target"));
}

TEST(RankBudget, Bounds) {
  auto rule = [](const std::string &keys) {
    return resolved("target_r = 4", "[[adapter.rule]]\nmodules = 'q_proj'\n" + keys).told;
  };
  EXPECT_THAT(rule("min_r = 13\n"),
              ElementsAre("13:9: error: 'min_r' = 13 is above the initial rank 12 of "
                          "'model.layers.0.self_attn.q_proj': ranks only fall"));
  EXPECT_THAT(rule("max_r = 13\n"),
              ElementsAre(HasSubstr("'max_r' = 13 is above the initial rank")));
  EXPECT_THAT(
      rule("min_r = 9\n"),
      ElementsAre("13:9: error: the bounds 'min_r' keep 18 ranks in all, more than the 16 of "
                  "the target; lower min_r, or raise target_r"));
  EXPECT_THAT(rule("min_r = 8\n"), IsEmpty());
  EXPECT_THAT(rule("min_r = 4\n[[adapter.rule]]\nmodules = 'layers.0..*'\nmax_r = 3\n"),
              ElementsAre("13:9: error: 'min_r' = 4 is larger than 'max_r' = 3 of another rule for "
                          "'model.layers.0.self_attn.q_proj'"));
  EXPECT_THAT(rule("max_r = 0\n[[adapter.rule]]\nmodules = 'up_proj'\nmax_r = 2\n"),
              ElementsAre(HasSubstr("leave 4 ranks in all, of the 16")));
  EXPECT_THAT(checked("", 40, "[[adapter.rule]]\nmodules = 'q_proj'\nmin_r = 5\nmax_r = 4\n"),
              ElementsAre("13:9: error: 'min_r' = 5 is larger than 'max_r' = 4"));
  EXPECT_THAT(checked("", 40, "[[adapter.rule]]\nmodules = 'q_proj'\nmin_r = -1\n"),
              ElementsAre("13:9: error: 'adapter.rule.min_r' must be at least 0, got -1"));
  EXPECT_THAT(resolved("target_r = 12", "[[adapter.rule]]\nmodules = 'q_proj'\nr = 4\n").told,
              ElementsAre("10:12: error: 'target_r' = 12 on 4 modules is 48 ranks, more than the "
                          "initial 32: ranks only fall; lower target_r or raise init_r"));
}

TEST(AdaLora, WrittenOut) {
  Diagnostics diags;
  Spec spec = specOf("init_r = 24\ntfinal = 10\n[adapter.adalora.plateau]\nstretch = 3", 40,
                     "[[adapter.rule]]\nmodules = 'q_proj'\nmin_r = 2\nmax_r = 9\n", diags);
  auto adapter = nlohmann::json::parse(toJson(spec))["adapter"];
  EXPECT_EQ(
      adapter["adalora"].dump(),
      "{\"beta1\":0.85,\"beta2\":0.85,\"deltaT\":1,\"init_r\":24,\"orth_reg_weight\":0.5,"
      "\"plateau\":{\"min_delta\":0.01,\"patience\":2,\"stretch\":3.0},\"prune\":\"bucketed\","
      "\"rebuild\":\"auto\",\"target_r\":8,\"tfinal\":10,\"tinit\":0}");
  EXPECT_EQ(adapter["rule"][0]["min_r"], 2);
  EXPECT_EQ(adapter["rule"][0]["max_r"], 9);
  EXPECT_FALSE(adapter.contains("r"));
  std::string toml = toToml(spec);
  EXPECT_THAT(toml, HasSubstr("[adapter.adalora]\ninit_r = 24"));
  EXPECT_THAT(toml,
              HasSubstr("\n[adapter.adalora.plateau]\npatience = 2\nmin_delta = 0.01\nstretch "
                        "= 3.0"));
  EXPECT_THAT(toml, HasSubstr("max_r = 9"));
  // It reads back to the same.
  Diagnostics refused;
  EXPECT_EQ(nlohmann::json::parse(toJson(parse(toml, refused)))["adapter"], adapter);

  spec = specOf("budget = 2000", 40, "", diags);
  EXPECT_EQ(nlohmann::json::parse(toJson(spec))["adapter"]["adalora"]["budget"], 2000);
  EXPECT_THAT(toToml(spec), HasSubstr("budget = 2000"));
  EXPECT_THAT(toToml(spec), testing::Not(HasSubstr("target_r")));
}

} // namespace
