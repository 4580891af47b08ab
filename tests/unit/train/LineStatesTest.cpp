// States of rows and columns, states of one number, and what states begin as.
#include "FakeProgram.h"

#include "runtime/train/StateStorage.h"

#include <gtest/gtest.h>

#include <functional>

namespace lorac::train {
namespace {

/// FakeProgram's plan with a number of each row and column, and one of all parameters.
Json linePlan() {
  Json plan = Json::parse(fakePlanJson());
  Json &regions = plan["arena"]["regions"];
  regions[2] = {
      {"name", "rows"}, {"kind", "state"}, {"offset", 128}, {"count", 5}, {"storage", "rows"}};
  regions[3] = {
      {"name", "cols"}, {"kind", "state"}, {"offset", 192}, {"count", 5}, {"storage", "columns"}};
  regions.push_back({{"name", "d"},
                     {"kind", "state"},
                     {"offset", 212},
                     {"count", 1},
                     {"storage", "one"},
                     {"begins", 0.5}});
  regions.push_back(
      {{"name", "z"}, {"kind", "state"}, {"offset", 4352}, {"count", 8}, {"begins", "params"}});
  plan["io"]["update_matrices"] = 704;
  return plan;
}

TEST(LineStates, WhereTheyLie) {
  Result<Plan> plan = parsePlan(linePlan().dump());
  ASSERT_TRUE(plan) << plan.error().message;
  ASSERT_TRUE(plan->hasMatrices);
  const std::vector<LoracMatrix> matrices = plan->matrices();
  ASSERT_EQ(matrices.size(), 2u);
  const auto fields = [](const LoracMatrix &of) {
    return std::vector<int32_t>{of.offset, of.rows, of.columns, of.row, of.column};
  };
  EXPECT_EQ(fields(matrices[0]), (std::vector<int32_t>{4, 1, 4, 0, 0}));
  EXPECT_EQ(fields(matrices[1]), (std::vector<int32_t>{0, 4, 1, 1, 4}));
  const std::vector<PlanSpan> spans = plan->spans();
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[0].own, 0) << "its parameter";
  EXPECT_EQ(spans[1].own, 1);
  EXPECT_EQ(plan->region("d").begin, 0.5);
  EXPECT_TRUE(plan->region("z").beginsAsParams);
}

TEST(LineStates, TensorsOfACheckpoint) {
  Result<Plan> plan = parsePlan(linePlan().dump());
  ASSERT_TRUE(plan) << plan.error().message;
  Result<Arena> arena = Arena::allocate(uint64_t(plan->arenaBytes), "test");
  ASSERT_TRUE(arena);
  std::vector<std::string> shown;
  for (const StateTensor &tensor : stateTensors(*plan, trainedIn(*arena, *plan)))
    shown.push_back(tensor.name + " " + std::to_string(tensor.shape.size()) + " " +
                    std::to_string(tensor.count()) + " at " +
                    std::to_string(static_cast<std::byte *>(tensor.data) - arena->data()));
  EXPECT_EQ(shown, (std::vector<std::string>{
                       "rows.bias.lora_A.weight 1 1 at 128", "cols.bias.lora_A.weight 1 4 at 192",
                       "z.bias.lora_A.weight 2 4 at 4368", "rows.bias.lora_B.weight 1 4 at 132",
                       "cols.bias.lora_B.weight 1 1 at 208", "z.bias.lora_B.weight 2 4 at 4352",
                       "d 1 1 at 212"}));
}

TEST(LineStates, PlansThatDoNotFitAreRefused) {
  struct Case {
    std::function<void(Json &)> change;
    const char *says;
  };
  auto region = [](Json &plan, int i) -> Json & { return plan["arena"]["regions"][i]; };
  const Case cases[] = {
      {[&](Json &plan) { region(plan, 2)["count"] = 4; }, "all parameters have 5 of its storage"},
      {[&](Json &plan) { plan["io"].erase("update_matrices"); }, "no 'io.update_matrices'"},
      {[&](Json &plan) { region(plan, 4)["count"] = 2; }, "which is to be one number"},
      {[&](Json &plan) { region(plan, 4)["begins"] = 0; }, "begin as neither a number but 0"},
      {[&](Json &plan) { region(plan, 4)["begins"] = "grads"; }, "begin as neither a number but 0"},
      {[&](Json &plan) { region(plan, 4)["begins"] = "params"; }, "it is none of their storage"},
      {[&](Json &plan) { plan["average"] = {{"floats", 1}, {"scalars", Json::array()}}; },
       "average"},
  };
  for (const Case &wrong : cases) {
    Json json = linePlan();
    wrong.change(json);
    Result<Plan> parsed = parsePlan(json.dump());
    ASSERT_FALSE(parsed) << wrong.says;
    EXPECT_NE(parsed.error().message.find(wrong.says), std::string::npos) << parsed.error().message;
  }
}

} // namespace
} // namespace lorac::train
