#pragma once
// plan.json of the kernels in FakeKernels.cu: the bigram model of FakeProgram.h on a GPU, its
// activations and table in bf16.

#include "FakeProgram.h"

#include "runtime/train/Payload.h"

#include <string>
#include <vector>

namespace lorac::train {

inline std::string fakeCudaPlanJson() {
  return R"({"lorac": "0.1.0", "abi": 6, "spec": "fake",
 "target": {"device": "cuda", "compute": "bf16", "archs": ["sm_80"]},
 "limits": {"max_tokens": 16, "max_segments": 8, "max_length": 8, "head_rows": 8, "vocab": 8},
 "model": {"architecture": "fake", "hyper": {}},
 "weights": [{"name": "model.embed_tokens.weight", "gguf": "token_embd.weight", "shape": [8, 4], "format": "f32",
              "parts": [{"name": "rows", "bytes": 16384}]}],
 "params": [{"name": "bias.lora_A.weight", "module": "bias", "group": "lora_A", "shape": [1, 4], "offset": 4,
             "rank": 1, "scale": 2.0},
            {"name": "bias.lora_B.weight", "module": "bias", "group": "lora_B", "shape": [4, 1], "offset": 0,
             "rank": 1, "scale": 2.0}],
 "arena": {"bytes": 5120, "regions": [{"name": "params", "kind": "params", "offset": 0, "count": 8},
                                      {"name": "grads", "kind": "grads", "offset": 256, "count": 8},
                                      {"name": "exp_avg", "kind": "state", "offset": 512, "count": 8},
                                      {"name": "exp_avg_sq", "kind": "state", "offset": 768, "count": 8}]},
 "optimizer": )" +
         fakeOptimizerJson() + R"(,
 "io": {"ids": 1024, "positions": 1280, "labels": 1536, "segment_starts": 1792, "row_loss": 2048, "step": 2304,
        "row_ends": 2560, "update": 2816, "norm": 4864, "update_spans": 3072, "hidden": 3328, "head_in": 3840, "logits": 4096},
 "tables": [],
 "kernels": [{"name": "fake_embed", "family": "embed", "args": [[], ["w", 16384], [], []], "scalars": [], "threads": 32, "shared": 0},
             {"name": "fake_loss", "family": "cross_entropy", "args": [[], [], ["w", 16384], []], "scalars": [], "threads": 32, "shared": 128},
             {"name": "fake_grad", "family": "matmul_tn", "args": [[], [], ["w", 16384], []], "scalars": [], "threads": 32, "shared": 0},
             {"name": "fake_head", "family": "linear_forward", "args": [[], ["w", 16384], []], "scalars": [], "threads": 32, "shared": 0},
             {"name": "fake_ends", "family": "attention", "args": [[], [], [], []], "scalars": [], "threads": 32, "shared": 0},
             {"name": "fake_squares", "family": "sum_spans", "args": [[], [], []], "scalars": [], "threads": 32, "shared": 128},
             {"name": "fake_norm", "family": "sum_whole", "args": [[], []], "scalars": [], "threads": 32, "shared": 0},
             {"name": "fake_update", "family": "each", "args": [[], [], [], [], [], [], []], "scalars": [], "threads": 64, "shared": 0},
             {"name": "fake_begin", "family": "each", "args": [[], []], "scalars": [], "threads": 32, "shared": 0}],
 "programs": {"train": [{"kernel": 0, "args": [1024, ["w", 0, 0], 0, 3328], "rows": [0, 16], "grid": [16, 1, 1], "flops": 64, "bytes": 256, "op": "embed", "loc": "fake.toml:1:1"},
                        {"kernel": 4, "args": [2560, 1280, 1792, 4608], "rows": [0, 16], "grid": [1, 1, 1]},
                        {"kernel": 1, "args": [3328, 1536, ["w", 0, 0], 2048], "rows": [0, 8], "grid": [1, 1, 1]},
                        {"kernel": 1, "args": [3584, 1568, ["w", 0, 0], 2080], "rows": [8, 8], "grid": [1, 1, 1]},
                        {"kernel": 2, "args": [3328, 1536, ["w", 0, 0], 256], "rows": [0, 16], "grid": [1, 4, 1]}],
              "hidden": [{"kernel": 0, "args": [1024, ["w", 0, 0], 0, 3328], "rows": [0, 16], "grid": [16, 1, 1], "op": "embed", "loc": "fake.toml:1:1"}],
              "loss": [{"kernel": 1, "args": [3328, 1536, ["w", 0, 0], 2048], "rows": [0, 16], "grid": [1, 1, 1]}],
              "head": [{"kernel": 3, "args": [3840, ["w", 0, 0], 4096], "rows": [0, 8], "grid": [8, 1, 1]}],
              "begin": [{"kernel": 8, "args": [3072, 256], "rows": [0, 2], "grid": [2, 1, 1]}],
              "norm": [{"kernel": 5, "args": [3072, 256, 4800], "rows": [0, 2], "grid": [2, 1, 1]},
                       {"kernel": 6, "args": [4800, 4864], "rows": [0, 2], "grid": [1, 1, 1]}],
              "update": [{"kernel": 7, "args": [3072, 2816, 4864, 0, 256, 512, 768], "rows": [0, 2], "grid": [2, 1, 1]}]}})";
}

/// Plan and kernels of a payload.
inline std::vector<PayloadFile> fakeCudaProgram(const std::string &plan = fakeCudaPlanJson()) {
  std::vector<PayloadFile> files = {{"plan.json", plan}};
  const std::string ptx = fileBytes(LORAC_SOURCE_DIR "/tests/unit/train/FakeKernels.ptx");
  const Result<Plan> parsed = parsePlan(plan);
  for (const PlanKernel &kernel : parsed->kernels)
    files.push_back({"kernels/sm_80/" + kernel.name + ".ptx", ptx});
  return files;
}

} // namespace lorac::train
