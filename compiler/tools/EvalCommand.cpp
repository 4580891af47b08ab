// `lorac eval`.

#include "compiler/tools/RunProgram.h"

namespace lorac::tools {

static const std::vector<ForwardedFlag> flags = {
    adapterFlag,
    {"--logits", "FILE", "write the logits, as safetensors"},
    {"--samples", "N", "only the first N samples"},
    jsonFlag,
};

static Action add(CLI::App &app) { return addRun(app, "--eval", flags); }

const Command commandEval = {
    "eval", "loss per sample of the spec's data, with or without an adapter",
    R"(| `eval SPEC [--adapter DIR]` | loss of each sample, with the adapter's own ranks, modules and scale (below); `--logits FILE` writes the logits as safetensors: `logits.<sample>`, `input_ids.<sample>` |)",
    add};

} // namespace lorac::tools
