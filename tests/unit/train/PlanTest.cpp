#include "FakeCudaProgram.h"
#include "FakeTriplets.h"

#include "runtime/train/JsonFields.h"

#include <gtest/gtest.h>

#include <functional>

namespace lorac::train {
namespace {

std::string replaced(const std::string &from, const std::string &to,
                     std::string json = fakePlanJson()) {
  size_t at = json.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return json.replace(at, from.size(), to);
}

TEST(Plan, Reads) {
  Result<Plan> plan = parsePlan(fakePlanJson());
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->spec, "fake");
  EXPECT_EQ(plan->hiddenSize, 4);
  EXPECT_EQ(plan->train.size(), 5u);
  EXPECT_EQ(plan->train[0].args[1].weight, 0);
  EXPECT_EQ(plan->train[3].rowBegin, 8);
  EXPECT_EQ(plan->params[0].count(), 4);
  EXPECT_EQ(plan->weightBytes(), 256);
  EXPECT_EQ(plan->begin.size(), 1u);
  EXPECT_EQ(plan->norm.size(), 2u);
  EXPECT_EQ(plan->update.size(), 1u);
  EXPECT_TRUE(plan->update[0].fixedRows);
  EXPECT_EQ(plan->io.update, 576);
  EXPECT_EQ(plan->io.norm, 768);
  EXPECT_EQ(plan->optimizer->name, "adamw");
  EXPECT_EQ(plan->updateScalars.list[5].byGroup, 2);
  EXPECT_EQ(plan->groups(), (std::vector<AdapterPart>{AdapterPart::A, AdapterPart::B}));
}

TEST(Plan, RefusesAModuleOfRanksTwice) {
  Json json = Json::parse(tripletPlanJson({3, 2}));
  json["ranks"]["modules"][1]["module"] = json["ranks"]["modules"][0]["module"];
  Result<Plan> plan = parsePlan(json.dump());
  ASSERT_FALSE(plan);
  EXPECT_NE(plan.error().message.find("names 'm0' a second time"), std::string::npos)
      << plan.error().message;
}

TEST(Plan, KnowsItsRegions) {
  Result<Plan> plan = parsePlan(tripletPlanJson({3, 2}));
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->region(RegionKind::Grads).name, "grads");
  EXPECT_EQ(plan->region(RegionKind::State).name, "exp_avg") << "the first";
  EXPECT_EQ(plan->region("exp_avg_sq").kind, RegionKind::State);
  EXPECT_EQ(plan->region("exp_avg_sq").count, 45);
  EXPECT_EQ(plan->region(RegionKind::Unfolded).count, 20);
  EXPECT_EQ(plan->region("none").count, 0);
  std::vector<std::string> names;
  for (const PlanRegion &region : plan->trained())
    names.push_back(region.name);
  EXPECT_EQ(names, (std::vector<std::string>{"params", "exp_avg", "exp_avg_sq", "sensitivity",
                                             "uncertainty"}));
  // States of any number and name, in the order in which they lie.
  Json json = Json::parse(fakePlanJson());
  json["arena"]["regions"][3]["name"] = "z";
  std::swap(json["arena"]["regions"][1], json["arena"]["regions"][2]);
  std::swap(json["arena"]["regions"][1]["offset"], json["arena"]["regions"][2]["offset"]);
  plan = parsePlan(json.dump());
  ASSERT_TRUE(plan) << plan.error().message;
  names.clear();
  for (const PlanRegion &region : plan->trained())
    names.push_back(region.name);
  EXPECT_EQ(names, (std::vector<std::string>{"params", "exp_avg", "z"}));
  EXPECT_EQ(plan->region(RegionKind::Grads).offset, 128);
}

// Launches against what their kernels take: other kernels, kinds, places, tiles.
struct Misfit {
  const char *from, *to, *message;
};

TEST(Plan, RefusesMisfits) {
  const Misfit misfits[] = {
      {R"("abi": 6)", R"("abi": 5)", "is of ABI 5, this program runs ABI 6"},
      {R"("max_tokens": 16)", R"("max_tokens": 1600)",
       "'plan' has 'io.hidden' at 1024 + 102400 bytes"},
      {R"("logits": 3072)", R"("logits": 8000)", "'plan' has 'io.logits' at 8000"},
      {R"("ids": 256)", R"("ids": 260)", "overlapping"},
      {R"("ids": 256)", R"("ids": -4)", "'plan.io.ids' is -4, outside of"},
      {R"("ids": 256)", R"("ids": "x")", "'plan.io.ids' is not an integer"},
      {R"("kernel": 4)", R"("kernel": 99)", "'plan.programs.train[1].kernel' is 99"},
      {R"(["w", 0, 0], 0, 1024])", R"(["w", 1, 0], 0, 1024])", "args[1]' names no weight's part"},
      {R"(["w", 0, 0], 0, 1024])", R"(["w", 0, 3], 0, 1024])", "args[1]' names no weight's part"},
      {R"([448, 4096])", R"([448, 9000])", "is 9000, outside of [0, 8192]"},
      {R"("rows": [8, 8])", R"("rows": [8])", "needs [begin, count]"},
      {R"("space": "rows")", R"("space": "cols")", "has the space 'cols'"},
      {R"("scratch": 64)", R"("scratch": 65)", "scratch' is 65"},
      {R"("shape": [4, 1])", R"("shape": [9, 1])", "ends behind the region of 8 parameters"},
      {R"("shape": [8, 4])", R"("shape": [9, 4])", "has no weight with as many rows"},
      {R"("shape": [8, 4])", R"("shape": [])", "needs one or two dimensions"},
      {R"("spec": "fake",)", "", "'plan' has no 'spec'"},
      {R"({"kernel": 4, "args")", R"({"kernel": 0, "args")",
       "has 2 args and 0 scalars, its kernel 'fake_embed' takes 4 and 0"},
      {R"({"kernel": 2, "args": [1024)", R"({"kernel": 0, "args": [1024)",
       "has args[1] of another kind than its kernel 'fake_embed' takes"},
      {R"("args": [448, 4096])", R"("args": [448, 8160])",
       "has args[1] at 8160, from where its kernel 'fake_segments' goes beyond the arena"},
      {R"("args": [448, 4096])", R"("args": [448, 4097])", "has args[1] at 4097"},
      {R"("rows": [0, 16], "tiles": 16, "flops")", R"("rows": [0, 16], "tiles": 17, "flops")",
       "has 17 tiles, its kernel 'fake_embed' makes 16"},
      {R"("tile": 2)", R"("tile": 1)", "its kernel 'fake_loss' makes 8"},
      {R"({"space": "const", "count": 4})", R"({"space": "const", "count": 5})",
       "has 4 tiles, its kernel 'fake_grad' makes 5"},
      {R"(["w", 256], [4, 1, 4, 4], [4, "rows", 16, 4])",
       R"(["w", 257], [4, 1, 4, 4], [4, "rows", 16, 4])",
       "has args[1] of 256 bytes, its kernel 'fake_embed' takes 257"},
      {R"([4, "rows", 16, 4]], "scalars": [])", R"([4, "s0", 16, 4]], "scalars": [])",
       "is 's0', neither a number, rows, starts nor a scalar of the kernel"},
      {R"([4, "rows", 16, 4]], "scalars": [])", R"([4, "rows", 1099511627776, 4]], "scalars": [])",
       "goes beyond the arena"},
      {R"("bytes": 256})", R"("bytes": 192})", "has 192 bytes as 'panels', its shape has 256"},
      {R"("format": "f32")", R"("format": "f31")", "has the format 'f31', which is none"},
      {R"("rank": 1, "scale": 2.0},)", R"("rank": 2, "scale": 2.0},)",
       "has rank 2, and another one in its shape"},
  };
  for (const Misfit &misfit : misfits) {
    Result<Plan> plan = parsePlan(replaced(misfit.from, misfit.to));
    ASSERT_FALSE(plan) << misfit.to;
    EXPECT_NE(plan.error().message.find(misfit.message), std::string::npos) << plan.error().message;
    EXPECT_EQ(plan.error().code, Exit::ForeignFile);
  }
}

/// A change of plan.json that must be refused.
struct Damage {
  std::function<void(Json &)> change;
  const char *message;
};

void refused(const std::string &json, const std::vector<Damage> &damages) {
  for (const Damage &damage : damages) {
    Json changed = Json::parse(json);
    damage.change(changed);
    Result<Plan> plan = parsePlan(changed.dump());
    ASSERT_FALSE(plan) << damage.message;
    EXPECT_NE(plan.error().message.find(damage.message), std::string::npos) << plan.error().message;
    EXPECT_EQ(plan.error().code, Exit::ForeignFile);
  }
}

TEST(Plan, Gated) {
  Result<Plan> plan = parsePlan(fakeGatedPlanJson());
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_TRUE(plan->isGated());
  EXPECT_FALSE(plan->isDora());
  EXPECT_FALSE(parsePlan(fakePlanJson())->isGated());
  const char *alone = "has 'bias.lora_gate', and no lora_B of as many rows beside it";
  refused(fakeGatedPlanJson(), {{[](Json &json) { json["params"][2]["module"] = "other"; }, alone},
                                {[](Json &json) { json["params"][2]["shape"] = {3}; }, alone},
                                {[](Json &json) {
                                   Json other = json["params"][1];
                                   other["name"] = "x.lora_B.weight";
                                   other["module"] = "x";
                                   json["params"].push_back(other);
                                 },
                                 "has a lora_gate beside some lora_B, and none beside others"}});
}

TEST(Plan, Dora) {
  Result<Plan> plan = parsePlan(fakeDoraPlanJson());
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_TRUE(plan->isDora());
  EXPECT_EQ(plan->groups(),
            (std::vector<AdapterPart>{AdapterPart::A, AdapterPart::B, AdapterPart::Magnitude}));
  EXPECT_EQ(plan->spans().back().group, 2);
  EXPECT_FALSE(parsePlan(fakePlanJson())->isDora());
  const char *alone = "has 'bias.lora_magnitude_vector', and no lora_B of as many rows beside it";
  refused(fakeDoraPlanJson(), {{[](Json &json) { json["params"][2]["module"] = "other"; }, alone},
                               {[](Json &json) { json["params"][2]["shape"] = {3}; }, alone},
                               {[](Json &json) { json["params"][2]["shape"] = {4, 1}; }, alone},
                               {[](Json &json) { json["params"].erase(1); }, alone},
                               {[](Json &json) { json["params"][2]["group"] = "lora_C"; },
                                "'plan.params[2]' has the group 'lora_C', which is none"},
                               {[](Json &json) { json["programs"].erase("initialize"); },
                                "has magnitudes, and no program 'initialize'"},
                               {[](Json &json) { json["programs"]["initialize"] = Json::array(); },
                                "has magnitudes, and no program 'initialize'"},
                               {[](Json &json) { json["params"].erase(2); },
                                "has a program 'initialize', and no magnitudes"}});
}

std::function<void(Json &)> region(size_t index, const char *key, const Json &value) {
  return [=](Json &json) { json["arena"]["regions"][index][key] = value; };
}

TEST(Plan, RefusesRegionsThatDoNotFit) {
  refused(
      fakePlanJson(),
      {{[](Json &json) { json["arena"].erase("regions"); }, "'plan.arena' has no 'regions'"},
       {[](Json &json) { json["arena"]["regions"] = 3; }, "'plan.arena.regions' is not a list"},
       {[](Json &json) { json["arena"]["regions"] = Json::array(); },
        "has not one region of params, one of grads and at most one of unfolded"},
       {[](Json &json) { json["arena"]["regions"].erase(0); }, "has not one region of params"},
       {[](Json &json) { json["arena"]["regions"].erase(1); }, "has not one region of params"},
       {region(2, "kind", "params"), "has not one region of params"},
       {region(2, "kind", "grads"), "has not one region of params"},
       {region(2, "kind", "moment"),
        "regions[2].kind' is 'moment'; known: params, grads, state, importance, unfolded"},
       {region(2, "kind", 7), "regions[2].kind' is not text"},
       {[](Json &json) { json["arena"]["regions"][2].erase("kind"); }, "has no 'kind'"},
       {region(2, "name", "exp_avg_sq"), "regions[3]' has the name 'exp_avg_sq', which is taken"},
       {region(3, "name", "params"), "regions[3]' has the name 'params', which is taken"},
       {region(3, "name", "param"), "regions[3]' has the name 'param', which is taken"},
       {region(3, "name", ""), "regions[3]' has the name '', which is taken"},
       {region(2, "count", 7), "has the region 'exp_avg' of 7 floats, the params have 8"},
       {region(1, "count", 9), "has the region 'grads' of 9 floats, the params have 8"},
       {region(2, "count", -1), "regions[2].count' is -1"},
       {region(0, "count", 7), "has the region 'grads' of 8 floats, the params have 7"},
       {region(2, "offset", 92), "has 'exp_avg' at 92, overlapping or below the region before it"},
       {region(2, "offset", 0), "overlapping or below the region before it, which ends at 96"},
       {region(3, "offset", 194), "'arena.exp_avg_sq' at 194 + 32 bytes"},
       {region(3, "offset", 8176), "'arena.exp_avg_sq' at 8176 + 32 bytes, outside of the arena"},
       {region(3, "offset", 260), "overlapping"},
       {region(3, "kind", "importance"),
        "'exp_avg_sq' of 8 floats, which only AdaLoRA has, and the plan has no 'ranks'"},
       {region(3, "kind", "unfolded"), "the region 'exp_avg_sq' of 8 floats, all lora_B together "
                                       "have 4"}});
  refused(
      tripletPlanJson({3, 2}),
      {{region(6, "count", 19), "'unfolded' of 19 floats, all lora_B together have 20"},
       {region(4, "count", 44), "'sensitivity' of 44 floats, the params have 45"},
       {region(4, "kind", "state"), "has no region 'sensitivity' of importance"},
       {region(5, "name", "doubt"), "has no region 'uncertainty' of importance"},
       {[](Json &json) { json["arena"]["regions"].erase(6); }, "has no region of unfolded"},
       {[](Json &json) { json["arena"]["regions"].erase(4); }, "has no region 'sensitivity'"},
       {[](Json &json) { json.erase("ranks"); }, "which only AdaLoRA has"},
       {[](Json &json) { json.erase("importance"); }, "'plan' has no 'importance'"},
       {[](Json &json) { json["importance"]["floats"] = 3; }, "scalars[3].at' is 3, outside of"},
       {[](Json &json) { json["io"].erase("importance"); }, "'plan.io' has no 'importance'"},
       {[](Json &json) { json["io"]["importance"] = json["io"]["norm"]; }, "overlapping"},
       {[](Json &json) { json["programs"].erase("importance"); },
        "'plan.programs' has no 'importance'"}});
}

std::function<void(Json &)> scalar(size_t index, const char *key, const Json &value) {
  return [=](Json &json) { json["optimizer"]["scalars"][index][key] = value; };
}

TEST(Plan, RefusesAnOptimizerThatDoesNotFit) {
  for (const std::string &json : {fakePlanJson(), fakeCudaPlanJson()})
    refused(
        json,
        {{[](Json &json) { json.erase("optimizer"); }, "'plan' has no 'optimizer'"},
         {[](Json &json) { json["optimizer"].erase("name"); }, "'plan.optimizer' has no 'name'"},
         {[](Json &json) { json["optimizer"]["scalars"] = 1; }, "scalars' is not a list"},
         {[](Json &json) { json["optimizer"]["floats"] = -1; }, "floats' is -1, outside of [0,"},
         {[](Json &json) { json["optimizer"]["floats"] = int64_t(1) << 40; }, "floats' is 1099"},
         {[](Json &json) { json["optimizer"]["floats"] = 8; },
          "scalars[6]' has 'minus_step' of group 1 at 8, outside of 8 floats"},
         {[](Json &json) { json["optimizer"]["floats"] = 3; }, "scalars[3].at' is 3, outside of"},
         {[](Json &json) { json["optimizer"]["floats"] = 0; }, "scalars[0].at' is 0, outside of"},
         {[](Json &json) { json["optimizer"]["floats"] = 1 << 20; }, "'io.update' at"},
         {scalar(0, "at", 9), "scalars[0].at' is 9, outside of [0, 8]"},
         {scalar(0, "at", -1), "scalars[0].at' is -1"},
         {scalar(1, "at", 0), "scalars[1]' has 'beta2' at 0, where another one is"},
         {scalar(5, "by_group", 1), "scalars[6]' has 'minus_step' at 6, where another one is"},
         {scalar(5, "by_group", 4), "has 'decay' of group 1 at 9, outside of 9 floats"},
         {scalar(5, "by_group", -2), "by_group' is -2"},
         {scalar(5, "by_group", int64_t(1) << 62), "by_group' is 4611686018427387904"},
         {scalar(5, "by_group", nullptr), "by_group' is not an integer"},
         {scalar(5, "name", 1), "scalars[5].name' is not text"},
         {scalar(5, "formula", nullptr), "scalars[5].formula' is not a list"},
         {scalar(5, "formula", Json::array()), "scalars[5].formula' leaves 0 values, not one"},
         {scalar(5, "formula", {1, 2}), "scalars[5].formula' leaves 2 values, not one"},
         {scalar(5, "formula", {1, "-"}), "scalars[5].formula[1]' lacks operands of '-'"},
         {scalar(5, "formula", {1, "loss", "-"}), "scalars[5].formula[1]' is 'loss'; known: rate"},
         {[](Json &json) { json["optimizer"]["scalars"][5].erase("formula"); },
          "scalars[5]' has no 'formula'"},
         {[](Json &json) { json["io"].erase("update"); }, "'plan.io' has no 'update'"},
         {[](Json &json) { json["io"].erase("norm"); }, "'plan.io' has no 'norm'"},
         {[](Json &json) { json["io"].erase("update_spans"); }, "'plan.io' has no 'update_spans'"},
         {[](Json &json) { json["io"]["update"] = json["arena"]["bytes"]; }, "'io.update' at"},
         {[](Json &json) { json["io"]["update_spans"] = json["io"]["ids"]; }, "overlapping"},
         {[](Json &json) { json["programs"].erase("norm"); }, "'plan.programs' has no 'norm'"},
         {[](Json &json) { json["programs"].erase("update"); }, "'plan.programs' has no 'update'"},
         {[](Json &json) { json["programs"]["update"] = Json::array(); },
          "'plan.programs' has no launches of 'begin', 'norm' or 'update'"}});
  // A launch over more spans than there are would write by what lies behind the table.
  refused(fakePlanJson(), {{[](Json &json) {
                              json["programs"]["update"][0]["rows"] = {0, 3};
                              json["programs"]["update"][0]["tiles"] = 3;
                            },
                            "has a launch of 'update' over 3 of 2 in 'io.update_spans'"},
                           {[](Json &json) { json["programs"]["update"][0]["rows"] = {1, 2}; },
                            "has a launch of 'update' over 3 of 2 in 'io.update_spans'"},
                           {[](Json &json) { json["programs"]["norm"][0]["rows"] = {1, 2}; },
                            "has a launch of 'norm' over 3 of 2 in 'io.update_spans'"}});
  refused(fakeCudaPlanJson(), {{[](Json &json) { json["programs"]["begin"] = Json::array(); },
                                "has no launches of 'begin', 'norm' or 'update'"},
                               {[](Json &json) { json["programs"]["update"][0]["rows"] = {0, 3}; },
                                "has a launch of 'update' over 3 of 2 in 'io.update_spans'"}});
}

// What a kernel takes for a table of offsets is the table that the runtime writes.
TEST(Plan, RefusesTablesThatAreNone) {
  auto at = [](const char *program, size_t launch, size_t arg, int64_t offset) {
    return [=](Json &json) { json["programs"][program][launch]["args"][arg] = offset; };
  };
  refused(fakePlanJson(),
          {{at("update", 0, 0, 768), "has a launch of 'update' in which 'fake_update' has another "
                                     "args[0] than 'io.update_spans'"},
           {at("update", 0, 0, 644), "in which 'fake_update' has another args[0]"},
           {at("update", 0, 0, 624), "in which 'fake_update' has another args[0]"},
           {at("update", 0, 0, 656), "has a launch of 'update' over 3 of 2 in 'io.update_spans'"},
           {at("norm", 0, 0, 0), "has a launch of 'norm' in which 'fake_squares' has another"},
           {at("begin", 0, 0, 64), "has a launch of 'begin' in which 'fake_begin' has another"}});
  refused(fakeCudaPlanJson(), {{at("update", 0, 0, 0), "'fake_update' has another args[0]"},
                               {at("norm", 0, 0, 256), "'fake_squares' has another args[0]"}});
  const std::string json = tripletPlanJson({3, 2});
  const int64_t triplets = Json::parse(json)["io"]["triplets"];
  refused(json, {{at("zero_triplets", 0, 0, triplets + 32),
                  "has a launch of 'zero_triplets' in which 'fake_zeros' has another args[0] than "
                  "'io.triplets'"},
                 {at("zero_triplets", 0, 1, triplets),
                  "'fake_zeros' has another args[1] than 'io.triplet_states'"},
                 {[](Json &json) {
                    json["programs"]["zero_triplets"][0]["rows"] = {0, 3};
                    json["programs"]["zero_triplets"][0]["tiles"] = 3;
                  },
                  "has a launch of 'zero_triplets' over 3 of 2 in 'io.triplets'"},
                 {[](Json &json) {
                    Json &zeros = json["programs"]["zero_triplets"];
                    json["kernels"][zeros[0]["kernel"].get<size_t>()]["family"] = "triplet_scores";
                    zeros[0]["args"][1] = json["io"]["triplet_scores"];
                  },
                  "has another args[3] than 'io.triplet_scores'"}});
}

// A module has each part once, in a place of its own, and with AdaLoRA as many triplets as it began
// with or fewer.
TEST(Plan, RefusesParamsThatAreNone) {
  auto param = [](size_t index, const char *key, const Json &value) {
    return [=](Json &json) { json["params"][index][key] = value; };
  };
  refused(fakePlanJson(),
          {{[](Json &json) { json["params"].push_back(json["params"][0]); },
            "has 'params' of the name 'bias.lora_A.weight' twice"},
           {[](Json &json) {
              json["params"].push_back(json["params"][0]);
              json["params"][2]["name"] = "other";
            },
            "has 'other' in 'params', a second lora_A of 'bias'"},
           {param(0, "offset", 3),
            "has 'bias.lora_A.weight' at 3 in 'params', overlapping 'bias.lora_B.weight'"},
           {param(0, "offset", 0), "overlapping"}});
  refused(tripletPlanJson({3, 2}),
          {{param(4, "module", "m2"), "has 'm1.lora_B.weight' in 'params', and no 'm2' in"},
           {[](Json &json) { json["params"].erase(4); },
            "has a module in 'params' that is not whole: the program's lora_A, lora_E and lora_B "
            "of 'm1' are no triplets"},
           {[](Json &json) { json["ranks"]["modules"][1]["initial"] = 1; },
            "has 'm1.lora_A.weight' in 'params' of rank 2, and 'ranks.modules' has it begin with "
            "1"}});
}

TEST(Plan, ReadsOneOfAGpu) {
  Result<Plan> plan = parsePlan(fakeCudaPlanJson());
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_TRUE(plan->onGpu());
  EXPECT_EQ(plan->compute, "bf16");
  EXPECT_EQ(plan->archs[0].capability, 80);
  EXPECT_FALSE(plan->archs[0].exact);
  EXPECT_EQ(plan->activationBytes(), 2);
  EXPECT_EQ(plan->kernels[1].shared, 128);
  EXPECT_EQ(plan->train[4].grid, (std::array<int64_t, 3>{1, 4, 1}));
  EXPECT_FALSE(plan->train[4].fixedRows);
  EXPECT_TRUE(plan->norm[0].fixedRows);
  EXPECT_EQ(plan->update[0].rowCount, 2);
  EXPECT_EQ(plan->weightBytes(), 16384);
  EXPECT_EQ(plan->partRoom(1), 256);

  const std::vector<PlanSpan> spans = plan->spans();
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[0].offset, 4) << "the params' order, not the arena's";
  EXPECT_EQ(spans[0].group, 0);
  EXPECT_EQ(spans[1].offset, 0);
  EXPECT_EQ(spans[1].group, 1);
  plan->params[0].shape = {3, 4096};
  plan->params[1].shape = {4097, 1};
  std::vector<int32_t> counts;
  for (const PlanSpan &span : plan->spans())
    counts.push_back(span.count);
  EXPECT_EQ(counts, (std::vector<int32_t>{4096, 4096, 4096, 4096, 1}));

  std::string exact = replaced("[\"sm_80\"]", "[\"sm_90a\", \"sm_120\"]", fakeCudaPlanJson());
  plan = parsePlan(exact);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_TRUE(plan->archs[0].exact);
  EXPECT_EQ(plan->archs[1].capability, 120);
}

/// Nothing to train: no optimizer.
TEST(Plan, ReadsOneOfAGpuWithoutParams) {
  Json json = Json::parse(fakeCudaPlanJson());
  json["params"] = Json::array();
  for (Json &region : json["arena"]["regions"])
    region["count"] = 0;
  json.erase("optimizer");
  for (const char *key : {"update", "norm", "update_spans"})
    json["io"].erase(key);
  for (const char *key : {"begin", "norm", "update"})
    json["programs"].erase(key);
  Result<Plan> plan = parsePlan(json.dump());
  EXPECT_TRUE(plan) << plan.error().message;
}

TEST(Plan, RefusesMisfitsOfAGpu) {
  const Misfit misfits[] = {
      {R"("compute": "bf16")", R"("compute": "f64")", "has the compute type 'f64'; known: bf16"},
      {R"("compute": "bf16", )", "", "'plan.target' has no 'compute'"},
      {R"(["sm_80"])", R"(["sm_x0"])", "archs[0]' is 'sm_x0', no architecture like 'sm_80'"},
      {R"(["sm_80"])", R"(["compute_80"])", "is 'compute_80', no architecture"},
      {R"(["sm_80"])", R"([])", "has no 'archs'"},
      {R"("step": 2304)", R"("step": 2308)", "'io.step' at 2308 + 32 bytes"},
      {R"("row_ends": 2560)", R"("row_ends": 5120)", "'io.row_ends' at 5120 + 64 bytes"},
      {R"("update": 2816)", R"("update": 2560)", "overlapping"},
      {R"("update_spans": 3072)", R"("update_spans": 5376)", "'io.update_spans' at 5376 + 32"},
      {R"("hidden": 3328)", R"("hidden": 3344)", "'io.hidden' at 3344 + 512 bytes"},
      {R"("logits": 4096)", R"("logits": 3840)", "overlapping"},
      {R"("update": 2816, )", "", "'plan.io' has no 'update'"},
      {R"("grid": [16, 1, 1])", R"("grid": [16, 1])", "train[0].grid' needs [x, y, z]"},
      {R"("grid": [16, 1, 1])", R"("grid": [16, 0, 1])", "train[0].grid[1]' is 0"},
      {R"("grid": [16, 1, 1])", R"("grid": [16, 1, 65536])", "train[0].grid[2]' is 65536"},
      {R"("threads": 64)", R"("threads": 48)", "has 48 threads, no multiple of 32"},
      {R"("threads": 64)", R"("threads": 2048)", "threads' is 2048, outside of [32, 1024]"},
      {R"("threads": 64, )", "", "has no 'threads'"},
      {R"("shared": 0})", R"("shared": -1})", "shared' is -1"},
      {R"("update": [{)", R"("updates": [{)", "'plan.programs' has no 'update'"},
      {R"("rows": [0, 2])", R"("rows": [0, 2147483648])", "is 2147483648, outside of"},
  };
  for (const Misfit &misfit : misfits) {
    Result<Plan> plan = parsePlan(replaced(misfit.from, misfit.to, fakeCudaPlanJson()));
    ASSERT_FALSE(plan) << misfit.to;
    EXPECT_NE(plan.error().message.find(misfit.message), std::string::npos) << plan.error().message;
    EXPECT_EQ(plan.error().code, Exit::ForeignFile);
  }
}

TEST(Plan, CutAnywhereIsAnError) {
  for (const std::string &json : {fakePlanJson(), fakeCudaPlanJson()})
    for (size_t size = 0; size < json.size(); size += 7)
      EXPECT_FALSE(parsePlan(std::string_view(json).substr(0, size))) << size;
}

TEST(Plan, ChecksCpuFeatures) {
  Result<Plan> plan = parsePlan(fakePlanJson());
  ASSERT_TRUE(plan);
  EXPECT_TRUE(checkCpu(*plan));
  plan->features = {"sse2", "amx-hyper"};
  Result<void> unknown = checkCpu(*plan);
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("'amx-hyper'"), std::string::npos);
  plan->device = "cuda";
  EXPECT_FALSE(checkCpu(*plan));
}

} // namespace
} // namespace lorac::train
