// Bad specs and the exact words about them.

#include "SpecText.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace lorac::dsl;
using namespace lorac::dsl::test;
using testing::ElementsAre;

namespace {

struct Case {
  const char *name;
  const char *more; ///< from line 7 of a good spec
  std::vector<std::string> want;
};

void PrintTo(const Case &c, std::ostream *os) { *os << c.name; }

class SpecErrors : public testing::TestWithParam<Case> {};

TEST_P(SpecErrors, Messages) { EXPECT_EQ(messages(good(GetParam().more)), GetParam().want); }

const Case cases[] = {
    {"Good", "", {}},
    {"RankZero", "[adapter]\nr = 0", {"8:5: error: rank must be positive, got 0"}},
    {"RankType",
     "[adapter]\nr = '8'",
     {"8:5: error: 'adapter.r' must be an integer, got the string \"8\""}},
    {"RankFloat", "[adapter]\nr = 8.0", {"8:5: error: 'adapter.r' must be an integer, got 8.0"}},
    {"RankHuge",
     "[adapter]\nr = 9223372036854775807",
     {"8:5: error: rank must be at most 65536, got 9223372036854775807"}},
    {"LoraR",
     "[adapter]\nlora_r = 8",
     {"8:1: error: unknown key 'lora_r' in [adapter]; did you mean 'r'?"}},
    {"Rank",
     "[adapter]\nrank = 8",
     {"8:1: error: unknown key 'rank' in [adapter]; did you mean 'r'?"}},
    {"Typo",
     "[adapter]\nlora_alhpa = 8",
     {"8:1: error: unknown key 'lora_alhpa' in [adapter]; did you mean 'lora_alpha'?"}},
    {"OtherTable",
     "[adapter]\nlearning_rate = 1e-4",
     {"8:1: error: unknown key 'learning_rate' in [adapter]; did you mean "
      "'optimizer.learning_rate'?"}},
    {"SequenceLen",
     "sequence_len = 512",
     {"7:1: error: unknown key 'sequence_len' in [train]; did you mean 'max_length'?"}},
    {"MicroBatch",
     "micro_batch_size = 2",
     {"7:1: error: unknown key 'micro_batch_size' in [train]; did you mean 'batch_size'?"}},
    {"NumEpochs",
     "num_epochs = 2",
     {"7:1: error: unknown key 'num_epochs' in [train]; did you mean 'epochs'?"}},
    {"Lr",
     "lr = 1e-3",
     {"7:1: error: unknown key 'lr' in [train]; did you mean 'optimizer.learning_rate'?"}},
    {"LoadIn4Bit",
     "[quantization]\nload_in_4bit = true",
     {"8:1: error: unknown key 'load_in_4bit' in [quantization]; did you mean 'format = "
      "\"nf4\"'?"}},
    {"LoadIn4BitElsewhere",
     "load_in_4bit = true",
     {"7:1: error: unknown key 'load_in_4bit' in [train]; did you mean 'quantization.format = "
      "\"nf4\"'?"}},
    {"Dora",
     "[adapter]\ndora = true",
     {"8:1: error: unknown key 'dora' in [adapter]; did you mean 'use_dora'?"}},
    {"DoraTyped",
     "[adapter]\nuse_dora = 'yes'",
     {"8:12: error: 'adapter.use_dora' must be true or false, got the string \"yes\""}},
    {"DoraAsMethod",
     "[adapter]\nmethod = 'dora'",
     {"8:10: error: 'adapter.method' must be one of lora, adalora; got \"dora\"; did you mean "
      "'use_dora = true'?"}},
    {"GatedAsMethod",
     "[adapter]\nmethod = 'gated'",
     {"8:10: error: 'adapter.method' must be one of lora, adalora; got \"gated\"; did you mean "
      "'use_gate = true'?"}},
    {"GatedDora",
     "[adapter]\nuse_dora = true\nuse_gate = true",
     {"9:12: error: 'use_gate' and 'use_dora' are both true: keep one"}},
    {"AdaLora",
     "[adapter]\nmethod = 'adalora'\n[adapter.adalora]\ninit_r = 12\ntarget_r = 4\nrebuild = "
     "'often'",
     {"12:11: error: 'adapter.adalora.rebuild' must be one of auto, always; got \"often\""}},
    {"AdaLoraTyped",
     "[adapter]\nmethod = 'adalora'\n[adapter.adalora]\ninit_r = 'x'\ninit = 3\nprune = 'never'",
     {"10:10: error: 'adapter.adalora.init_r' must be an integer, got the string \"x\"",
      "11:1: error: unknown key 'init' in [adapter.adalora]; did you mean 'tinit'?",
      "12:9: error: 'adapter.adalora.prune' must be one of mask, final, bucketed, eager; got "
      "\"never\""}},
    {"AdaLoraAlone",
     "[adapter.adalora]\nprune = 'mask'",
     {"7:1: error: [adapter.adalora] is for method = \"adalora\""}},
    {"Method",
     "[adapter]\nmethod = 'loar'",
     {"8:10: error: 'adapter.method' must be one of lora, adalora; got \"loar\"; did you mean "
      "'lora'?"}},
    {"Dropout",
     "[adapter]\nlora_dropout = 1.0",
     {"8:16: error: 'adapter.lora_dropout' must be in [0, 1), got 1"}},
    {"DropoutNan",
     "[adapter]\nlora_dropout = nan",
     {"8:16: error: 'adapter.lora_dropout' must be in [0, 1), got nan"}},
    {"Alpha",
     "[adapter]\nlora_alpha = -1",
     {"8:14: error: 'adapter.lora_alpha' must be greater than 0, got -1"}},
    {"Pattern",
     "[adapter]\ntarget_modules = ['q_proj', 'v_(proj']",
     {"8:29: error: 'v_(proj' is not a regular expression: missing closing parenthesis (at "
      "character 8)"}},
    {"NoTargets",
     "[adapter]\ntarget_modules = []",
     {"8:18: error: 'adapter.target_modules' is an empty array: name at least one"}},
    {"TargetType",
     "[adapter]\ntarget_modules = ['q_proj', 3]",
     {"8:29: error: 'adapter.target_modules' must be a string or an array of strings, got 3"}},
    {"RuleTable",
     "[adapter.rule]\nr = 3",
     {"7:1: error: 'adapter.rule' is a list of tables: write [[adapter.rule]]"}},
    {"RuleNoModules",
     "[[adapter.rule]]\nr = 3",
     {"7:1: error: a rule needs 'modules': the pattern of the modules that it is for"}},
    {"RuleNothing",
     "[[adapter.rule]]\nmodules = 'q_proj'",
     {"7:1: error: a rule that changes nothing: give it 'r', 'lora_alpha' or 'lora_dropout'"}},
    {"RuleRank",
     "[[adapter.rule]]\nmodules = 'q_proj'\nr = -2",
     {"9:5: error: rank must be 0 or positive, got -2"}},
    {"Ratio",
     "[adapter.loraplus]\nloraplus_lr_ratio = 0",
     {"8:21: error: 'adapter.loraplus.loraplus_lr_ratio' must be greater than 0, got 0"}},
    {"RatioPlace",
     "[adapter]\nloraplus_lr_ratio = 16",
     {"8:1: error: unknown key 'loraplus_lr_ratio' in [adapter]; did you mean "
      "'loraplus.loraplus_lr_ratio'?"}},
    {"Format",
     "[quantization]\nformat = 'nf5'",
     {"8:10: error: 'quantization.format' must be one of none, keep, nf4, fp4; got \"nf5\"; did "
      "you mean 'nf4'?"}},
    {"Int8",
     "[quantization]\nformat = 'int8'",
     {"8:10: error: quantization.format = \"int8\" is known, not in this version"}},
    {"BlockSize",
     "[quantization]\nblock_size = 48",
     {"8:14: error: 'quantization.block_size' must be a power of two from 32 to 4096, got 48"}},
    {"BlockSizeBig",
     "[quantization]\nblock_size = 8192",
     {"8:14: error: 'quantization.block_size' must be a power of two from 32 to 4096, got 8192"}},
    {"BlockSizeMin",
     "[quantization]\nblock_size = -9223372036854775808",
     {"8:14: error: 'quantization.block_size' must be a power of two from 32 to 4096, got "
      "-9223372036854775808"}},
    {"Bf16",
     "[quantization]\ncompute_dtype = 'bf16'",
     {"8:17: error: 'quantization.compute_dtype' = \"bf16\" is refused on cpu: its kernels "
      "multiply in f32, and "
      "16-bit would only round; write \"auto\" or \"f32\""}},
    {"Betas",
     "[optimizer]\nbetas = [0.9, 1.0]",
     {"8:15: error: 'optimizer.betas' must be in [0, 1), got 1"}},
    {"BetasOne",
     "[optimizer]\nbetas = [0.9]",
     {"8:9: error: 'optimizer.betas' must be two numbers, as in [0.9, 0.999], got an array"}},
    {"LearningRate",
     "[optimizer]\nlearning_rate = 0",
     {"8:17: error: 'optimizer.learning_rate' must be greater than 0, got 0"}},
    {"LearningRateInf",
     "[optimizer]\nlearning_rate = inf",
     {"8:17: error: 'optimizer.learning_rate' must be greater than 0, got inf"}},
    {"OptimizerWord",
     "[optimizer]\nname = 'lino'",
     {"8:8: error: 'optimizer.name' must be one of adamw, adamw_8bit, lion, lion_8bit; got "
      "\"lino\"; did you mean 'lion'?"}},
    {"LionEps",
     "[optimizer]\nname = 'lion'\neps = 1e-8",
     {"9:7: error: 'optimizer.eps' says nothing to lion, which divides by no root: leave it out"}},
    {"LionEpsZero",
     "[optimizer]\neps = 0\nname = 'lion'",
     {"8:7: error: 'optimizer.eps' says nothing to lion, which divides by no root: leave it out"}},
    {"AdamWEpsZero",
     "[optimizer]\neps = 0",
     {"8:7: error: 'optimizer.eps' must be greater than 0, got 0"}},
    {"LaterOptimizer",
     "[optimizer]\nname = 'sgd'",
     {"8:8: error: optimizer.name = \"sgd\" is known, not in this version"}},
    {"OptimizerOfBitsandbytes",
     "[optimizer]\nname = 'paged_adamw_8bit'",
     {"8:8: error: 'optimizer.name' must be one of adamw, adamw_8bit, lion, lion_8bit; got "
      "\"paged_adamw_8bit\"; did you mean 'adamw_8bit'?"}},
    {"OptimizerOfTorch",
     "[optimizer]\nname = 'adamw_torch'",
     {"8:8: error: 'optimizer.name' must be one of adamw, adamw_8bit, lion, lion_8bit; got "
      "\"adamw_torch\"; did you mean 'adamw'?"}},
    {"PagedLion",
     "[optimizer]\nname = 'paged_lion_32bit'",
     {"8:8: error: 'optimizer.name' must be one of adamw, adamw_8bit, lion, lion_8bit; got "
      "\"paged_lion_32bit\"; did you mean 'lion'?"}},
    {"SizeOf8BitStatesOfLion",
     "[optimizer]\nname = 'lion'\nmin_8bit_size = 128",
     {"9:17: error: 'optimizer.min_8bit_size' says nothing to lion, whose states are float32: "
      "leave it out"}},
    {"SizeOf8BitStatesZero",
     "[optimizer]\nname = 'lion_8bit'\nmin_8bit_size = 0",
     {"9:17: error: 'optimizer.min_8bit_size' must be at least 1, got 0"}},
    {"Warmups",
     "[schedule]\nwarmup_steps = 3\nwarmup_ratio = 0.1",
     {"9:16: error: 'warmup_steps' and 'warmup_ratio' are both given: keep one"}},
    {"WarmupLong",
     "[schedule]\nwarmup_steps = 30",
     {"8:16: warning: the warm-up of 30 steps does not end within the 20 of the run"}},
    {"WarmupRatio",
     "[schedule]\nwarmup_ratio = 1.5",
     {"8:16: error: 'schedule.warmup_ratio' must be at most 1, got 1.5"}},
    {"MinLrRatio",
     "[schedule]\nmin_lr_ratio = 2",
     {"8:16: error: 'schedule.min_lr_ratio' must be at most 1, got 2"}},
    {"MinLrOfConstant",
     "[schedule]\nname = 'constant'\nmin_lr_ratio = 0.1",
     {"9:16: error: 'schedule.min_lr_ratio' says nothing to name = \"constant\", whose rate does "
      "not fall: leave it out"}},
    {"MinLrElsewhere",
     "[schedule]\nmin_lr = 1e-5",
     {"8:1: error: unknown key 'min_lr' in [schedule]; did you mean 'min_lr_ratio'?"}},
    {"MinLrOfTransformers",
     "[schedule]\nname = 'cosine_with_min_lr'",
     {"8:8: error: 'schedule.name' must be one of constant, linear, cosine; got "
      "\"cosine_with_min_lr\"; did you mean 'min_lr_ratio = 0.1'?"}},
    {"StepsAndEpochs",
     "epochs = 2",
     {"7:10: error: 'steps' and 'epochs' are both given: keep one"}},
    {"Batch", "batch_size = 0", {"7:14: error: 'train.batch_size' must be at least 1, got 0"}},
    {"Tokens",
     "batch_size = 2147483648\nmax_length = 2147483648",
     {"8:14: error: a batch of 2147483648 x 2147483648 tokens is more than 67108864: lower "
      "'batch_size' or "
      "'max_length'"}},
    {"Seed", "seed = -1", {"7:8: error: 'train.seed' must be at least 0, got -1"}},
    {"Gpu",
     "[target]\ndevice = 'gpu'",
     {"8:10: error: 'target.device' must be one of auto, cpu, cuda; got \"gpu\"; did you mean "
      "'cuda'?"}},
    {"Memory",
     "[target]\nmemory = '2 Gib'",
     {"8:10: error: 'target.memory' must be an amount as in \"2 GiB\" or \"512 MiB\", got the "
      "string \"2 Gib\""}},
    {"MemoryNegative",
     "[target]\nmemory = -1",
     {"8:10: error: 'target.memory' must be an amount as in \"2 GiB\" or \"512 MiB\", got -1"}},
    {"Arch",
     "[target]\narch = ['80']",
     {"8:9: error: 'target.arch' names compute architectures as in \"sm_80\", got \"80\""}},
    {"SecondData",
     "[[data]]\npath = 'x'",
     {"7:1: error: a second [[data]] table is known, not in this version"}},
    {"TableForTables",
     "[[target]]\nthreads = 1",
     {"7:1: error: 'target' is one table: write [target]"}},
    {"UnknownTable",
     "[lora]\nr = 8",
     {"7:2: error: unknown table 'lora' of a spec; did you mean '[adapter]'?"}},
    {"Date",
     "seed = 1979-05-27",
     {"7:8: error: 'train.seed' must be an integer, got a date or time"}},
};

INSTANTIATE_TEST_SUITE_P(All, SpecErrors, testing::ValuesIn(cases),
                         [](const auto &info) { return info.param.name; });

// Lines 3 to 5 are the data table.
TEST(SpecErrorsData, Messages) {
  auto data = [](const std::string &body) {
    return messages(std::string(Model) + "[[data]]\n" + body + Train);
  };
  EXPECT_THAT(data("path = 'd'\nformat = 'chat'\n"),
              ElementsAre("5:10: error: data.format = \"chat\" is known, not in this version"));
  EXPECT_THAT(data("path = 'd'\nformat = 'alpaka'\n"),
              ElementsAre("5:10: error: 'data.format' must be one of text, jsonl, tokens, "
                          "prompt-completion, alpaca; got \"alpaka\"; did you mean 'alpaca'?"));
  EXPECT_THAT(data("path = 'd'\nformat = 'alpaca'\n"), testing::IsEmpty());
  EXPECT_THAT(data("format = 'text'\n"),
              ElementsAre("3:1: error: [[data]] needs 'path': a file, a pattern or a list"));
  EXPECT_THAT(data("path = ['a', '']\n"),
              ElementsAre("4:14: error: 'data.path' must be the name of a file, got \"\""));
  EXPECT_THAT(data("path = 'd'\nname = '../x'\n"),
              ElementsAre("5:8: error: 'data.name' must be letters, digits, '_', '-' or '.', at "
                          "most 64, got \"../x\""));
  // The format follows the name, or is asked for.
  EXPECT_THAT(
      data("path = 'd.csv'\n"),
      ElementsAre(testing::StartsWith("4:8: error: 'd.csv' ends with '.csv', which is no format "
                                      "that is read here: ")));
  EXPECT_THAT(data("path = 'd.csv'\nformat = 'text'\n"), testing::IsEmpty());
  EXPECT_THAT(data("path = ['d.JSONL', 'd.txt']\n"),
              ElementsAre("4:20: error: the files' names say two formats: this one \"text\"; set "
                          "'data.format'"));
  EXPECT_THAT(data("path = 'd'\neval_fraction = 1.0\n"),
              ElementsAre("5:17: error: 'data.eval_fraction' must be at most 0.9, got 1"));
  EXPECT_THAT(data("path = 'd'\nformat = 'tokens'\neval_fraction = 0.1\n"),
              ElementsAre("6:17: error: 'data.eval_fraction' must be 0 for format \"tokens\": its "
                          "batches are never split"));
  EXPECT_THAT(data("path = 'd'\nformat = 'jsonl'\nseparator = 'x'\n"),
              ElementsAre("6:13: warning: 'data.separator' is only for format = \"text\""));
  EXPECT_THAT(messages(std::string(Model) + "[[data]]\npath = 'd'\nformat = 'tokens'\n" + Train +
                       "packing = true\n"),
              ElementsAre("8:11: error: 'train.packing' must be false for data of format "
                          "\"tokens\": it is taken batch "
                          "by batch as it stands"));
}

TEST(SpecErrorsModel, Messages) {
  auto model = [](const std::string &body) {
    return messages(std::string(Data) + Train + "[model]\n" + body);
  };
  EXPECT_THAT(
      model(""),
      ElementsAre("5:1: error: [model] needs 'source', or 'architecture' and 'shape' for weights "
                  "drawn from the seed"));
  EXPECT_THAT(
      model("source = ''"),
      ElementsAre(
          "6:10: error: 'model.source' is empty: name a GGUF file or a Hugging Face directory"));
  EXPECT_THAT(model("source = 3"),
              ElementsAre("6:10: error: 'model.source' must be a string, got 3"));
  EXPECT_THAT(model("architecture = 'llama'\nshape = { layers = 2, hidden_size = 'x' }"),
              ElementsAre("7:37: error: 'model.shape.hidden_size' must be a number, true or false, "
                          "got the string \"x\""));
  EXPECT_THAT(
      model("architecture = 'llama'\nshape = { layers = 2 }\n[quantization]\nformat = 'keep'"),
      ElementsAre("9:10: error: 'quantization.format' = \"keep\" needs a 'model.source': drawn "
                  "weights have no "
                  "blocks to keep"));
  EXPECT_THAT(
      model("source = 'x'\nmodel_name_or_path = 'y'"),
      ElementsAre(
          "7:1: error: unknown key 'model_name_or_path' in [model]; did you mean 'source'?"));
}

TEST(SpecErrorsMissing, Tables) {
  EXPECT_THAT(
      messages(""),
      ElementsAre("1:1: error: no [[data]] table: name what to train on, with path = \"FILE.txt\"",
                  "1:1: error: no [model] table: name the model with source = \"FILE.gguf\"",
                  "1:1: error: no [train] table: say how long to train, with steps = 60 or epochs "
                  "= 1"));
  EXPECT_THAT(messages(std::string(Model) + Data + "[train]\n"),
              ElementsAre("5:1: error: [train] needs 'steps' or 'epochs'"));
}

TEST(SpecErrorsMany, AllInOneRun) {
  std::vector<std::string> all =
      messages("[model]\nsource = 3\n[adapter]\nr = 0\nlora_dropout = 2\nfoo = 1\n"
               "[quantization]\nformat = 'x'\nblock_size = 1\n[optimizer]\nlr = 1\n"
               "betas = 3\n[[data]]\nformat = 'chat'\n[train]\nsteps = -1\nepochs = 3\n");
  EXPECT_EQ(all.size(), 12u);
  EXPECT_EQ(all.front(), "2:10: error: 'model.source' must be a string, got 3");
  EXPECT_EQ(all.back(), "17:10: error: 'steps' and 'epochs' are both given: keep one");
}

TEST(SpecErrorsRendered, WithCaretAndNotes) {
  Diagnostics diags;
  parse(good("[adapter]\nr = 0 # none\n\"ключ漢\" = 1\n"), diags);
  EXPECT_EQ(diags.text(),
            "a.toml:8:5: error: rank must be positive, got 0\n"
            "r = 0 # none\n"
            "    ^\n"
            "a.toml:8:5: note: for no adapter on some modules, write r = 0 in an [[adapter.rule]]\n"
            "a.toml:9:1: error: unknown key 'ключ漢' in [adapter]\n"
            "\"ключ漢\" = 1\n"
            "^~~~~~~~\n"
            "a.toml:9:1: note: keys of [adapter]: method, adalora, r, lora_alpha, lora_dropout, "
            "use_rslora, use_dora, use_gate, target_modules, "
            "init_from, rule, loraplus\n");
}

} // namespace
