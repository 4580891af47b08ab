// What the pipeline asks of the CUDA target.

#include "compiler/pipeline/CudaTarget.h"
#include "compiler/codegen/cuda/CudaPrinter.h"
#include "compiler/codegen/cuda/GenerateKernels.h"
#include "compiler/codegen/cuda/Nvrtc.h"
#include "compiler/frontend/Locations.h"
#include "compiler/passes/Passes.h"
#include "compiler/pipeline/Dump.h"
#include "compiler/pipeline/PlanJson.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

void lorac::registerCudaDialects(DialectRegistry &registry) {
  registry.insert<gpu::GPUDialect, memref::MemRefDialect, scf::SCFDialect, device::DeviceDialect>();
}

std::string lorac::cudaCompute(const dsl::Spec &spec) {
  return *spec.quantization.computeDtype == dsl::ComputeDtype::F16 ? "f16" : "bf16";
}

void lorac::addCudaPlanning(PassManager &pm, const dsl::Spec &spec) {
  SelectKernelsOptions select;
  select.device = "cuda";
  select.compute = cudaCompute(spec);
  pm.addPass(createSelectKernels(select));
  pm.addPass(createAppendUpdate());
  PlanMemoryOptions memory;
  memory.alignment = 256;
  pm.addPass(createPlanMemory(memory));
}

// What stands above a kernel: its formula, the first op that needs it, its launch.
static std::string prefaceOf(KernelOp kernel, func::FuncOp function) {
  std::string text = cuda::findFamily(kernel.getFamily())->formula.str();
  text += "\nfirst of: " + nameOf(kernel.getLoc()) + " (" + placeOf(kernel.getLoc()) + "), lora.kernel family " +
          kernel.getFamily().str();
  text += "\n" + std::to_string(function->getAttrOfType<IntegerAttr>("cuda.threads").getInt()) + " threads, " +
          std::to_string(function->getAttrOfType<IntegerAttr>("cuda.shared").getInt()) +
          " bytes of shared memory a block; rows are begin..begin + count of the step's tokens, all `count` where begin is -1";
  return text;
}

LogicalResult lorac::emitCuda(ModuleOp module, const CompileRequest &request,
                              CompileResult &result) {
  llvm::Expected<cuda::CudaTarget> target = cuda::CudaTarget::get(request.cudaArchs, cudaCompute(*request.spec));
  if (!target)
    return module.emitError(llvm::toString(target.takeError()));
  FailureOr<OwningOpRef<ModuleOp>> kernels = cuda::generateKernels(module, *target);
  if (failed(kernels) || failed(cuda::setGrids(module, *target)))
    return failure();
  result.files["60-kernels.mlir"] = dumpText(**kernels);
  FailureOr<std::string> plan = planJson(module, *request.spec, {.compute = target->compute, .archs = target->archs, .kernels = **kernels});
  if (failed(plan))
    return failure();
  result.files["plan.json"] = *plan;

  llvm::Expected<cuda::Nvrtc> nvrtc = cuda::Nvrtc::open(request.nvrtc);
  if (!nvrtc)
    return module.emitError(llvm::toString(nvrtc.takeError()));
  for (auto kernel : module.getOps<KernelOp>()) {
    std::string name = kernel.getSymName().str();
    auto function = (*kernels)->lookupSymbol<func::FuncOp>(name);
    FailureOr<std::string> source = cuda::printCuda(function, prefaceOf(kernel, function));
    if (failed(source))
      return failure();
    result.files["kernels/" + name + ".cu"] = *source;
    for (const std::string &arch : request.cudaArchs) {
      llvm::Expected<cuda::CompiledKernel> compiled = nvrtc->compile(*source, name, arch);
      if (!compiled)
        return kernel.emitError(llvm::toString(compiled.takeError()));
      result.files["kernels/" + arch + "/" + name + ".cubin"] = compiled->cubin;
      result.files["kernels/" + arch + "/" + name + ".ptx"] = compiled->ptx;
    }
  }
  return success();
}
