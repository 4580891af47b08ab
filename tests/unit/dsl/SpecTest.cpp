// Good specs: values, defaults, who set them, and what is written out.

#include "SpecText.h"

#include "dsl/SpecJson.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>

using namespace lorac::dsl;
using namespace lorac::dsl::test;
using testing::ElementsAre;

namespace {

Spec parsed(const std::string &text, const std::vector<std::string> &flags = {}) {
  Diagnostics diags;
  Spec spec = parse(text, diags, flags);
  EXPECT_EQ(diags.text(), "");
  return spec;
}

TEST(Spec, Defaults) {
  Spec spec = parsed(good());
  EXPECT_EQ(*spec.quantization.format, BaseFormat::None);
  EXPECT_EQ(*spec.adapter.r, 16);
  EXPECT_EQ(*spec.adapter.loraAlpha, 32);
  EXPECT_EQ(spec.adapter.targetModules->at(0).value, "all-linear");
  EXPECT_FALSE(*spec.adapter.useDora);
  EXPECT_FALSE(spec.adapter.loraplus);
  EXPECT_EQ(*spec.optimizer.learningRate, 2e-4);
  EXPECT_EQ(*spec.schedule.warmupSteps, 10);
  EXPECT_EQ(*spec.data[0].name, "data");
  EXPECT_EQ(*spec.data[0].evalFraction, 0.02);
  EXPECT_EQ(*spec.train.outputDir, "out/a");
  EXPECT_TRUE(*spec.train.packing);
  EXPECT_EQ(spec.name, "a");
}

TEST(Spec, DefaultsThatDependOnOthers) {
  EXPECT_EQ(*parsed(good("[quantization]\n")).quantization.format, BaseFormat::Nf4);
  EXPECT_EQ(*parsed(good("[schedule]\nname = 'constant'\n")).schedule.warmupSteps, 0);
  EXPECT_EQ(*parsed(good("[schedule]\nwarmup_ratio = 0.1\n")).schedule.warmupSteps, 0);
  EXPECT_EQ(*parsed(std::string(Model) + Data + "[train]\nsteps = 10\n").schedule.warmupSteps, 0);
  EXPECT_EQ(*parsed(std::string(Model) + Data + "[train]\nepochs = 2\n").schedule.warmupSteps, 10);
  Spec tokens = parsed(std::string(Model) + "[[data]]\npath = 'd'\nformat = 'tokens'\n" + Train);
  EXPECT_FALSE(*tokens.train.packing);
  EXPECT_EQ(*tokens.data[0].evalFraction, 0);
  EXPECT_EQ(*parsed(good("[adapter.loraplus]\n")).adapter.loraplus->lrRatio, 16);
  EXPECT_EQ(*parsed(good("[optimizer]\nname = 'lion_8bit'\n")).optimizer.min8bitSize, 4096);
  EXPECT_EQ(*parsed(good("[optimizer]\nname = 'lion_8bit'\n")).optimizer.learningRate, 1e-4);
  EXPECT_EQ(*parsed(good()).optimizer.min8bitSize, 0);
}

// Lion's are those of its paper, whatever AdamW's are; what is given stays.
TEST(Spec, DefaultsOfTheOptimizer) {
  auto optimizer = [](const std::string &body) {
    return parsed(good("[optimizer]\n" + body)).optimizer;
  };
  OptimizerSpec adamw = optimizer("name = 'adamw'\n");
  EXPECT_EQ(*adamw.name, OptimizerName::AdamW);
  EXPECT_EQ(*adamw.learningRate, 2e-4);
  EXPECT_EQ(*adamw.beta1, 0.9);
  EXPECT_EQ(*adamw.beta2, 0.999);
  EXPECT_EQ(*adamw.eps, 1e-8);
  OptimizerSpec lion = optimizer("name = 'lion'\n");
  EXPECT_EQ(*lion.name, OptimizerName::Lion);
  EXPECT_EQ(*lion.learningRate, 1e-4);
  EXPECT_EQ(lion.learningRate.origin(), Origin::Default);
  EXPECT_EQ(*lion.beta1, 0.9);
  EXPECT_EQ(*lion.beta2, 0.99);
  EXPECT_EQ(*lion.weightDecay, 0);
  EXPECT_EQ(*lion.maxGradNorm, 1);
  OptimizerSpec given = optimizer("learning_rate = 3e-4\nbetas = [0.95, 0.98]\nname = 'lion'\n");
  EXPECT_EQ(*given.learningRate, 3e-4);
  EXPECT_EQ(*given.beta1, 0.95);
  EXPECT_EQ(*given.beta2, 0.98);
}

TEST(Spec, RangesAndOrigins) {
  Spec spec = parsed(good("[adapter]\nr = 0x10\n"));
  EXPECT_EQ(*spec.adapter.r, 16);
  EXPECT_EQ(spec.adapter.r.range.str(), "a.toml:8:5");
  EXPECT_EQ(spec.adapter.r.range.endColumn, 9u);
  EXPECT_EQ(spec.adapter.r.origin(), Origin::Spec);
  EXPECT_EQ(spec.adapter.loraAlpha.origin(), Origin::Default);
  EXPECT_EQ(spec.adapter.loraAlpha.range.str(), "default");
}

TEST(Spec, Memory) {
  auto bytes = [](const std::string &value) {
    return *parsed(good("[target]\nmemory = " + value)).target.memory;
  };
  EXPECT_EQ(bytes("'2 GiB'"), uint64_t(2) << 30);
  EXPECT_EQ(bytes("'512MiB'"), uint64_t(512) << 20);
  EXPECT_EQ(bytes("'1.5 GB'"), 1500000000u);
  EXPECT_EQ(bytes("4096"), 4096u);
}

TEST(Override, TypedAndCheckedLikeToml) {
  Spec spec = parsed(good("[adapter]\nr = 4\n"),
                     {"adapter.r=8", "quantization.format=keep", "train.output_dir=out/x y",
                      "optimizer.betas=[0.8, 0.9]", "adapter.target_modules=['q_proj']",
                      "data.path=other.txt", "schedule.warmup_steps=0",
                      "adapter.loraplus.loraplus_lr_ratio=2", "model.shape.rope_theta=1e6"});
  EXPECT_EQ(*spec.adapter.r, 8);
  EXPECT_EQ(spec.adapter.r.range.str(), "--set adapter.r=8");
  EXPECT_EQ(spec.adapter.r.origin(), Origin::Flag);
  EXPECT_EQ(*spec.quantization.format, BaseFormat::Keep);
  EXPECT_EQ(*spec.train.outputDir, "out/x y");
  EXPECT_EQ(*spec.optimizer.beta1, 0.8);
  EXPECT_EQ(spec.adapter.targetModules->at(0).value, "q_proj");
  EXPECT_EQ(spec.data[0].path->at(0).value, "other.txt");
  EXPECT_EQ(*spec.adapter.loraplus->lrRatio, 2);
  EXPECT_EQ(std::get<double>(spec.model.shape->at(0).value), 1e6);
}

TEST(Override, NamesOneOfManyTables) {
  std::string rules =
      "[[adapter.rule]]\nmodules = 'q'\nr = 2\n[[adapter.rule]]\nmodules = 'k'\nr = 2\n";
  Spec spec = parsed(good(rules), {"adapter.rule.1.r=3"});
  EXPECT_EQ(*spec.adapter.rules[0].r, 2);
  EXPECT_EQ(*spec.adapter.rules[1].r, 3);
  std::string named = std::string(Model) + Train + "[[data]]\nname = 'f'\npath = 'x'\n";
  EXPECT_EQ(parsed(named, {"data.f.path=y"}).data[0].path->at(0).value, "y");
  EXPECT_EQ(parsed(named, {"data.0.path=y"}).data[0].path->at(0).value, "y");
}

TEST(Override, Errors) {
  auto set = [](const std::string &flag) { return messages(good(), {flag}); };
  EXPECT_THAT(
      set("adapter.r=x"),
      ElementsAre(
          "--set adapter.r=x: error: 'adapter.r' must be an integer, got the string \"x\""));
  EXPECT_THAT(set("adapter.r=18446744073709551616"),
              ElementsAre("--set adapter.r=18446744073709551616: error: the integer "
                          "18446744073709551616 has more than 64 bits"));
  EXPECT_THAT(set("train.seed=-9223372036854775809"),
              ElementsAre("--set train.seed=-9223372036854775809: error: the integer "
                          "-9223372036854775809 has more than 64 bits"));
  EXPECT_THAT(set("train.output_dir=18446744073709551616"), ElementsAre()) << "a name as any other";
  EXPECT_THAT(set("adapter.r=0"),
              ElementsAre("--set adapter.r=0: error: rank must be positive, got 0"));
  EXPECT_THAT(set("adapter.q=8"),
              ElementsAre("--set adapter.q=8: error: unknown key 'q' in [adapter]"));
  EXPECT_THAT(
      set("r=8"),
      ElementsAre("--set r=8: error: unknown key 'r' of a spec; did you mean 'adapter.r'?"));
  EXPECT_THAT(set("adapter.r"),
              ElementsAre("--set adapter.r: error: expected KEY=VALUE, as in --set adapter.r=8"));
  EXPECT_THAT(set("=8"),
              ElementsAre("--set =8: error: expected KEY=VALUE, as in --set adapter.r=8"));
  EXPECT_THAT(set("adapter..r=8"),
              ElementsAre("--set adapter..r=8: error: 'adapter..r' is no key: write TABLE.KEY, as "
                          "in adapter.r"));
  EXPECT_THAT(set("train.steps.x=8"),
              ElementsAre("--set train.steps.x=8: error: 'train.steps' is not a table"));
  EXPECT_THAT(set("data.3.path=x"),
              ElementsAre("--set data.3.path=x: error: 'data' has 1 tables, none of them '3': "
                          "write data.0.path"));
  EXPECT_THAT(set("adapter.target_modules=[q"),
              ElementsAre("--set adapter.target_modules=[q: error: the value is not TOML: write a "
                          "number, true, a word, "
                          "\"text\" or [a, list]"));
  EXPECT_THAT(set("train.output_dir=\xff"), testing::SizeIs(1));
  EXPECT_THAT(set("train.output_dir="),
              ElementsAre("--set train.output_dir=: error: 'train.output_dir' is empty: name a "
                          "folder or leave it out"));
}

TEST(Override, EnvironmentLosesToFlagAndBeatsSpec) {
  auto get = [](const char *name) -> const char * {
    if (std::string(name) == "LORAC_TRAIN_STEPS")
      return "5";
    if (std::string(name) == "LORAC_ADAPTER_R")
      return "3";
    return nullptr;
  };
  Diagnostics diags;
  std::vector<Override> overrides = environmentOverrides(get);
  ASSERT_EQ(overrides.size(), 2u);
  overrides.push_back(*parseOverride("adapter.r=8", diags));
  Spec spec = parseSpec("a.toml", good(), overrides, diags);
  EXPECT_EQ(diags.text(), "");
  EXPECT_EQ(*spec.train.steps, 5);
  EXPECT_EQ(spec.train.steps.range.str(), "LORAC_TRAIN_STEPS");
  EXPECT_EQ(spec.train.steps.origin(), Origin::Environment);
  EXPECT_EQ(*spec.adapter.r, 8);
}

TEST(SpecJson, EffectiveSpec) {
  Diagnostics diags;
  Spec spec = parseSpec(
      "/specs/b.toml",
      good("[adapter]\nr = 4\ninit_from = 'start'\n[[adapter.rule]]\nmodules = 'q_proj'\nr = 0\n"
           "[[adapter.rule]]\nmodules = 'all-linear'\nlora_alpha = 4\n"),
      {}, diags);
  auto json = nlohmann::json::parse(toJson(spec));
  EXPECT_EQ(json["spec"], "b");
  EXPECT_EQ(json["spec_dir"], "/specs");
  EXPECT_EQ(json["model"]["source"], "/specs/m.gguf");
  EXPECT_EQ(json["quantization"]["format"], "none");
  EXPECT_EQ(json["adapter"]["r"], 4);
  EXPECT_EQ(json["adapter"]["target_modules"], "all-linear");
  EXPECT_EQ(json["adapter"]["init_from"], "/specs/start");
  EXPECT_EQ(json["adapter"]["rule"][0]["r"], 0);
  EXPECT_EQ(json["adapter"]["rule"][0]["modules"], nlohmann::json({"q_proj"}));
  EXPECT_EQ(json["adapter"]["rule"][1]["modules"], nlohmann::json({"all-linear"}));
  EXPECT_FALSE(json["adapter"].contains("loraplus"));
  EXPECT_FALSE(json["adapter"].contains("use_dora")); // as before there was such a key
  EXPECT_EQ(json["optimizer"]["betas"], nlohmann::json({0.9, 0.999}));
  EXPECT_EQ(json["data"][0]["path"], nlohmann::json({"/specs/d.txt"}));
  EXPECT_EQ(json["data"][0]["separator"], "\n%\n");
  EXPECT_EQ(json["train"]["steps"], 20);
  EXPECT_FALSE(json["train"].contains("epochs"));
  EXPECT_FALSE(json["target"].contains("memory"));
}

// A key that an optimizer has not is not written either.
TEST(SpecJson, KeysOfTheOptimizer) {
  auto json = [](const std::string &name) {
    return nlohmann::json::parse(toJson(parsed(good("[optimizer]\nname = '" + name + "'\n"))));
  };
  EXPECT_EQ(json("adamw")["optimizer"], nlohmann::json({{"name", "adamw"},
                                                        {"learning_rate", 2e-4},
                                                        {"betas", {0.9, 0.999}},
                                                        {"eps", 1e-8},
                                                        {"weight_decay", 0.0},
                                                        {"max_grad_norm", 1.0}}));
  EXPECT_EQ(json("lion")["optimizer"], nlohmann::json({{"name", "lion"},
                                                       {"learning_rate", 1e-4},
                                                       {"betas", {0.9, 0.99}},
                                                       {"weight_decay", 0.0},
                                                       {"max_grad_norm", 1.0}}));
}

// Absent at its default: run.json is that of before this key.
TEST(SpecJson, MinLrRatio) {
  Spec spec = parsed(good("[schedule]\nmin_lr_ratio = 0.1\n"));
  EXPECT_EQ(nlohmann::json::parse(toJson(spec))["schedule"]["min_lr_ratio"], 0.1);
  EXPECT_EQ(*parsed(toToml(spec)).schedule.minLrRatio, 0.1);
  EXPECT_EQ(toJson(parsed(good("[schedule]\nmin_lr_ratio = 0\n"))), toJson(parsed(good())));
}

TEST(SpecJson, Gated) {
  Spec gated = parsed(good("[adapter]\nuse_gate = true\n"));
  EXPECT_EQ(nlohmann::json::parse(toJson(gated))["adapter"]["use_gate"], true);
  EXPECT_EQ(toJson(parsed(good("[adapter]\nuse_gate = false\n"))), toJson(parsed(good())));
  EXPECT_TRUE(*parsed(toToml(gated)).adapter.useGate);
}

TEST(SpecJson, Dora) {
  Spec dora = parsed(good("[adapter]\nuse_dora = true\n"));
  EXPECT_EQ(dora.adapter.useDora.range.str(), "a.toml:8:12");
  EXPECT_EQ(nlohmann::json::parse(toJson(dora))["adapter"]["use_dora"], true);
  EXPECT_EQ(nlohmann::json::parse(toJson(dora))["adapter"]["method"], "lora");
  EXPECT_EQ(toJson(parsed(good("[adapter]\nuse_dora = false\n"))), toJson(parsed(good())));
  Spec again = parsed(toToml(dora));
  EXPECT_TRUE(*again.adapter.useDora);
  EXPECT_TRUE(*parsed(good(), {"adapter.use_dora=true"}).adapter.useDora);
}

// What toToml writes is a spec that means the same.
TEST(SpecToml, RoundTrip) {
  for (const char *name : {"tiny_lora", "tiny_qlora", "tiny_loraplus", "smollm2_qlora"}) {
    Diagnostics diags;
    std::string path = std::string(LORAC_SOURCE_DIR) + "/specs/" + name + ".toml";
    Spec spec = loadSpec(path, {*parseOverride("adapter.r=3", diags)}, diags);
    Spec again = parseSpec(path, toToml(spec), {}, diags);
    EXPECT_EQ(diags.text(), "");
    EXPECT_EQ(toJson(again), toJson(spec));
  }
  Diagnostics diags;
  const std::string path = std::string(LORAC_SOURCE_DIR) + "/specs/tiny_lora.toml";
  Spec lion = loadSpec(path, {*parseOverride("optimizer.name=lion", diags)}, diags);
  const std::string text = toToml(lion);
  EXPECT_THAT(text, testing::HasSubstr("betas = [0.9, 0.99]\n"));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("\neps = ")));
  EXPECT_EQ(toJson(parseSpec(path, text, {}, diags)), toJson(lion));
  EXPECT_EQ(diags.text(), "");
}

TEST(SpecToml, SaysWhoSetWhat) {
  std::string text = toToml(
      parsed(good("[adapter]\nr = 4\n"), {"adapter.lora_alpha=8", "data.separator=\"\\t\\\"\""}));
  EXPECT_THAT(text, testing::HasSubstr("r = 4                                   # a.toml:8:5\n"));
  EXPECT_THAT(text, testing::HasSubstr(
                        "lora_alpha = 8.0                        # --set adapter.lora_alpha=8\n"));
  EXPECT_THAT(text, testing::HasSubstr("lora_dropout = 0.0\n"));
  EXPECT_THAT(text, testing::HasSubstr("separator = \"\\t\\\"\""));
}

TEST(Files, PatternsListsAndWhatIsMissing) {
  namespace fs = std::filesystem;
  fs::path folder = fs::path(testing::TempDir()) / "lorac_dsl_files";
  fs::create_directories(folder / "data");
  for (const char *name : {"data/b.txt", "data/a.txt", "data/[x].txt", "m.gguf"})
    std::ofstream(folder / name) << "x";
  auto load = [&](const std::string &paths, Diagnostics &diags) {
    return parseSpec((folder / "a.toml").string(),
                     std::string(Model) + Train + "[[data]]\npath = " + paths, {}, diags);
  };
  Diagnostics diags;
  Spec spec = load("['data/[ab].txt', 'data/[x].txt']", diags);
  checkFiles(spec, diags);
  EXPECT_EQ(diags.text(), "");
  EXPECT_THAT(dataFiles(spec, spec.data[0]),
              ElementsAre((folder / "data/a.txt").string(), (folder / "data/b.txt").string(),
                          (folder / "data/[x].txt").string()));
  Spec bad = load("['no*.txt', 'none.txt', 'data']", diags);
  checkFiles(bad, diags);
  std::string text = diags.text();
  EXPECT_THAT(text, testing::HasSubstr("6:9: error: no file matches '" +
                                       (folder / "no*.txt").string() + "'"));
  EXPECT_THAT(text,
              testing::HasSubstr("6:20: error: cannot read '" + (folder / "none.txt").string() +
                                 "': No such file or directory"));
  EXPECT_THAT(text,
              testing::HasSubstr("is a folder: name a file or a pattern, as in \"data/*.txt\""));
}

TEST(LoadSpec, MissingFile) {
  Diagnostics diags;
  loadSpec("/nowhere/a.toml", {}, diags);
  EXPECT_EQ(diags.text(),
            "/nowhere/a.toml: error: cannot read the file: No such file or directory\n");
}

} // namespace
