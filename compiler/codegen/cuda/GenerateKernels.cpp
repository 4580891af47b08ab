#include "compiler/codegen/cuda/GenerateKernels.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

static const Family *familyOf(lora::KernelOp kernel) {
  const Family *family = findFamily(kernel.getFamily());
  if (!family)
    kernel.emitOpError("the CUDA target has no family '") << kernel.getFamily() << "'";
  return family;
}

FailureOr<OwningOpRef<ModuleOp>> lorac::cuda::generateKernels(ModuleOp planned,
                                                              const CudaTarget &target) {
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(planned.getLoc());
  OpBuilder builder = OpBuilder::atBlockEnd(kernels->getBody());
  for (auto op : planned.getOps<lora::KernelOp>()) {
    const Family *family = familyOf(op);
    Kernel kernel(op, builder, target);
    if (!family || failed(family->build(kernel)))
      return failure();
    auto function = kernels->lookupSymbol<func::FuncOp>(op.getSymName());
    int64_t shared = function->getAttrOfType<IntegerAttr>("cuda.shared").getInt();
    if (shared > target.sharedPerBlock)
      return op.emitOpError("needs ")
             << shared << " bytes of shared memory a block, the device has "
             << target.sharedPerBlock;
  }
  if (failed(verify(*kernels)))
    return failure();
  return kernels;
}

LogicalResult lorac::cuda::setGrids(ModuleOp planned, const CudaTarget &target) {
  auto result = planned.walk([&](lora::LaunchOp launch) {
    auto kernel = planned.lookupSymbol<lora::KernelOp>(launch.getKernel());
    const Family *family = familyOf(kernel);
    if (!family)
      return WalkResult::interrupt();
    Grid grid = family->grid(kernel.getParams(), target, launch.getCount());
    launch.setGrid(ArrayRef<int64_t>(grid));
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}
