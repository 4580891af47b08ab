// The order of all passes. Each stage that is named here is one dump in generated/<spec>/.

#include "compiler/pipeline/Pipeline.h"
#include "compiler/frontend/ImportSpec.h"
#include "compiler/frontend/Locations.h"
#include "compiler/passes/Passes.h"
#include "compiler/pipeline/CpuTarget.h"
#include "compiler/pipeline/CudaTarget.h"
#include "compiler/pipeline/Dump.h"
#include "compiler/pipeline/PlanJson.h"
#include "compiler/pipeline/PlanReport.h"
#include "compiler/pipeline/WeightParts.h"
#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

namespace {

using AddPasses = llvm::function_ref<void(PassManager &)>;

class Compilation {
public:
  Compilation(const CompileRequest &request, MLIRContext &context)
      : request(request), context(context) {}

  FailureOr<CompileResult> run() {
    if (failed(request.base.empty() ? importModel() : readBase()))
      return failure();
    dump("10-model");
    if (failed(stage("20-adapted", [](PassManager &pm) { pm.addPass(createAttachAdapters()); })) ||
        failed(stage("30-backward",
                     [](PassManager &pm) {
                       pm.addPass(createFuseElementwise());
                       pm.addPass(createDifferentiate());
                       pm.addPass(createCanonicalizerPass());
                       pm.addPass(createCSEPass());
                     })) ||
        failed(stage("35-ordered", [](PassManager &pm) { pm.addPass(createOrderProducts()); })) ||
        failed(stage("40-fused", [](PassManager &pm) {
          pm.addPass(createPlanRecompute());
          pm.addPass(createFuseKernels());
          pm.addPass(createFuseElementwise());
          pm.addPass(createCanonicalizerPass());
          pm.addPass(createFuseEpilogues());
        })))
      return failure();
    // From here on the target is known.
    if (!request.cudaArchs.empty()) {
      if (failed(stage("50-planned", [&](PassManager &pm) { addCudaPlanning(pm, *request.spec); })))
        return failure();
      addReport();
      result.indexFault = findIndexFault(*module, *request.spec);
      return failed(emitCuda(*module, request, result)) ? FailureOr<CompileResult>(failure())
                                                        : std::move(result);
    }
    if (failed(stage("50-planned", [&](PassManager &pm) {
          pm.addPass(createSelectKernels({.rankPerKernel = request.rankPerKernel}));
          addDescribeKernels(pm, request.cpu);
          pm.addPass(createPlanMemory());
          pm.addPass(createCheckMemory());
        })))
      return failure();
    FailureOr<std::string> plan = planJson(*module, *request.spec, {.cpu = request.cpu});
    if (failed(plan))
      return failure();
    result.files["plan.json"] = *plan;
    addReport();
    if (request.kernels && failed(emitCpu(*module, request, result)))
      return failure();
    return std::move(result);
  }

private:
  const CompileRequest &request;
  MLIRContext &context;
  OwningOpRef<ModuleOp> module;
  CompileResult result;

  WeightLayout layout() const {
    return request.cudaArchs.empty() ? WeightLayout::Panels : WeightLayout::Rows;
  }

  LogicalResult importModel() {
    module = importSpec(context, {*request.spec, *request.model, request.adapters,
                                  request.sourceTypes, request.ranks});
    if (failed(verify(*module)))
      return failure();
    setActivationMemory();
    if (!request.ranks)
      return success();
    llvm::raw_string_ostream os(result.base);
    return writeBytecodeToFile(*module, os);
  }

  // The base is this compiler's own: what it holds besides the ranks has been verified.
  LogicalResult readBase() {
    ParserConfig config(&context, /*verifyAfterParse=*/false);
    module = parseSourceString<ModuleOp>(request.base, config);
    auto adapters = module ? (*module)->getAttrOfType<ArrayAttr>("lora.adapters") : ArrayAttr();
    if (!adapters)
      return emitError(UnknownLoc::get(&context), "the base of the program is unreadable");
    SmallVector<Attribute> changed;
    size_t known = 0;
    for (auto adapter : adapters.getAsRange<DictionaryAttr>()) {
      NamedAttrList list(adapter);
      auto found = request.rankPattern.find(adapter.getAs<StringAttr>("module").str());
      if (found != request.rankPattern.end()) {
        ++known;
        list.set("r", IntegerAttr::get(IntegerType::get(&context, 64), found->second));
      }
      changed.push_back(list.getDictionary(&context));
    }
    if (known != request.rankPattern.size())
      return emitError(UnknownLoc::get(&context),
                       "the ranks name a module that the program does not adapt");
    (*module)->setAttr("lora.adapters", ArrayAttr::get(&context, changed));
    return success();
  }

  void addReport() {
    if (request.dumps)
      result.files["plan.md"] = planReport(*module, *request.spec, layout());
  }

  // What `[target] memory` leaves for activations: frozen weights and four copies of the adapters
  // are always there.
  void setActivationMemory() {
    int64_t memory = *request.spec->target.memory, adapters = 0;
    if (memory == 0)
      return;
    for (const dsl::AdapterChoice &choice : request.adapters) {
      auto frozen = module->lookupSymbol<FrozenOp>(choice.module + ".weight");
      if (frozen)
        adapters += choice.r * (cast<WeightType>(frozen.getType()).getShape()[0] +
                                cast<WeightType>(frozen.getType()).getShape()[1]);
    }
    int64_t left = std::max<int64_t>(memory - frozenBytes(*module, layout()) - 16 * adapters, 1);
    (*module)->setAttr("lora.activation_memory",
                       IntegerAttr::get(IntegerType::get(&context, 64), left));
  }

  LogicalResult stage(StringRef name, AddPasses add) {
    PassManager pm(&context);
    // At other ranks the passes do what they did before.
    pm.enableVerifier(request.base.empty());
    add(pm);
    if (failed(pm.run(*module)))
      return failure();
    dump(name);
    return success();
  }
  void dump(StringRef name) {
    if (request.dumps)
      result.files[(name + ".mlir").str()] = dumpText(*module);
  }
};

} // namespace

FailureOr<CompileResult> lorac::compile(const CompileRequest &request, const DiagnosticSink &sink) {
  DialectRegistry registry;
  registerLoraDialects(registry);
  registerCpuDialects(registry);
  registerCudaDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    const char *severity = diagnostic.getSeverity() == DiagnosticSeverity::Error     ? "error"
                           : diagnostic.getSeverity() == DiagnosticSeverity::Warning ? "warning"
                                                                                     : "remark";
    sink(severity, placeOf(diagnostic.getLocation()), diagnostic.str());
    return success();
  });
  return Compilation(request, context).run();
}
