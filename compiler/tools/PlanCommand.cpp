// `lorac plan`: what a run will take, before it runs. Exit 4 when it does not fit.

#include "compiler/tools/CompileProject.h"
#include "compiler/tools/Output.h"
#include "compiler/tools/PlanSize.h"
#include "nlohmann/json.hpp"
#include "runtime/train/Limits.h"

namespace lorac::tools {
namespace {

nlohmann::ordered_json asJson(const PlanSize &size, int threads, bool fits) {
  nlohmann::ordered_json weights = nlohmann::ordered_json::object();
  for (const auto &[format, bytes] : size.weights)
    weights[format] = bytes;
  return {{"weights_bytes", weights},
          {"arena_bytes", size.arena},
          {"adapters_bytes", size.adapters},
          {"scratch_bytes", size.scratch * static_cast<uint64_t>(threads)},
          {"total_bytes", size.total(threads)},
          {"threads", threads},
          {"trainable_parameters", size.parameters},
          {"max_tokens", size.tokens},
          {"flops", size.flops},
          {"fits", fits}};
}

} // namespace

Exit runPlan(const PlanOptions &options) {
  Project project;
  Exit code = loadProject(options.compile.spec, project);
  if (code != Exit::Done)
    return code;
  CompileSettings settings = settingsFor(options.compile, project.spec);
  settings.kernels = false;
  Compiled compiled;
  code = compileProject(project, settings, compiled);
  if (code != Exit::Done && code != Exit::DoesNotFit)
    return code;
  Result<PlanSize> size = readPlanSize(compiled.files["plan.json"]);
  if (!size)
    return fail(size.error());

  const int threads = *project.spec.target.threads ? static_cast<int>(*project.spec.target.threads)
                                                   : train::availableThreads();
  const uint64_t need = size->total(threads);
  const bool onGpu = !settings.archs.empty();
  // The GPU's is known where it is.
  const train::Limit<uint64_t> most =
      onGpu ? train::Limit<uint64_t>{} : train::machineMemory().mostBy();
  const uint64_t have = most.value;
  if (have && need > have) {
    sayError("the plan needs " + binaryBytes(double(need)) + " on " + std::to_string(threads) +
             " threads, " + binaryBytes(double(need - have)) +
             " more than this machine gives a process: " + binaryBytes(double(have)) + " by " +
             most.by);
    code = Exit::DoesNotFit;
  }
  if (options.compile.json) {
    print(asJson(*size, threads, code == Exit::Done).dump(2) + "\n");
    return code;
  }
  print(compiled.files["plan.md"]);
  if (onGpu) {
    print("\n" + binaryBytes(double(need)) + " of a GPU's memory in all.\n");
    return code;
  }
  print("\n" + binaryBytes(double(need)) + " in all on " + std::to_string(threads) +
        " threads; this machine gives " + binaryBytes(double(have)) + " (" + most.by + ").\n");
  return code;
}

} // namespace lorac::tools
