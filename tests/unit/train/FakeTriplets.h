#pragma once
// FakeProgram.h's plan with two modules of AdaLoRA's triplets in place of the two tensors; only its
// norm and update are launched.

#include "FakeProgram.h"

#include "runtime/train/JsonFields.h"
#include "runtime/train/ranks/RankAllocator.h"

#include <string>
#include <vector>

namespace lorac::train {

constexpr int64_t mostTriplets = 16, tripletWidth = 4;

/// plan.json of the modules m0 and m1 at these ranks.
inline std::string tripletPlanJson(const RankPattern &ranks) {
  const std::vector<std::string> modules = {"m0", "m1"};
  Json plan = Json::parse(fakePlanJson());
  plan["params"] = Json::array();
  int64_t count = 0, unfolded = 0;
  for (size_t m = 0; m < modules.size(); ++m)
    for (const char *group : {"lora_A", "lora_B", "lora_E"}) {
      if (ranks[m] == 0)
        continue;
      const bool isB = group == std::string("lora_B");
      const int64_t columns = group == std::string("lora_E") ? 1 : tripletWidth;
      plan["params"].push_back(
          {{"name", modules[m] + "." + group + ".weight"},
           {"module", modules[m]},
           {"group", group},
           {"shape", isB ? Json{tripletWidth, ranks[m]} : Json{ranks[m], columns}},
           {"offset", count},
           {"rank", ranks[m]},
           {"scale", 2.0}});
      count += ranks[m] * columns;
      unfolded += isB ? ranks[m] * columns : 0;
    }
  int64_t end = 0;
  Json &arena = plan["arena"];
  arena["regions"] = Json::array();
  std::vector<int64_t> offsets;
  for (auto [name, kind] : {std::pair{"params", "params"},
                            {"grads", "grads"},
                            {"exp_avg", "state"},
                            {"exp_avg_sq", "state"},
                            {"sensitivity", "importance"},
                            {"uncertainty", "importance"},
                            {"unfolded", "unfolded"}}) {
    const int64_t floats = name == std::string("unfolded") ? unfolded : count;
    arena["regions"].push_back(
        {{"name", name}, {"kind", kind}, {"offset", end}, {"count", floats}});
    offsets.push_back(end);
    end += (4 * floats + 63) / 64 * 64;
  }
  for (auto &[name, offset] : plan["io"].items())
    offset = offset.get<int64_t>() + end;
  plan["io"]["orthogonality"] = end;
  arena["bytes"] = end + 8192;
  plan["ranks"] = {{"initial", mostTriplets * int64_t(modules.size())}, {"target", 4}};
  for (const std::string &module : modules)
    plan["ranks"]["modules"].push_back(
        {{"module", module}, {"initial", mostTriplets}, {"min", 0}, {"max", mostTriplets}});

  const int64_t floats = 5 + 2 * 3; // three groups
  plan["optimizer"]["floats"] = floats;
  Json &taken = plan["kernels"][5]["args"];
  taken[1] = {4, 1, floats, floats};
  Json args = {plan["io"]["update_spans"], plan["io"]["update"], plan["io"]["norm"]};
  for (size_t region = 0; region < 4; ++region) {
    taken[3 + region] = {4, 1, count, count};
    args.push_back(offsets[region]);
  }
  const auto spans = int64_t(plan["params"].size()); // all are short
  Json update = plan["programs"]["update"];
  update[0]["args"] = args, update[0]["rows"] = {0, spans}, update[0]["tiles"] = spans;
  Json norm = plan["programs"]["norm"];
  const int64_t sums = end + 4224;
  plan["kernels"][6]["args"][1] = {4, 1, count, count};
  norm[0]["args"] = {plan["io"]["update_spans"], offsets[1], sums}, norm[0]["tiles"] = spans;
  norm[1]["args"] = {sums, plan["io"]["norm"]};
  norm[0]["rows"] = norm[1]["rows"] = {0, spans};
  plan["programs"] = {{"norm", norm}, {"update", update}};
  for (const char *program : {"train", "hidden", "loss", "head", "regularize"})
    plan["programs"][program] = Json::array();
  return plan.dump();
}

} // namespace lorac::train
