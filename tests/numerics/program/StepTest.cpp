// The whole step of the tiny Llama, kernels against interpreter: dropout, recomputation, chunks of
// the loss, every adapter gradient.

#include "compiler/passes/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "tests/numerics/interpreter/TinyLlama.h"
#include "tests/numerics/program/OneOp.h"
#include <gtest/gtest.h>

using namespace lorac::lora;
using namespace lorac::reference;
using namespace lorac::test;

// 10-model to 40-fused, as text.
static std::string fused(const std::string &text) {
  Program program(text);
  mlir::PassManager pm(&program.context);
  pm.addPass(createAttachAdapters());
  pm.addPass(createFuseElementwise());
  pm.addPass(createDifferentiate());
  pm.addPass(mlir::createCanonicalizerPass());
  pm.addPass(mlir::createCSEPass());
  pm.addPass(createOrderProducts());
  pm.addPass(createPlanRecompute());
  pm.addPass(createFuseKernels());
  pm.addPass(createFuseElementwise());
  pm.addPass(mlir::createCanonicalizerPass());
  pm.addPass(createFuseEpilogues());
  EXPECT_TRUE(succeeded(pm.run(*program.module)));
  std::string result;
  llvm::raw_string_ostream os(result);
  mlir::OpPrintingFlags flags;
  flags.enableDebugInfo();
  program.module->print(os, flags);
  return result;
}

static void expectStep(bool tied, double dropout, const std::string &method = "lora",
                       int zeroRow = -1) {
  const std::string folder = tied ? "tiny/tied/" : "tiny/untied/", peft = "base_model.model.";
  auto symbols = golden(folder + "model.safetensors");
  for (auto &[name, tensor] :
       golden(folder + (method == "dora" ? method : "lora") + "_init/adapter_model.safetensors"))
    symbols[name.substr(peft.size())] = tensor;
  if (method == "gated") // no file has gates: some about 1, where they begin
    for (auto &[name, tensor] : std::map(symbols))
      if (const size_t at = name.find(".lora_B"); at != std::string::npos) {
        HostTensor gate = randomTensor({tensor.rows()}, unsigned(symbols.size()));
        for (double &g : gate.data)
          g = 1 + g / 4;
        symbols[name.substr(0, at) + ".lora_gate"] = gate;
      }
  if (zeroRow >= 0) { // a row that nothing stands in, as it is before the first step
    const std::string module = "model.layers.1.self_attn.o_proj";
    for (const char *part : {".weight", ".lora_B.weight", ".lora_magnitude_vector"}) {
      HostTensor &tensor = symbols.at(module + part);
      const int64_t width = tensor.size() / tensor.shape[0];
      std::fill_n(tensor.data.begin() + zeroRow * width, width, 0.0);
    }
  }
  auto forward = golden(folder + "forward.safetensors");
  Batch batch = batchOf(forward["input_ids"], forward["labels"]);
  Inputs inputs{{"ids", batch.ids},
                {"positions", batch.positions},
                {"segments", batch.segments},
                {"labels", batch.labels}};
  Environment environment;
  environment.lossScale = 1 / batch.labelCount;
  environment.dropout = {7, 5, 1};
  if (std::string why = whatIsMissing(); !why.empty())
    GTEST_SKIP() << why;
  std::unique_ptr<PlannedProgram> program =
      makeProgram(fused(tinyLlama(tied, 2, dropout, method)), symbols);
  double tolerance = 2e-5 * looserThanFloat32() * roundingsOfAStep();
  // x - d has a product with W for itself; without a row the same roundings are of smaller numbers.
  if (method == "dora" && (dropout > 0 || zeroRow >= 0))
    tolerance *= 1.5;
  program->expectMatch("train", inputs, environment, tolerance);
  program->expectMatch("hidden", inputs, environment, tolerance);
  inputs["h"] = program->run("hidden", inputs, environment).results.at(0);
  program->expectMatch("loss", inputs, environment, tolerance);
  if (method == "dora")
    program->expectMatch("initialize", inputs, environment, tolerance);
}

TEST(Step, Tied) { expectStep(true, 0); }
TEST(Step, Untied) { expectStep(false, 0); }
TEST(Step, Dropout) { expectStep(true, 0.25); }
TEST(Step, Dora) { expectStep(true, 0, "dora"); }
TEST(Step, Gated) { expectStep(true, 0, "gated"); }
TEST(Step, GatedDropout) { expectStep(false, 0.25, "gated"); }
TEST(Step, DoraOfAZeroRow) {
  expectStep(true, 0, "dora", 5);
  expectStep(false, 0.25, "dora", 5);
}
TEST(Step, DoraDropout) { expectStep(false, 0.25, "dora"); }
