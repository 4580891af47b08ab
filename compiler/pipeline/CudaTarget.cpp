// What the pipeline asks of the CUDA target.

#include "compiler/pipeline/CudaTarget.h"
#include "compiler/codegen/cuda/AdaptedLinear.h"
#include "compiler/codegen/cuda/CudaPrinter.h"
#include "compiler/codegen/cuda/Nvrtc.h"
#include "compiler/frontend/Locations.h"
#include "compiler/pipeline/Dump.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

void lorac::registerCudaDialects(DialectRegistry &registry) {
  registry.insert<gpu::GPUDialect, memref::MemRefDialect, scf::SCFDialect>();
}

// The kernel of each adapted linear with another shape, in program order.
static LogicalResult buildKernels(ModuleOp module, ModuleOp device,
                                  SmallVectorImpl<cuda::LinearKernel> &kernels) {
  llvm::StringSet<> seen;
  auto add = [&](Operation *op, FailureOr<cuda::LinearKernel> kernel) -> LogicalResult {
    if (failed(kernel))
      return failure();
    if (!seen.insert(kernel->function.getName()).second) {
      kernel->function.erase();
      return success();
    }
    kernel->preface += "\nfirst of: " + nameOf(op->getLoc()) + " (" + placeOf(op->getLoc()) +
                       "), lora op: " + op->getName().getStringRef().str();
    kernels.push_back(*kernel);
    return success();
  };
  auto result = module.walk([&](Operation *op) {
    if (auto linear = dyn_cast<AdaptedLinearOp>(op);
        linear && cast<WeightType>(linear.getWeight().getType()).getFormat() == FormatKind::NF4)
      return WalkResult(add(op, cuda::buildAdaptedLinear(linear, device)));
    if (auto backward = dyn_cast<AdaptedLinearBackwardOp>(op);
        backward && cast<WeightType>(backward.getWeight().getType()).getFormat() == FormatKind::NF4)
      return WalkResult(add(op, cuda::buildAdaptedLinearBackward(backward, device)));
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

LogicalResult lorac::emitCuda(ModuleOp module, const CompileRequest &request,
                              CompileResult &result) {
  llvm::Expected<cuda::Nvrtc> nvrtc = cuda::Nvrtc::open(request.nvrtc);
  if (!nvrtc)
    return module.emitError(llvm::toString(nvrtc.takeError()));
  OwningOpRef<ModuleOp> device = ModuleOp::create(module.getLoc());
  SmallVector<cuda::LinearKernel> kernels;
  if (failed(buildKernels(module, *device, kernels)))
    return failure();
  if (kernels.empty())
    return module.emitError("the CUDA target has kernels for double-quantized NF4 linears so far, "
                            "and this spec has none: set [quantization] format = \"nf4\"");
  result.files["60-kernels.mlir"] = dumpText(*device);
  for (cuda::LinearKernel &kernel : kernels) {
    std::string name = kernel.function.getName().str();
    FailureOr<std::string> source = cuda::printCuda(*device, kernel.function, kernel.preface);
    if (failed(source))
      return failure();
    result.files["kernels/" + name + ".cu"] = *source;
    for (const std::string &arch : request.cudaArchs) {
      llvm::Expected<cuda::CompiledKernel> compiled = nvrtc->compile(*source, name, arch);
      if (!compiled)
        return kernel.function.emitError(llvm::toString(compiled.takeError()));
      result.files["kernels/" + arch + "/" + name + ".cubin"] = compiled->cubin;
      result.files["kernels/" + arch + "/" + name + ".ptx"] = compiled->ptx;
    }
  }
  return success();
}
