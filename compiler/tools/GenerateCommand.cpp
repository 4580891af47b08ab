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
    {"--seed", "N", "of the sampling"},
    jsonFlag,
};

static Action add(CLI::App &app) { return addRun(app, "--generate", flags, "--prompt"); }

const Command commandGenerate = {
    "generate", "text from the model, with or without an adapter",
    R"(| `generate SPEC [--adapter DIR] --prompt TEXT` | greedy, or sampled with `--temperature`, `--top-k`, `--top-p`, `--seed` |)",
    add};

} // namespace lorac::tools
