// `lorac generate`.

#include "compiler/tools/RunProgram.h"

namespace lorac::tools {

static const std::vector<ForwardedFlag> flags = {
    adapterFlag,
    {"--prompt", "TEXT", "what to go on from (repeatable)"},
    {"--max-new-tokens", "N", "at most so many tokens [64]"},
    {"--temperature", "T", "sample at this temperature [0: greedy]"},
    {"--top-k", "N", "sample from the N likeliest tokens [0: all]"},
    {"--top-p", "P", "sample from the likeliest tokens that make up P [1: all]"},
    {"--min-p", "P", "sample from tokens with at least P of the likeliest's probability [0: all]"},
    {"--repetition-penalty", "X", "make tokens that the text holds less likely by this factor [1]"},
    {"--stop", "TEXT", "end a text before this string (repeatable)"},
    {"--seed", "N", "of the sampling"},
    jsonFlag,
};

static void addBatch(CLI::App &app, CompileOptions &compile) {
  compile.sequences = 1;
  app.add_option("--batch", compile.sequences, "prompts at once, each with a cache of its own [1]")
      ->check(CLI::Range(1, 4096))
      ->type_name("N");
}

static Action add(CLI::App &app) { return addRun(app, "--generate", flags, "--prompt", addBatch); }

const Command commandGenerate = {
    "generate", "text from the model, with or without an adapter",
    R"(| `generate SPEC [--adapter DIR] --prompt TEXT` | greedy, or sampled with `--temperature`, `--top-k`, `--top-p`, `--min-p`, `--repetition-penalty`, `--seed`; up to a `--stop` string; `--batch` prompts at once (below) |)",
    add};

} // namespace lorac::tools
