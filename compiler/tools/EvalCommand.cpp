// `lorac eval`.

#include "compiler/tools/RunProgram.h"

namespace lorac::tools {

static const std::vector<ForwardedFlag> flags = {
    {"--adapter", "DIR", "an adapter in PEFT's layout [none: the base alone]"},
    {"--logits", "FILE", "write the logits, as safetensors"},
    {"--samples", "N", "only the first N samples"},
    {"--json", nullptr, "print JSON"},
};

static Action add(CLI::App &app) { return addRun(app, "--eval", flags); }

const Command commandEval = {
    "eval", "loss per sample of the spec's data, with or without an adapter",
    R"(| `eval SPEC [--adapter DIR]` | loss of each sample, with the adapter's own ranks, modules and scale (below); `--logits FILE` writes the logits as safetensors: `logits.<sample>`, `input_ids.<sample>` |)",
    add};

} // namespace lorac::tools
