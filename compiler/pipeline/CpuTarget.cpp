// What the pipeline asks of the CPU target.

#include "compiler/pipeline/CpuTarget.h"
#include "compiler/codegen/KernelCache.h"
#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/GenerateKernels.h"
#include "compiler/codegen/cpu/LowerToLLVM.h"
#include "compiler/codegen/cpu/ObjectFile.h"
#include "compiler/frontend/Locations.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/Pass.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"

#include <chrono>

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

namespace {

struct DescribeKernels : PassWrapper<DescribeKernels, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(DescribeKernels)
  explicit DescribeKernels(std::string cpu) : cpu(std::move(cpu)) {}
  std::string cpu;

  StringRef getArgument() const override { return "lora-describe-kernels-cpu"; }

  void runOnOperation() override {
    llvm::Expected<cpu::CpuTarget> target = cpu::CpuTarget::get(cpu);
    if (!target) {
      getOperation().emitError(llvm::toString(target.takeError()));
      return signalPassFailure();
    }
    for (KernelOp kernel : getOperation().getOps<KernelOp>()) {
      const cpu::Family *family = cpu::findFamily(kernel.getFamily());
      if (!family) {
        kernel.emitOpError("the CPU target has no family '") << kernel.getFamily() << "'";
        return signalPassFailure();
      }
      FailureOr<cpu::KernelShape> shape =
          family->describe(kernel.getLoc(), kernel.getParams(), *target);
      if (failed(shape))
        return signalPassFailure();
      kernel.setSpace(shape->space);
      kernel.setTile(shape->tile);
      kernel.setCount(shape->count);
      kernel.setScratch(shape->scratch);
    }
  }
};

} // namespace

void lorac::addDescribeKernels(OpPassManager &pm, const std::string &cpu) {
  pm.addPass(std::make_unique<DescribeKernels>(cpu));
}

// One file a kernel, with its formula and the first op that needs it above; 60-kernels declares
// them all.
static void dumpKernels(ModuleOp planned, ModuleOp kernels, CompileResult &result) {
  std::string index;
  for (KernelOp kernel : planned.getOps<KernelOp>()) {
    StringRef name = kernel.getSymName();
    auto body = kernels.lookupSymbol<func::FuncOp>((name + ".body").str());
    assert(body && "generateKernels made one for each kernel");
    std::string head = ("// " + cpu::findFamily(kernel.getFamily())->formula + "\n// first of: " +
                        nameOf(kernel.getLoc()) + " (" + placeOf(kernel.getLoc()) + ")\n")
                           .str();
    std::string text = head;
    llvm::raw_string_ostream os(text);
    body.print(os, OpPrintingFlags().enableDebugInfo(false));
    os << "\n";
    result.files["kernels/" + name.str() + ".mlir"] = text;
    index += head + "// kernels/" + name.str() + ".mlir\n";
    llvm::raw_string_ostream(index)
        << "func.func private @" << body.getName() << body.getFunctionType() << "\n\n";
  }
  result.files["60-kernels.mlir"] = index;
}

void lorac::registerCpuDialects(DialectRegistry &registry) {
  registry.insert<scf::SCFDialect, vector::VectorDialect, LLVM::LLVMDialect>();
}

// The cache's key: the declaration says all that a kernel is made from.
static CacheKey keyOf(KernelOp kernel, const cpu::CpuTarget &target, StringRef compiler) {
  CacheKey key;
  llvm::raw_string_ostream os(key.source);
  kernel.print(os, OpPrintingFlags().enableDebugInfo(false).useLocalScope());
  key.options = target.features;
  key.architecture = target.cpu;
  key.compiler = compiler.str();
  return key;
}

// Objects of all kernels, those of the cache and new ones. Dumps show all bodies.
static LogicalResult buildObjects(ModuleOp planned, const cpu::CpuTarget &target,
                                  const CompileRequest &request, CompileResult &result,
                                  std::vector<cpu::KernelObject> &objects) {
  KernelCache cache(request.kernelCache,
                    [&](const std::string &words) { planned.emitWarning(words); });
  llvm::StringMap<CacheKey> missing;
  for (KernelOp kernel : planned.getOps<KernelOp>()) {
    CacheKey key = keyOf(kernel, target, request.compiler);
    if (std::optional<StoredKernel> stored = cache.find(key))
      objects.push_back({kernel.getSymName().str(), stored->binary});
    else
      missing[kernel.getSymName()] = key;
  }
  auto isMissing = [&](StringRef name) { return missing.contains(name); };
  FailureOr<OwningOpRef<ModuleOp>> kernels =
      cpu::generateKernels(planned, target, [&](KernelOp kernel) {
        return request.dumps || isMissing(kernel.getSymName());
      });
  if (failed(kernels))
    return failure();
  if (request.dumps)
    dumpKernels(planned, **kernels, result);
  for (auto body : llvm::make_early_inc_range((*kernels)->getOps<func::FuncOp>())) {
    StringRef name = body.getSymName();
    name.consume_back(".body");
    if (!isMissing(name))
      body.erase();
  }
  if (failed(cpu::lowerToLLVM(**kernels)))
    return failure();
  llvm::Expected<std::vector<cpu::KernelObject>> made =
      cpu::compileObjects(**kernels, target, unsigned(request.threads));
  if (!made)
    return planned.emitError("module.so: ") << llvm::toString(made.takeError());
  for (cpu::KernelObject &object : *made) {
    cache.keep(missing[object.name], {object.bytes, ""});
    objects.push_back(std::move(object));
  }
  // The same bytes, wherever the objects came from.
  llvm::sort(objects, [](const cpu::KernelObject &x, const cpu::KernelObject &y) {
    return x.name < y.name;
  });
  result.cachedKernels = cache.found(), result.compiledKernels = cache.missed();
  return success();
}

LogicalResult lorac::emitCpu(ModuleOp module, const CompileRequest &request,
                             CompileResult &result) {
  llvm::Expected<cpu::CpuTarget> target = cpu::CpuTarget::get(request.cpu);
  if (!target)
    return module.emitError(llvm::toString(target.takeError()));
  const auto start = std::chrono::steady_clock::now();
  std::vector<cpu::KernelObject> objects;
  if (failed(buildObjects(module, *target, request, result, objects)))
    return failure();
  SmallString<128> path;
  if (std::error_code error = llvm::sys::fs::createTemporaryFile("lorac", "so", path))
    return module.emitError("cannot create a temporary file for module.so: ") << error.message();
  llvm::FileRemover remover(path);
  if (llvm::Error error = cpu::linkObjects(std::move(objects), *target, path,
                                           {request.linker, unsigned(request.threads)}))
    return module.emitError("module.so: ") << llvm::toString(std::move(error));
  auto buffer =
      llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer)
    return module.emitError("cannot read the linked module.so: ") << buffer.getError().message();
  result.files["module.so"] = (*buffer)->getBuffer().str();
  result.kernelSeconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return success();
}
