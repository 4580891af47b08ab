// mlir-opt with lorac's dialects and passes, and no others: what the lit tests run.

#include "compiler/dialect/LoraOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#ifdef LORAC_HAS_PASSES
#include "compiler/passes/Passes.h"
#endif

using namespace mlir;
using namespace lorac::lora;

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
#ifdef LORAC_HAS_PASSES
  registerLoraPasses();
#endif
  return asMainReturnCode(MlirOptMain(argc, argv, "lorac's passes, one by one\n", registry));
}
