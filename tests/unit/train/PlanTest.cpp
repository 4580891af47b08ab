#include "FakeCudaProgram.h"
#include "FakeProgram.h"

#include "runtime/train/JsonFields.h"

#include <gtest/gtest.h>

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
}

// Launches against what their kernels take: other kernels, kinds, places, tiles.
struct Misfit {
  const char *from, *to, *message;
};

TEST(Plan, RefusesMisfits) {
  const Misfit misfits[] = {
      {R"("abi": 3)", R"("abi": 1)", "is of ABI 1, this program runs ABI 3"},
      {R"("max_tokens": 16)", R"("max_tokens": 1600)",
       "'plan' has 'io.hidden' at 1024 + 102400 bytes"},
      {R"("logits": 3072)", R"("logits": 8000)", "'plan' has 'io.logits' at 8000"},
      {R"("ids": 256)", R"("ids": 260)", "overlapping"},
      {R"("ids": 256)", R"("ids": -4)", "'plan.io.ids' is -4, outside of"},
      {R"("ids": 256)", R"("ids": "x")", "'plan.io.ids' is not an integer"},
      {R"("kernel": 4)", R"("kernel": 5)", "'plan.programs.train[1].kernel' is 5"},
      {R"(["w", 0, 0], 0, 1024])", R"(["w", 1, 0], 0, 1024])", "args[1]' names no weight's part"},
      {R"(["w", 0, 0], 0, 1024])", R"(["w", 0, 3], 0, 1024])", "args[1]' names no weight's part"},
      {R"([448, 4096])", R"([448, 9000])", "is 9000, outside of [0, 8192]"},
      {R"("rows": [8, 8])", R"("rows": [8])", "needs [begin, count]"},
      {R"("space": "rows")", R"("space": "cols")", "has the space 'cols'"},
      {R"("scratch": 64)", R"("scratch": 65)", "scratch' is 65"},
      {R"("shape": [4, 1])", R"("shape": [9, 1])", "ends behind the region of 8 parameters"},
      {R"("exp_avg": {"offset": 128, "count": 8})", R"("exp_avg": {"offset": 128, "count": 7})",
       "has regions of different counts"},
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
  for (const char *region : {"params", "grads", "exp_avg", "exp_avg_sq"})
    json["arena"][region]["count"] = 0;
  for (const char *key : {"update", "update_spans"})
    json["io"].erase(key);
  for (const char *key : {"norm", "update"})
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
