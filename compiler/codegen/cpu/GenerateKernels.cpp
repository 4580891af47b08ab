#include "compiler/codegen/cpu/GenerateKernels.h"
#include "compiler/codegen/cpu/Families.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

FailureOr<OwningOpRef<ModuleOp>>
lorac::cpu::generateKernels(ModuleOp planned, const CpuTarget &target,
                            llvm::function_ref<bool(lora::KernelOp)> wanted) {
  planned.getContext()
      ->loadDialect<arith::ArithDialect, func::FuncDialect, LLVM::LLVMDialect, math::MathDialect,
                    memref::MemRefDialect, scf::SCFDialect, vector::VectorDialect>();
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(planned.getLoc());
  OpBuilder builder = OpBuilder::atBlockEnd(kernels->getBody());
  for (auto kernel : planned.getOps<lora::KernelOp>()) {
    if (wanted && !wanted(kernel))
      continue;
    const Family *family = findFamily(kernel.getFamily());
    if (!family)
      return kernel.emitOpError("no kernel family of the cpu target is named '")
             << kernel.getFamily() << "'";
    FailureOr<KernelShape> shape = family->describe(kernel.getLoc(), kernel.getParams(), target);
    if (failed(shape))
      return failure();
    if (shape->space != kernel.getSpace() ||
        shape->tile != static_cast<int64_t>(kernel.getTile()) ||
        shape->count != static_cast<int64_t>(kernel.getCount()) ||
        shape->scratch > static_cast<int64_t>(kernel.getScratch()))
      return kernel.emitOpError("was planned with other tiles or less scratch than family '")
             << family->name << "' states: " << lora::stringifyTileSpace(shape->space) << " tile "
             << shape->tile << " count " << shape->count << " scratch " << shape->scratch;
    if (failed(family->build(kernel, builder, target)))
      return failure();
  }
  if (failed(verify(*kernels)))
    return failure();
  return kernels;
}
