// `lorac train`.

#include "compiler/tools/RunProgram.h"

namespace lorac::tools {

static const std::vector<ForwardedFlag> flags = {
    {"--steps", "N", "optimizer steps, instead of the spec's"},
    {"--resume", nullptr, "go on from the newest checkpoint of the output folder"},
    {"--overwrite", nullptr, "replace the run in the output folder"},
    {"-o,--out", "DIR", "output folder, instead of the spec's"},
    {"--metrics", "FILE", "write metrics there too, as JSON lines"},
    {"--lorac", "FILE",
     "the lorac that builds programs when AdaLoRA's ranks have fallen [this one]"},
    {"--allow-fixed-ranks", nullptr, "train without it too: ranks fall, memory and time do not"},
    {"--profile", "FILE", "write what each kernel cost, as JSON"},
};

static Action add(CLI::App &app) { return addRun(app, "", flags); }

const Command commandTrain = {
    "train", "compile a spec, then train",
    R"(| `train SPEC` | compiles, then trains; `--steps`, `--threads`, `--resume`, `--overwrite`, `--out`, `--model`, `--data NAME=PATH`, `--metrics FILE`, `--profile FILE`, `--lorac FILE`, `--allow-fixed-ranks` are those of the binary |)",
    add};

} // namespace lorac::tools
