// mlir-opt with lorac's dialects and passes, and no others: what the lit tests run.

#include "compiler/dialect/LoraOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#ifdef LORAC_HAS_PASSES
#include "compiler/passes/Passes.h"
#endif

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  lorac::lora::registerLoraDialects(registry);
  registry.insert<mlir::LLVM::LLVMDialect, mlir::scf::SCFDialect, mlir::vector::VectorDialect>();
  mlir::registerCanonicalizer();
  mlir::registerCSE();
#ifdef LORAC_HAS_PASSES
  lorac::lora::registerLoraPasses();
#endif
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "lorac's passes, one by one\n", registry));
}
