// run.json: what AdaLoRA adds to it, and what an optimizer need not have.

#include "runtime/train/RunConfig.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <limits>

namespace lorac::train {
namespace {

nlohmann::json run() {
  return nlohmann::json::parse(R"({
    "model": {}, "quantization": {"format": "none", "block_size": 64, "double_quant": true, "compute_dtype": "auto"},
    "adapter": {"method": "adalora", "lora_alpha": 32, "lora_dropout": 0, "use_rslora": false,
      "target_modules": "all-linear", "adalora": {"init_r": 12, "target_r": 8, "tinit": 5,
      "tfinal": 10, "deltaT": 5, "beta1": 0.85, "beta2": 0.8, "orth_reg_weight": 0.5,
      "prune": "final", "rebuild": "auto", "plateau": {"patience": 3, "min_delta": 0.02, "stretch": 1.5}}},
    "optimizer": {"name": "adamw", "learning_rate": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8,
      "weight_decay": 0,
      "max_grad_norm": 1},
    "schedule": {"name": "constant", "warmup_steps": 0}, "data": [{"name": "data", "path": "d.txt", "format": "text", "separator": "",
      "eval_fraction": 0, "overlong": "split"}],
    "train": {"output_dir": "out", "steps": 40, "batch_size": 1, "max_length": 8, "packing": false,
      "gradient_accumulation_steps": 1, "seed": 7, "eval_steps": 20, "save_steps": 20, "save_total_limit": 0, "logging_steps": 1},
    "target": {"device": "auto", "threads": 0}})");
}

TEST(RunConfig, AdaLora) {
  Result<RunConfig> config = parseRunConfig(run().dump());
  ASSERT_TRUE(config) << config.error().message;
  ASSERT_TRUE(config->adalora);
  EXPECT_EQ(config->adalora->tinit, 5);
  EXPECT_EQ(config->adalora->tfinal, 10);
  EXPECT_EQ(config->adalora->deltaT, 5);
  EXPECT_EQ(config->adalora->beta2, 0.8);
  EXPECT_EQ(config->adalora->prune, PruneMode::Final);
  ASSERT_TRUE(config->adalora->plateau);
  EXPECT_EQ(config->adalora->plateau->patience, 3);
  EXPECT_EQ(config->adalora->plateau->stretch, 1.5);

  nlohmann::json lora = run();
  lora["adapter"].erase("adalora");
  lora["adapter"]["method"] = "lora", lora["adapter"]["r"] = 4;
  EXPECT_FALSE(parseRunConfig(lora.dump())->adalora);
  EXPECT_EQ(config->r, 12) << "init_r";
  // No compiler writes both: the method says which one counts.
  nlohmann::json both = run();
  both["adapter"]["method"] = "lora", both["adapter"]["r"] = 4;
  Result<RunConfig> plain = parseRunConfig(both.dump());
  ASSERT_TRUE(plain) << plain.error().message;
  EXPECT_FALSE(plain->adalora);
  EXPECT_EQ(plain->r, 4);
  // The dsl fills in every default: none is made up here.
  lora["adapter"].erase("r");
  Result<RunConfig> without = parseRunConfig(lora.dump());
  ASSERT_FALSE(without);
  EXPECT_NE(without.error().message.find("'adapter' has no 'r'"), std::string::npos);
}

TEST(RunConfig, RefusesAnAdaLoraThatCannotBe) {
  auto refused = [](const char *key, nlohmann::json value) {
    nlohmann::json changed = run();
    changed["adapter"]["adalora"][key] = std::move(value);
    Result<RunConfig> config = parseRunConfig(changed.dump());
    return config ? std::string() : config.error().message;
  };
  EXPECT_NE(refused("prune", "never").find("prune = 'never'; known: mask, final, bucketed, eager"),
            std::string::npos);
  EXPECT_NE(refused("deltaT", 0), "");
  EXPECT_NE(refused("beta1", 1.0), "");
  EXPECT_NE(refused("tfinal", 35).find("no step in which AdaLoRA's ranks fall"), std::string::npos);
  EXPECT_NE(refused("plateau", {{"patience", 1}, {"min_delta", 0}, {"stretch", 1}}), "");
  for (const int64_t far :
       {std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()})
    EXPECT_NE(
        refused("tfinal", far)
            .find("'adapter.adalora.tfinal' is " + std::to_string(far) + ", which its bounds"),
        std::string::npos);
}

TEST(RunConfig, AnOptimizerWithoutBetas) {
  nlohmann::json json = run();
  EXPECT_EQ(parseRunConfig(json.dump())->betas, (std::vector<double>{0.9, 0.999}));
  json["optimizer"]["betas"] = {0.9};
  EXPECT_FALSE(parseRunConfig(json.dump()));
  json["optimizer"].erase("betas");
  EXPECT_FALSE(parseRunConfig(json.dump())) << "AdamW has them";
}

// Whatever the spec's writer writes must be there, within the spec's bounds; what it leaves out has
// the spec's default.
TEST(RunConfig, KeysAreThoseOfTheSpec) {
  auto refused = [](const char *table, const char *key, nlohmann::json value) {
    nlohmann::json changed = run();
    if (value.is_null())
      changed[table].erase(key);
    else
      changed[table][key] = std::move(value);
    Result<RunConfig> config = parseRunConfig(changed.dump());
    return config ? std::string() : config.error().message;
  };
  EXPECT_NE(refused("train", "packing", nullptr).find("'train' has no 'packing'"),
            std::string::npos);
  EXPECT_NE(refused("train", "batch_size", 0).find("'train.batch_size' is 0, which its bounds"),
            std::string::npos);
  EXPECT_NE(refused("optimizer", "learning_rate", -1), "");
  EXPECT_NE(refused("schedule", "name", "step").find("known: constant, linear, cosine"),
            std::string::npos);
  EXPECT_EQ(refused("adapter", "use_dora", true), "");
  EXPECT_EQ(refused("schedule", "warmup_ratio", 0.5), "");
  EXPECT_EQ(parseRunConfig(run().dump())->method, &formats::loraLayout);
}

// Two runs that evaluate at other steps are the same run, unless evaluations set the pace.
TEST(RunConfig, EvaluationsCountWhereTheySetThePace) {
  auto counts = [](const nlohmann::json &json) {
    Result<RunConfig> config = parseRunConfig(json.dump());
    auto keys = fingerprint(*config);
    return std::any_of(keys.begin(), keys.end(),
                       [](const auto &key) { return key.first == "train.eval_steps"; });
  };
  EXPECT_TRUE(counts(run()));
  nlohmann::json plain = run();
  plain["adapter"]["adalora"].erase("plateau");
  EXPECT_FALSE(counts(plain));
}

} // namespace
} // namespace lorac::train
