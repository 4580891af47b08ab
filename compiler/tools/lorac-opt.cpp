// mlir-opt with lorac's dialects and passes, and no others: what the lit tests run.

#include "compiler/codegen/cuda/CudaPrinter.h"
#include "compiler/codegen/cuda/GenerateKernels.h"
#include "compiler/dialect/LoraOps.h"
#include "compiler/passes/Stages.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace lorac::lora;

namespace {

// Prints the kernels of a planned module as CUDA C++, for tests and for reading; the module becomes
// 60-kernels.
struct EmitCuda : PassWrapper<EmitCuda, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(EmitCuda)
  EmitCuda() = default;
  EmitCuda(const EmitCuda &) {}
  ListOption<std::string> archs{*this, "arch",
                                llvm::cl::desc("architectures that the kernels fit")};
  Option<std::string> compute{*this, "compute", llvm::cl::desc("bf16 or f16"),
                              llvm::cl::init("bf16")};

  StringRef getArgument() const override { return "lora-emit-cuda"; }
  StringRef getDescription() const override { return "50-planned -> CUDA C++ on stdout"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<lorac::device::DeviceDialect, gpu::GPUDialect, scf::SCFDialect,
                    memref::MemRefDialect>();
  }

  void runOnOperation() override {
    std::vector<std::string> names(archs.begin(), archs.end());
    if (names.empty())
      names = {"sm_80"};
    auto target = lorac::cuda::CudaTarget::get(names, compute);
    if (!target) {
      getOperation().emitError(llvm::toString(target.takeError()));
      return signalPassFailure();
    }
    auto kernels = lorac::cuda::generateKernels(getOperation(), *target);
    if (failed(kernels))
      return signalPassFailure();
    for (auto function : (*kernels)->getOps<func::FuncOp>()) {
      FailureOr<std::string> text = lorac::cuda::printCuda(function, function.getName());
      if (failed(text))
        return signalPassFailure();
      llvm::outs() << *text << "\n";
    }
    getOperation().getBodyRegion().takeBody((*kernels)->getBodyRegion());
  }
};

} // namespace

int main(int argc, char **argv) {
  DialectRegistry registry;
  registerLoraDialects(registry);
  registry.insert<LLVM::LLVMDialect, scf::SCFDialect, vector::VectorDialect>();
  // As in compiler/pipeline, passes find all dialects loaded, whatever the text that was read.
  registry.addExtension(+[](MLIRContext *context, LoraDialect *) {
    context->loadDialect<arith::ArithDialect, func::FuncDialect, math::MathDialect,
                         memref::MemRefDialect>();
  });
  registerCanonicalizer();
  registerCSE();
  registerStripDebugInfo();
  registerLoraPasses();
  registerLoraStages();
  PassRegistration<EmitCuda>();
  return asMainReturnCode(MlirOptMain(argc, argv, "lorac's passes, one by one\n", registry));
}
