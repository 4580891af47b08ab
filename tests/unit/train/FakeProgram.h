#pragma once
// plan.json and module of the C kernels in FakeModule.c: a vocabulary of 8, rows of 4, two
// parameter tensors, AdamW.

#include "runtime/train/Arena.h"
#include "runtime/train/Backend.h"
#include "runtime/train/JsonFields.h"
#include "runtime/train/Plan.h"

#include <fstream>
#include <iterator>
#include <string>

namespace lorac::train {

/// AdamW's scalars (docs/design.md, "Optimizers as programs") of two groups, as TrainBinary's
/// run.json has its numbers.
inline std::string fakeOptimizerJson() {
  return R"({"name": "adamw", "floats": 9, "scalars": [
  {"name": "one_minus_beta1", "at": 0, "by_group": 0, "formula": [1, 0.9, "-"]},
  {"name": "beta2", "at": 1, "by_group": 0, "formula": [0.999]},
  {"name": "one_minus_beta2", "at": 2, "by_group": 0, "formula": [1, 0.999, "-"]},
  {"name": "correction2_sqrt", "at": 3, "by_group": 0, "formula": [1, 0.999, "update", "pow", "-", "sqrt"]},
  {"name": "eps", "at": 4, "by_group": 0, "formula": [1e-8]},
  {"name": "decay", "at": 5, "by_group": 2, "formula": [1, "rate", 0.01, "*", "-"]},
  {"name": "minus_step", "at": 6, "by_group": 2, "formula": ["rate", 1, 0.9, "update", "pow", "-", "/", "neg"]}]})";
}

inline std::string fakePlanJson() {
  return R"({"lorac": "0.1.0", "abi": 6, "spec": "fake",
 "target": {"device": "cpu", "cpu": "x86-64", "features": ["sse2"]},
 "limits": {"max_tokens": 16, "max_segments": 8, "max_length": 8, "head_rows": 8, "vocab": 8},
 "model": {"architecture": "fake", "hyper": {}},
 "weights": [{"name": "model.embed_tokens.weight", "gguf": "token_embd.weight", "shape": [8, 4], "format": "f32",
              "parts": [{"name": "panels", "bytes": 256}]}],
 "params": [{"name": "bias.lora_A.weight", "module": "bias", "group": "lora_A", "shape": [1, 4], "offset": 4,
             "rank": 1, "scale": 2.0},
            {"name": "bias.lora_B.weight", "module": "bias", "group": "lora_B", "shape": [4, 1], "offset": 0,
             "rank": 1, "scale": 2.0}],
 "arena": {"bytes": 8192, "scratch_bytes": 64,
           "regions": [{"name": "params", "kind": "params", "offset": 0, "count": 8},
                       {"name": "grads", "kind": "grads", "offset": 64, "count": 8},
                       {"name": "exp_avg", "kind": "state", "offset": 128, "count": 8},
                       {"name": "exp_avg_sq", "kind": "state", "offset": 192, "count": 8}]},
 "optimizer": )" +
         fakeOptimizerJson() + R"(,
 "io": {"ids": 256, "positions": 320, "labels": 384, "segment_starts": 448, "row_loss": 512, "hidden": 1024,
        "head_in": 2048, "logits": 3072, "update": 576, "norm": 768, "update_spans": 640},
 "tables": [],
 "kernels": [{"name": "fake_embed", "family": "embed",
              "args": [[4, "rows", 1, 1], ["w", 256], [4, 1, 4, 4], [4, "rows", 16, 4]], "scalars": [],
              "tiles": {"space": "rows", "tile": 1}},
             {"name": "fake_loss", "family": "cross_entropy",
              "args": [[4, "rows", 16, 4], [4, "rows", 1, 1], ["w", 256], [4, "rows", 1, 1]], "scalars": [],
              "tiles": {"space": "rows", "tile": 2}},
             {"name": "fake_grad", "family": "matmul_tn",
              "args": [[4, "rows", 16, 4], [4, "rows", 1, 1], ["w", 256], [4, 1, 4, 4]], "scalars": [],
              "tiles": {"space": "const", "count": 4}},
             {"name": "fake_head", "family": "linear_forward",
              "args": [[4, "rows", 16, 4], ["w", 256], [4, "rows", 16, 8]], "scalars": [],
              "tiles": {"space": "rows", "tile": 1}},
             {"name": "fake_segments", "family": "attention",
              "args": [[4, "starts", 1, 1], [4, "starts", 1, 1]], "scalars": [],
              "tiles": {"space": "segments", "count": 1}, "scratch": 64},
             {"name": "fake_update", "family": "each",
              "args": [[4, "rows", 4, 4], [4, 1, 9, 9], [4, 1, 4, 4], [4, 1, 8, 8], [4, 1, 8, 8], [4, 1, 8, 8], [4, 1, 8, 8]],
              "scalars": [], "tiles": {"space": "rows", "tile": 1}},
             {"name": "fake_squares", "family": "sum_spans",
              "args": [[4, "rows", 4, 4], [4, 1, 8, 8], [8, "rows", 1, 1]], "scalars": [],
              "tiles": {"space": "rows", "tile": 1}},
             {"name": "fake_norm", "family": "sum_whole", "args": [[8, "rows", 1, 1], [4, 1, 4, 4]], "scalars": [],
              "tiles": {"space": "const", "count": 1}},
             {"name": "fake_begin", "family": "each", "args": [[4, "rows", 4, 4], [4, 1, 8, 8]], "scalars": [],
              "tiles": {"space": "rows", "tile": 1}}],
 "programs": {"train": [{"kernel": 0, "args": [256, ["w", 0, 0], 0, 1024], "rows": [0, 16], "tiles": 16, "flops": 64, "bytes": 256, "op": "embed"},
                        {"kernel": 4, "args": [448, 4096], "rows": [0, 16], "tiles": 1},
                        {"kernel": 1, "args": [1024, 384, ["w", 0, 0], 512], "rows": [0, 8], "tiles": 4},
                        {"kernel": 1, "args": [1536, 416, ["w", 0, 0], 544], "rows": [8, 8], "tiles": 4},
                        {"kernel": 2, "args": [1024, 384, ["w", 0, 0], 64], "rows": [0, 16], "tiles": 4}],
              "hidden": [{"kernel": 0, "args": [256, ["w", 0, 0], 0, 1024], "rows": [0, 16], "tiles": 16}],
              "loss": [{"kernel": 1, "args": [1024, 384, ["w", 0, 0], 512], "rows": [0, 16], "tiles": 8}],
              "head": [{"kernel": 3, "args": [2048, ["w", 0, 0], 3072], "rows": [0, 8], "tiles": 8}],
              "begin": [{"kernel": 8, "args": [640, 64], "rows": [0, 2], "fixed": true, "tiles": 2}],
              "norm": [{"kernel": 6, "args": [640, 64, 4224], "rows": [0, 2], "fixed": true, "tiles": 2},
                       {"kernel": 7, "args": [4224, 768], "rows": [0, 2], "fixed": true, "tiles": 1}],
              "update": [{"kernel": 5, "args": [640, 576, 768, 0, 64, 128, 192], "rows": [0, 2], "fixed": true, "tiles": 2}]}})";
}

/// The fake plan with DoRA's magnitudes; its `initialize` is a launch of the update, for reading.
inline std::string fakeDoraPlanJson() {
  Json plan = Json::parse(fakePlanJson());
  plan["params"].push_back({{"name", "bias.lora_magnitude_vector"},
                            {"module", "bias"},
                            {"group", "lora_magnitude_vector"},
                            {"shape", {4}},
                            {"offset", 8},
                            {"rank", 1},
                            {"scale", 2.0}});
  for (Json &region : plan["arena"]["regions"])
    region["count"] = 12;
  plan["optimizer"]["floats"] = 11; // of three groups
  plan["programs"]["initialize"] = plan["programs"]["update"];
  return plan.dump();
}

/// The fake plan with gates.
inline std::string fakeGatedPlanJson() {
  Json plan = Json::parse(fakeDoraPlanJson());
  plan["params"][2]["name"] = "bias.lora_gate";
  plan["params"][2]["group"] = "lora_gate";
  plan["programs"].erase("initialize");
  return plan.dump();
}

/// What a run has trained, where it lies in an arena.
inline TrainedFloats trainedIn(const Arena &arena, const Plan &plan) {
  TrainedFloats out{arena.at<float>(plan.region(RegionKind::Params).offset), {}};
  for (const PlanRegion &region : plan.trained())
    if (isCode(region.storage))
      out.others.push_back({region.name, nullptr, arena.at<uint8_t>(region.offset)});
    else if (region.kind != RegionKind::Params)
      out.others.push_back({region.name, arena.at<float>(region.offset)});
  return out;
}

inline std::string fileBytes(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

} // namespace lorac::train
