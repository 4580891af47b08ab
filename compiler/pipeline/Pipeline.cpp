// The order of all passes. Each stage that is named here is one dump in generated/<spec>/.

#include "compiler/pipeline/Pipeline.h"
#include "compiler/frontend/ImportSpec.h"
#include "compiler/frontend/Locations.h"
#include "compiler/passes/Stages.h"
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
        failed(isText() ? stage("30-cached", [](PassManager &pm) { addCached(pm); })
                        : stage("30-backward", [](PassManager &pm) { addBackward(pm); })) ||
        failed(stage("35-ordered", [](PassManager &pm) { pm.addPass(createOrderProducts()); })) ||
        failed(planStep()))
      return failure();
    result.needed = uint64_t(neededBytes());
    if (request.onlyLeast)
      return std::move(result);
    dump("50-planned");
    const bool withKernels = request.kernels && result.fits;
    if (isCuda()) {
      addReport();
      result.indexFault = findIndexFault(*module, *request.spec);
      return failed(emitCuda(*module, request, withKernels, result))
                 ? FailureOr<CompileResult>(failure())
                 : std::move(result);
    }
    FailureOr<std::string> plan = planJson(*module, *request.spec, {.cpu = request.cpu});
    if (failed(plan))
      return failure();
    result.files["plan.json"] = *plan;
    addReport();
    if (withKernels && failed(emitCpu(*module, request, result)))
      return failure();
    return std::move(result);
  }

private:
  const CompileRequest &request;
  MLIRContext &context;
  OwningOpRef<ModuleOp> module;
  CompileResult result;

  bool isCuda() const { return !request.cudaArchs.empty(); }
  bool isText() const { return request.sequences > 0; }
  WeightLayout layout() const { return isCuda() ? WeightLayout::Rows : WeightLayout::Panels; }

  LogicalResult importModel() {
    module = importSpec(context, {*request.spec, *request.model, request.adapters,
                                  request.sourceFormats, request.ranks, request.sequences});
    if (failed(verify(*module)))
      return failure();
    if (!isText()) // whose memory nothing can make less
      setMemory();
    if (!request.ranks)
      return success();
    llvm::raw_string_ostream os(result.base);
    return writeBytecodeToFile(*module, os);
  }

  // The base is this compiler's own: what it holds besides the ranks has been verified.
  LogicalResult readBase() {
    ParserConfig config(&context, /*verifyAfterParse=*/false);
    module = parseSourceString<ModuleOp>(request.base, config);
    if (!module)
      return emitError(UnknownLoc::get(&context), "the base of the program is unreadable");
    size_t known = 0;
    for (AdapterOp adapter : module->getOps<AdapterOp>()) {
      auto found = request.rankPattern.find(adapter.getSymName().str());
      if (found != request.rankPattern.end())
        ++known, adapter.setRank(found->second);
    }
    if (known != request.rankPattern.size())
      return emitError(UnknownLoc::get(&context),
                       "the ranks name a module that the program does not adapt");
    return success();
  }

  void addReport() {
    if (request.dumps)
      result.files["plan.md"] = planReport(*module, *request.spec, layout());
  }

  // What of `[target] memory` is for weights, arena and scratch. Part of the base: a program at
  // other ranks keeps to it.
  void setMemory() {
    const uint64_t memory = *request.spec->target.memory;
    if (memory == 0)
      return;
    const int64_t left = memory > request.otherMemory ? int64_t(memory - request.otherMemory) : 1;
    limits().setMemory(left);
    if (request.workers > 0)
      limits().setWorkers(request.workers);
  }
  LimitsOp limits() const { return findOnly<LimitsOp>(*module); }

  // 35-ordered -> 50-planned. Under a limit the step is planned once more, and again where
  // PlanMemory's peak says that the planner of recomputation was wrong: the kernels that a target
  // makes of the ops move a few lifetimes, and places have gaps.
  LogicalResult planStep() {
    constexpr int corrections = 3;
    if (failed(runPasses([](PassManager &pm) { pm.addPass(createFuseKernels()); })))
      return failure();
    if (request.onlyLeast)
      return planStep(1);
    const int64_t limit = limits().getMemory().value_or(0);
    OwningOpRef<ModuleOp> unplanned;
    if (limit != 0)
      unplanned = module->clone();
    if (failed(planStep(0)))
      return failure();
    if (limit == 0 || neededBytes() <= limit)
      return success();
    int64_t budget = std::max<int64_t>(limit - (neededBytes() - localBytes()) - gapBytes(), 1);
    for (int i = 0;; ++i) {
      module = unplanned->clone();
      if (failed(planStep(i < corrections ? budget : 1)))
        return failure();
      const int64_t over = neededBytes() - limit;
      const bool isLeast = recompute() && recompute().getLeast();
      if (over <= 0 || isLeast) {
        result.fits = over <= 0;
        return success();
      }
      budget = std::max<int64_t>(std::min(budget, estimate()) - over, 1);
    }
  }

  LogicalResult planStep(int64_t budget) {
    const std::string device = isCuda() ? "cuda" : "cpu";
    if (failed(runPasses(
            [&](PassManager &pm) { addFusion(pm, {.memory = budget, .device = device}); })))
      return failure();
    ++result.plans;
    if (RecomputeOp chosen = recompute())
      result.simulations += int(chosen.getEvaluations());
    dump("40-fused");
    return runPasses([&](PassManager &pm) {
      addPlan(pm, choices(device), [&](OpPassManager &pm) {
        if (!isCuda())
          addDescribeKernels(pm, request.cpu);
      });
    });
  }
  PlanChoices choices(const std::string &device) const {
    const dsl::OptimizerSpec &optimizer = request.spec->optimizer;
    PlanChoices choices{.device = device,
                        .compute = cudaCompute(*request.spec),
                        .rankPerKernel = request.rankPerKernel,
                        .trains = !isText(),
                        .update = {.optimizer = std::string(toString(*optimizer.name)),
                                   .beta1 = *optimizer.beta1,
                                   .beta2 = *optimizer.beta2,
                                   .eps = *optimizer.eps,
                                   .weightDecay = *optimizer.weightDecay,
                                   .min8bitSize = *optimizer.min8bitSize}};
    if (const auto &adalora = request.spec->adapter.adalora)
      choices.triplets.beta1 = *adalora->beta1, choices.triplets.beta2 = *adalora->beta2;
    return choices;
  }

  ArenaOp arena() const { return findOnly<ArenaOp>(*module); }
  RecomputeOp recompute() const { return findOnly<RecomputeOp>(*module); }
  int64_t estimate() const { return recompute() ? int64_t(recompute().getEstimate()) : 0; }
  int64_t localBytes() const { return arena().getBytes() - arena().getPersistent(); }
  int64_t gapBytes() const { return std::max<int64_t>(localBytes() - estimate(), 0); }
  int64_t neededBytes() const {
    int64_t scratch = 0;
    for (KernelOp kernel : (*module).getOps<KernelOp>())
      scratch = std::max<int64_t>(scratch, kernel.getScratch());
    scratch = (scratch + 4095) / 4096 * 4096; // each worker's begins on a page
    // A recompiled program is planned for the workers of its run; without a limit the module says
    // nothing of them.
    const int64_t workers = limits().getWorkers().value_or(request.workers);
    return frozenRoom(*module, layout()) + arena().getBytes() + scratch * workers;
  }

  LogicalResult stage(StringRef name, AddPasses add) {
    if (failed(runPasses(add)))
      return failure();
    dump(name);
    return success();
  }
  LogicalResult runPasses(AddPasses add) {
    PassManager pm(&context);
    // At other ranks the passes do what they did before.
    pm.enableVerifier(request.base.empty());
    add(pm);
    return pm.run(*module);
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
