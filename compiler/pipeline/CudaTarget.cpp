// What the pipeline asks of the CUDA target.

#include "compiler/pipeline/CudaTarget.h"
#include "compiler/codegen/cuda/ArchLimits.h"
#include "compiler/codegen/cuda/CudaPrinter.h"
#include "compiler/codegen/cuda/GenerateKernels.h"
#include "compiler/codegen/cuda/KernelCompiler.h"
#include "compiler/frontend/Locations.h"
#include "compiler/passes/Passes.h"
#include "compiler/pipeline/Dump.h"
#include "compiler/pipeline/KernelFacts.h"
#include "compiler/pipeline/PlanJson.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include <chrono>

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

void lorac::registerCudaDialects(DialectRegistry &registry) {
  registry.insert<gpu::GPUDialect, memref::MemRefDialect, scf::SCFDialect, device::DeviceDialect>();
}

std::string lorac::cudaCompute(const dsl::Spec &spec) {
  return *spec.quantization.computeDtype == dsl::ComputeDtype::F16 ? "f16" : "bf16";
}

// What stands above a kernel: its formula, the first op that needs it, its launch.
static std::string prefaceOf(KernelOp kernel, func::FuncOp function) {
  std::string text = cuda::findFamily(kernel.getFamily())->formula.str();
  text += "\nfirst of: " + nameOf(kernel.getLoc()) + " (" + placeOf(kernel.getLoc()) +
          "), lora.kernel family " + kernel.getFamily().str();
  text += "\n" + std::to_string(function->getAttrOfType<IntegerAttr>("cuda.threads").getInt()) +
          " threads, " +
          std::to_string(function->getAttrOfType<IntegerAttr>("cuda.shared").getInt()) +
          " bytes of shared memory a block; rows are begin..begin + count of the step's tokens, "
          "all `count` where begin is -1";
  return text;
}

static KernelFacts factsOf(func::FuncOp function, const std::string &arch,
                           const cuda::BuiltKernel &built) {
  const cuda::ArchLimits &limits = *cuda::findLimits(arch);
  KernelFacts facts{function.getName().str(), arch};
  facts.threads = function->getAttrOfType<IntegerAttr>("cuda.threads").getInt();
  facts.sharedBytes = function->getAttrOfType<IntegerAttr>("cuda.shared").getInt();
  facts.registers = built.compiled.registers, facts.spillBytes = built.compiled.spillBytes;
  facts.log = built.compiled.log;
  facts.residentBlocks =
      cuda::residentBlocks(limits, facts.threads, facts.registers, facts.sharedBytes);
  facts.occupancy =
      double(facts.residentBlocks * facts.threads) / double(limits.threadsPerMultiprocessor);
  if (built.loop)
    facts.instructionsPerMma = built.loop->perMma();
  return facts;
}

// The spec's line that names an architecture which is in no table; none where --arch did.
static Location unknownArch(MLIRContext &context, const dsl::Spec &spec) {
  for (const dsl::Field<std::string> &arch : *spec.target.arch)
    if (!cuda::findLimits(*arch))
      return locationOf(context, arch.range, "target.arch");
  return UnknownLoc::get(&context);
}

LogicalResult lorac::emitCuda(ModuleOp module, const CompileRequest &request, bool withKernels,
                              CompileResult &result) {
  llvm::Expected<cuda::CudaTarget> target =
      cuda::CudaTarget::get(request.cudaArchs, cudaCompute(*request.spec));
  if (!target)
    return emitError(unknownArch(*module.getContext(), *request.spec),
                     llvm::toString(target.takeError()));
  FailureOr<OwningOpRef<ModuleOp>> kernels = cuda::generateKernels(module, *target);
  if (failed(kernels) || failed(cuda::setGrids(module, *target)))
    return failure();
  result.files["60-kernels.mlir"] = dumpText(**kernels);
  FailureOr<std::string> plan =
      planJson(module, *request.spec,
               {.compute = target->compute, .archs = target->archs, .kernels = **kernels});
  if (failed(plan))
    return failure();
  result.files["plan.json"] = *plan;
  if (!withKernels || result.indexFault)
    return success();

  llvm::Expected<cuda::Nvrtc> nvrtc = cuda::Nvrtc::open(request.nvrtc);
  if (!nvrtc) // of this machine, not of a line of the spec
    return emitError(UnknownLoc::get(module.getContext()), llvm::toString(nvrtc.takeError()));
  std::optional<cuda::Disassembler> disassembler = cuda::Disassembler::find();
  std::vector<cuda::KernelSource> sources;
  for (auto kernel : module.getOps<KernelOp>()) {
    std::string name = kernel.getSymName().str();
    auto function = (*kernels)->lookupSymbol<func::FuncOp>(name);
    FailureOr<std::string> source = cuda::printCuda(function, prefaceOf(kernel, function));
    if (failed(source))
      return failure();
    result.files["kernels/" + name + ".cu"] = *source;
    for (const std::string &arch : request.cudaArchs)
      sources.push_back({name, *source, arch});
  }

  const auto start = std::chrono::steady_clock::now();
  KernelCache cache(request.kernelCache,
                    [&](const std::string &words) { module.emitWarning(words); });
  llvm::Expected<std::vector<cuda::BuiltKernel>> built =
      cuda::KernelCompiler{*nvrtc, disassembler, cache, request.threads}.build(sources);
  if (!built)
    return module.emitError(llvm::toString(built.takeError()));
  result.kernelSeconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result.cachedKernels = cache.found(), result.compiledKernels = cache.missed();
  std::vector<KernelFacts> facts;
  for (auto [source, kernel] : llvm::zip(sources, *built)) {
    facts.push_back(
        factsOf((*kernels)->lookupSymbol<func::FuncOp>(source.name), source.arch, kernel));
    result.files["kernels/" + source.arch + "/" + source.name + ".cubin"] = kernel.compiled.cubin;
    result.files["kernels/" + source.arch + "/" + source.name + ".ptx"] = kernel.compiled.ptx;
  }
  result.files["kernels.json"] = kernelFactsJson(facts);
  result.files["kernels.md"] = kernelFactsTable(facts);
  return success();
}
