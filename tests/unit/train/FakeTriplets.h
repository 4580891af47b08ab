#pragma once
// FakeProgram.h's plan with two modules of AdaLoRA's triplets in place of the two tensors; only its
// begin, norm, update, importance and zero_triplets are launched.

#include "FakeProgram.h"

#include "runtime/train/JsonFields.h"
#include "runtime/train/ranks/RankAllocator.h"

#include <string>
#include <vector>

namespace lorac::train {

constexpr int64_t mostTriplets = 16, tripletWidth = 4;

/// plan.json of the modules m0 and m1 at these ranks. `in8bits`: the states of all A and B are,
/// those of E lie compactly; the update, which is AdamW's, is not for running then.
inline std::string tripletPlanJson(const RankPattern &ranks, bool in8bits = false) {
  const std::vector<std::string> modules = {"m0", "m1"};
  Json plan = Json::parse(fakePlanJson());
  plan["params"] = Json::array();
  int64_t count = 0, unfolded = 0, blocks = 0, compact = 0;
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
      compact += columns == 1 ? ranks[m] : 0;
      blocks += columns == 1 ? 0 : 1; // all are short
    }
  int64_t end = 0;
  Json &arena = plan["arena"];
  arena["regions"] = Json::array();
  std::vector<int64_t> offsets;
  auto add = [&](const std::string &name, const char *kind, int64_t numbers,
                 const std::string &storage = "") {
    arena["regions"].push_back(
        {{"name", name}, {"kind", kind}, {"offset", end}, {"count", numbers}});
    if (!storage.empty())
      arena["regions"].back()["storage"] = storage;
    offsets.push_back(end);
    end += ((storage.starts_with("dynamic8") ? 1 : 4) * numbers + 63) / 64 * 64;
  };
  add("params", "params", count), add("grads", "grads", count);
  for (const std::string state : {"exp_avg", "exp_avg_sq"})
    if (in8bits) {
      add(state, "state", blocks > 0 ? count : 0,
          state == "exp_avg" ? "dynamic8_signed" : "dynamic8_unsigned");
      add(state + "_absmax", "state", blocks, "absmax");
      add(state + "_compact", "state", compact, "compact");
    } else {
      add(state, "state", count);
    }
  for (const char *average : {"sensitivity", "uncertainty"})
    add(average, "importance", count);
  add("unfolded", "unfolded", unfolded);
  for (auto &[name, offset] : plan["io"].items())
    offset = offset.get<int64_t>() + end;
  plan["io"]["orthogonality"] = end;
  plan["io"]["importance"] = end + 128;
  arena["bytes"] = end + 8192;
  plan["ranks"] = {{"initial", mostTriplets * int64_t(modules.size())}, {"target", 4}};
  for (const std::string &module : modules)
    plan["ranks"]["modules"].push_back(
        {{"module", module}, {"initial", mostTriplets}, {"min", 0}, {"max", mostTriplets}});

  const int64_t floats = 5 + 2 * 3; // three groups
  plan["optimizer"]["floats"] = floats;
  if (in8bits)
    plan["optimizer"]["min_8bit_size"] = mostTriplets * tripletWidth;
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
  plan["importance"] = Json::parse(R"({"floats": 4, "scalars": [
    {"name": "beta1", "at": 0, "by_group": 0, "formula": [0.85]},
    {"name": "one_minus_beta1", "at": 1, "by_group": 0, "formula": [1, 0.85, "-"]},
    {"name": "beta2", "at": 2, "by_group": 0, "formula": [0.6]},
    {"name": "one_minus_beta2", "at": 3, "by_group": 0, "formula": [1, 0.6, "-"]}]})");
  Json kernel = plan["kernels"][5], importance = update;
  kernel["name"] = "fake_importance", kernel["args"][1] = {4, 1, 4, 4};
  importance[0]["kernel"] = plan["kernels"].size();
  plan["kernels"].push_back(kernel);
  args[1] = plan["io"]["importance"];
  args[5] = plan["arena"]["regions"][offsets.size() - 3]["offset"];
  args[6] = plan["arena"]["regions"][offsets.size() - 2]["offset"];
  importance[0]["args"] = args;
  Json norm = plan["programs"]["norm"];
  const int64_t sums = end + 4224;
  plan["kernels"][6]["args"][1] = {4, 1, count, count};
  norm[0]["args"] = {plan["io"]["update_spans"], offsets[1], sums}, norm[0]["tiles"] = spans;
  norm[1]["args"] = {sums, plan["io"]["norm"]};
  norm[0]["rows"] = norm[1]["rows"] = {0, spans};
  Json begin = plan["programs"]["begin"];
  plan["kernels"][8]["args"][1] = {4, 1, count, count};
  begin[0]["args"] = {plan["io"]["update_spans"], offsets[1]};
  begin[0]["rows"] = {0, spans}, begin[0]["tiles"] = spans;
  int64_t at = end + 4352;
  for (const char *name : {"triplets", "triplet_scores", "triplet_states", "triplet_owns"})
    plan["io"][name] = at, at += 256;
  Json zeros = begin, flat = {4, 1, count, count};
  kernel["name"] = "fake_zeros", kernel["family"] = "triplet_zeros";
  kernel["args"] = {{4, "rows", 8, 8}, {4, 1, 32, 32}, flat, flat, flat, flat, flat};
  zeros[0]["kernel"] = plan["kernels"].size();
  plan["kernels"].push_back(kernel);
  zeros[0]["args"] = {plan["io"]["triplets"],
                      plan["io"]["triplet_states"],
                      offsets[0],
                      offsets[2],
                      offsets[3],
                      args[5],
                      args[6]};
  zeros[0]["rows"] = {0, modules.size()}, zeros[0]["tiles"] = modules.size();
  plan["programs"] = {{"begin", begin},
                      {"norm", norm},
                      {"update", update},
                      {"importance", importance},
                      {"zero_triplets", in8bits ? Json::array() : zeros}};
  for (const char *program : {"fold", "unfold", "unfold_grads", "scores"})
    plan["programs"][program] = Json::array();
  for (const char *program : {"train", "hidden", "loss", "head", "regularize"})
    plan["programs"][program] = Json::array();
  return plan.dump();
}

} // namespace lorac::train
