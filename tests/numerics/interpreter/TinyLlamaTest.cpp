// The interpreter against PyTorch and PEFT: forward, loss and adapter gradients of the tiny Llama,
// at every stage up to 40-fused.

#include "tests/numerics/interpreter/TinyLlama.h"
#include "compiler/passes/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "tests/numerics/interpreter/Support.h"
#include <cmath>
#include <gtest/gtest.h>
#include <numeric>

using namespace lorac::lora;
using namespace lorac::reference;
using namespace lorac::test;

static double total(const HostTensor &tensor) {
  return std::accumulate(tensor.data.begin(), tensor.data.end(), 0.0);
}

// `[samples, length, n]` as `[samples * length, n]`
static HostTensor flat(HostTensor tensor) {
  tensor.shape = {tensor.shape[0] * tensor.shape[1], tensor.shape[2]};
  return tensor;
}

struct TinyLlama : testing::TestWithParam<const char *> {
  bool tied = std::string(GetParam()) == "tied";
  std::string folder = std::string("tiny/") + GetParam() + "/";
  Environment environment{golden(folder + "model.safetensors")};
};
INSTANTIATE_TEST_SUITE_P(, TinyLlama, testing::Values("tied", "untied"));

TEST_P(TinyLlama, Forward) {
  Program program(tinyLlama(tied, 0));
  auto wanted = golden(folder + "forward.safetensors");
  Batch batch = batchOf(wanted["input_ids"], wanted["labels"]);
  HostTensor hidden =
      run(program.function("hidden"), {batch.ids, batch.positions, batch.segments}, environment)
          .results.at(0);
  expectClose(hidden, flat(wanted["hidden.2"]), 1e-5, "hidden");
  expectClose(run(program.function("head"), {hidden}, environment).results.at(0),
              flat(wanted["logits"]), 1e-5, "logits");
  HostTensor rowLoss =
      run(program.function("loss"), {hidden, batch.labels}, environment).results.at(0);
  EXPECT_NEAR(total(rowLoss) / batch.labelCount, wanted["loss"].data.at(0), 1e-5);
}

// Hugging Face pads samples; here the padding does not exist.
TEST_P(TinyLlama, PaddedSamples) {
  Program program(tinyLlama(tied, 0));
  auto wanted = golden(folder + "forward.safetensors");
  HostTensor mask = wanted["padded.attention_mask"];
  Batch batch = batchOf(wanted["padded.input_ids"], wanted["padded.labels"], &mask);
  EXPECT_EQ(batch.ids.size(), total(mask));
  HostTensor hidden =
      run(program.function("hidden"), {batch.ids, batch.positions, batch.segments}, environment)
          .results.at(0);
  HostTensor rowLoss =
      run(program.function("loss"), {hidden, batch.labels}, environment).results.at(0);
  EXPECT_NEAR(total(rowLoss) / batch.labelCount, wanted["padded.loss"].data.at(0), 1e-5);
}

// A stage of compiler/pipeline/Pipeline.cpp, and the passes that lead to it from the stage before.
struct Stage {
  const char *name;
  void (*add)(mlir::PassManager &);
};
static const Stage stages[] = {
    {"30-backward",
     [](mlir::PassManager &pm) {
       pm.addPass(createAttachAdapters());
       pm.addPass(createFuseElementwise());
       pm.addPass(createDifferentiate());
       pm.addPass(mlir::createCanonicalizerPass());
       pm.addPass(mlir::createCSEPass());
     }},
    {"35-ordered", [](mlir::PassManager &pm) { pm.addPass(createOrderProducts()); }},
    {"recompute", [](mlir::PassManager &pm) { pm.addPass(createPlanRecompute()); }},
    {"40-fused",
     [](mlir::PassManager &pm) {
       pm.addPass(createFuseKernels());
       pm.addPass(createFuseElementwise());
       pm.addPass(mlir::createCanonicalizerPass());
     }},
};

static void runStage(Program &program, const Stage &stage) {
  mlir::PassManager pm(&program.context);
  stage.add(pm);
  ASSERT_TRUE(succeeded(pm.run(*program.module))) << stage.name;
}

static const std::string peft = "base_model.model.";

static Batch firstTrainingBatch() {
  auto data = golden("tiny/train_data.safetensors");
  for (auto &[name, all] : data) {
    all.shape.erase(all.shape.begin());
    all.data.resize(all.shape[0] * all.shape[1]);
  }
  return batchOf(data["input_ids"], data["labels"]);
}

// Loss and gradients at every stage, as PEFT has them before the first update.
static void expectStepZero(bool tied, double scale, Environment environment,
                           const std::string &initial, const std::string &train,
                           const std::string &method = "lora") {
  Batch batch = firstTrainingBatch();
  for (auto &[name, tensor] : golden(initial))
    environment.symbols[name.substr(peft.size())] = tensor;
  environment.lossScale = 1 / batch.labelCount;
  auto wanted = golden(train);
  Program program(tinyLlama(tied, scale, 0, method));
  for (const Stage &stage : stages) {
    SCOPED_TRACE(train + " " + stage.name);
    ASSERT_NO_FATAL_FAILURE(runStage(program, stage));
    Outcome outcome = run(program.function("train"), batch.arguments(), environment);
    ASSERT_EQ(outcome.results.size(), 1u);
    double loss = total(outcome.results[0]) / batch.labelCount,
           wantedLoss = wanted["losses"].data.at(0);
    EXPECT_NEAR(loss, wantedLoss, 1e-5 * wantedLoss);
    size_t compared = 0;
    for (auto &[name, gradient] : wanted)
      if (name.rfind("grad.", 0) == 0) {
        expectClose(outcome.gradients[name.substr(5 + peft.size())], gradient, 1e-4, name);
        ++compared;
      }
    // Two factors of seven linears in two layers, of DoRA a magnitude too.
    EXPECT_EQ(compared, method == "dora" ? 42u : 28u);
    EXPECT_EQ(outcome.gradients.size(), compared);
  }
}

// The scale is alpha / r, for rsLoRA alpha / √r; alpha is 8, r is 4.
TEST_P(TinyLlama, LoraGradients) {
  expectStepZero(tied, 2, environment, folder + "lora_init/adapter_model.safetensors",
                 folder + "lora_train.safetensors");
}
TEST_P(TinyLlama, RsLoraGradients) {
  expectStepZero(tied, 4, environment, folder + "rslora_init/adapter_model.safetensors",
                 folder + "rslora_train.safetensors");
}

TEST_P(TinyLlama, DoraGradients) {
  expectStepZero(tied, 2, environment, folder + "dora_init/adapter_model.safetensors",
                 folder + "dora_train.safetensors", "dora");
}

// With gates g and rows B/g in place of B the model is PEFT's LoRA: its loss and its gradients of
// A, g times its gradients of B. Of g it is the row's sum of B times PEFT's gradient of B, over g.
TEST_P(TinyLlama, GatedGradients) {
  const auto gateOf = [](int64_t row) { return row % 3 == 0 ? 2.0 : row % 3 == 1 ? -0.5 : 1.0; };
  std::map<std::string, HostTensor> wanted;
  const auto train = golden(folder + "lora_train.safetensors");
  for (auto &[full, tensor] : golden(folder + "lora_init/adapter_model.safetensors")) {
    const std::string name = full.substr(peft.size());
    HostTensor value = tensor, gradient = train.at("grad." + full);
    if (const size_t at = name.find(".lora_B"); at != std::string::npos) {
      HostTensor gate = HostTensor::zeros({tensor.rows()}), ofGate = gate;
      for (int64_t i = 0; i < tensor.rows(); ++i) {
        const double g = gate.data[i] = gateOf(i);
        for (int64_t j = 0; j < tensor.columns(); ++j) {
          ofGate.data[i] += tensor.at(i, j) * gradient.at(i, j) / g;
          value.at(i, j) /= g;
          gradient.at(i, j) *= g;
        }
      }
      environment.symbols[name.substr(0, at) + ".lora_gate"] = gate;
      wanted[name.substr(0, at) + ".lora_gate"] = ofGate;
    }
    environment.symbols[name] = value;
    wanted[name] = gradient;
  }
  const Batch batch = firstTrainingBatch();
  environment.lossScale = 1 / batch.labelCount;
  Program program(tinyLlama(tied, 2, 0, "gated"));
  for (const Stage &stage : stages) {
    SCOPED_TRACE(stage.name);
    ASSERT_NO_FATAL_FAILURE(runStage(program, stage));
    Outcome outcome = run(program.function("train"), batch.arguments(), environment);
    EXPECT_NEAR(total(outcome.results.at(0)) / batch.labelCount, train.at("losses").data.at(0),
                1e-5 * train.at("losses").data.at(0));
    ASSERT_EQ(outcome.gradients.size(), 42u);
    for (auto &[name, gradient] : wanted)
      expectClose(outcome.gradients[name], gradient, 1e-4, name);
  }
}

// PEFT made the magnitudes when B was zero.
TEST_P(TinyLlama, DoraInitialize) {
  Program program(tinyLlama(tied, 2, 0, "dora"));
  auto initial = golden(folder + "dora_init/adapter_model.safetensors");
  for (auto &[name, tensor] : initial) {
    HostTensor value = tensor;
    if (name.find("lora_B") != std::string::npos)
      value = HostTensor::zeros(tensor.shape);
    environment.symbols[name.substr(peft.size())] = value;
  }
  ASSERT_NO_FATAL_FAILURE(runStage(program, stages[0]));
  Outcome outcome = run(program.function("initialize"), {}, environment);
  EXPECT_EQ(outcome.set.size(), 14u);
  for (auto &[name, value] : outcome.set)
    expectClose(value, initial[peft + name], 1e-6, name);
}

// QLoRA: the interpreter takes what bitsandbytes decodes from its NF4 blocks.
TEST_P(TinyLlama, QLoraGradients) {
  std::string qlora = std::string("qlora/") + GetParam() + "/";
  for (auto &[name, tensor] : golden(qlora + "dequantized.safetensors"))
    environment.symbols[name.substr(std::string("dequant.").size()) + ".weight"] = tensor;
  expectStepZero(tied, 2, environment, qlora + "adapter_init/adapter_model.safetensors",
                 qlora + "train.safetensors");
}

// With dropout no number made elsewhere exists (the generator is ours): the later stages say what
// 30-backward says.
TEST_P(TinyLlama, StagesAgreeUnderDropout) {
  HostTensor ids = golden(folder + "forward.safetensors")["input_ids"];
  Batch batch = batchOf(ids, ids);
  Environment trained = environment;
  for (auto &[name, tensor] : golden(folder + "lora_init/adapter_model.safetensors"))
    trained.symbols[name.substr(peft.size())] = tensor;
  trained.dropout = {7, 5, 1};
  Program program(tinyLlama(tied, 2, 0.25));
  Outcome first;
  for (const Stage &stage : stages) {
    SCOPED_TRACE(stage.name);
    ASSERT_NO_FATAL_FAILURE(runStage(program, stage));
    Outcome outcome = run(program.function("train"), batch.arguments(), trained);
    if (first.results.empty())
      first = outcome;
    expectClose(outcome.results.at(0), first.results.at(0), 1e-12, "row losses");
    for (auto &[name, gradient] : first.gradients)
      expectClose(outcome.gradients[name], gradient, 1e-11, name);
  }
}

// A budget of one byte: what saves memory is computed again, and no number moves.
TEST_P(TinyLlama, RecomputingKeepsTheNumbers) {
  Batch batch = firstTrainingBatch();
  for (auto &[name, tensor] : golden(folder + "lora_init/adapter_model.safetensors"))
    environment.symbols[name.substr(peft.size())] = tensor;
  environment.dropout = {7, 5, 1};
  Program program(tinyLlama(tied, 2, 0.25));
  ASSERT_NO_FATAL_FAILURE(runStage(program, stages[0]));
  ASSERT_NO_FATAL_FAILURE(runStage(program, stages[1]));
  Outcome before = run(program.function("train"), batch.arguments(), environment);
  mlir::PassManager pm(&program.context);
  pm.addPass(createPlanRecompute({/*memory=*/1}));
  ASSERT_TRUE(succeeded(pm.run(*program.module)));
  int64_t again = 0;
  program.function("train").walk([&](mlir::Operation *op) { again += op->hasAttr("recompute"); });
  EXPECT_GT(again, 10);
  Outcome after = run(program.function("train"), batch.arguments(), environment);
  expectClose(after.results.at(0), before.results.at(0), 0, "row losses");
  for (auto &[name, gradient] : before.gradients)
    expectClose(after.gradients[name], gradient, 0, name);
}

// With dropout PEFT adds (m/n - 1)·xd·Wᵀ + m/n·up(xd) to x·Wᵀ; ours has the terms in another order.
TEST(Dora, DropoutAsPeftHasIt) {
  Program program(R"(
    lora.frozen @q.weight : !lora.weight<5x7, f32>
    lora.adapter @q of @q.weight rank 2 scale 1.5 dropout 0.3 method "dora"
    lora.program inference @hidden(%x: tensor<?x7xf32>) -> tensor<?x5xf32> {
      %w = lora.use @q.weight : !lora.weight<5x7, f32>
      %y = lora.linear %x, %w : (tensor<?x7xf32>, !lora.weight<5x7, f32>) -> tensor<?x5xf32>
      lora.return %y : tensor<?x5xf32>
    })");
  mlir::PassManager pm(&program.context);
  pm.addPass(createAttachAdapters());
  ASSERT_TRUE(succeeded(pm.run(*program.module)));
  const HostTensor x = randomTensor({9, 7}, 1), w = randomTensor({5, 7}, 2),
                   a = randomTensor({2, 7}, 3), b = randomTensor({5, 2}, 4),
                   m = randomTensor({5}, 5);
  Environment environment{{{"q.weight", w},
                           {"q.lora_A.weight", a},
                           {"q.lora_B.weight", b},
                           {"q.lora_magnitude_vector", m}}};
  environment.dropout = {7, 5, 1};
  const HostTensor dropped = dropout(x, 0.3, 0, environment.dropout), base = linear(x, w),
                   again = linear(dropped, w), up = lowRank(dropped, a, b, 1.5);
  HostTensor wanted = base;
  for (int64_t i = 0; i < 5; ++i) {
    double squares = 0;
    for (int64_t k = 0; k < 7; ++k) {
      const double value = w.at(i, k) + 1.5 * (b.at(i, 0) * a.at(0, k) + b.at(i, 1) * a.at(1, k));
      squares += value * value;
    }
    const double ratio = m.data[i] / std::sqrt(squares);
    for (int64_t t = 0; t < 9; ++t)
      wanted.at(t, i) += (ratio - 1) * again.at(t, i) + ratio * up.at(t, i);
  }
  expectClose(run(program.function("hidden"), {x}, environment).results.at(0), wanted, 1e-13, "y");
}
