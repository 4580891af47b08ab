// `lorac plan`: what a run will take, before it runs. Exit 4 when it does not fit.

#include "compiler/tools/Command.h"
#include "compiler/tools/CompileProject.h"
#include "compiler/tools/Output.h"
#include "compiler/tools/PlanSize.h"
#include "nlohmann/json.hpp"
#include "runtime/train/Limits.h"

namespace lorac::tools {
namespace {

nlohmann::ordered_json asJson(const PlanSize &size, const Compiled &compiled, bool fits) {
  const int threads = compiled.facts.threads;
  nlohmann::ordered_json weights = nlohmann::ordered_json::object();
  for (const auto &[format, bytes] : size.weights)
    weights[format] = bytes;
  return {{"weights_bytes", weights},
          {"arena_bytes", size.arena},
          {"adapters_bytes", size.adapters},
          {"scratch_bytes", size.scratch * static_cast<uint64_t>(threads)},
          {"total_bytes", compiled.memory.total()},
          {"host_bytes", compiled.memory.host()},
          {"lines", nlohmann::ordered_json::parse(memoryJson(compiled.memory)).at("lines")},
          {"threads", threads},
          {"trainable_parameters", size.parameters},
          {"max_tokens", size.tokens},
          {"flops", size.flops},
          {"fits", fits}};
}

} // namespace

static Exit runPlan(const CompileOptions &options) {
  Project project;
  Exit code = loadProject(options.spec, project);
  if (code != Exit::Done)
    return code;
  CompileSettings settings = settingsFor(options, project.spec);
  settings.kernels = false;
  Compiled compiled;
  code = compileProject(project, settings, compiled);
  if (code != Exit::Done && code != Exit::DoesNotFit)
    return code;
  Result<train::Plan> planned = train::parsePlan(compiled.files["plan.json"]);
  if (!planned)
    return fail(Error{planned.error().message, Exit::Bug});
  const PlanSize size = sizeOf(*planned);

  const int threads = compiled.facts.threads;
  const uint64_t need = compiled.memory.total();
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
  if (options.json) {
    print(asJson(size, compiled, code == Exit::Done).dump(2) + "\n");
    return code;
  }
  // The lines of a whole run in place of those of the program alone.
  const std::string &plan = compiled.files["plan.md"];
  const size_t table = plan.find("| what | size |"), behind = plan.find("\n## ", table);
  print(plan.substr(0, table) + memoryTable(compiled.memory, compiled.facts));
  print(plan.substr(std::min(behind, plan.size())));
  if (onGpu) {
    print("\n" + binaryBytes(double(need)) + " of a GPU's memory in all.\n");
    return code;
  }
  print("\n" + binaryBytes(double(need)) + " in all on " + std::to_string(threads) +
        " threads; this machine gives " + binaryBytes(double(have)) + " (" + most.by + ").\n");
  return code;
}

static Action add(CLI::App &app) {
  auto options = std::make_shared<CompileOptions>();
  addSpec(app, options->spec);
  app.add_option("--cpu", options->cpu, "plan for this CPU [the one at hand]")->type_name("NAME");
  app.add_flag("--json", options->json, "print JSON");
  return {[options] { return needs(options->spec.path, "SPEC"); },
          [options] { return runPlan(*options); }};
}

const Command commandPlan = {
    "plan", "memory and work of a spec, before anything runs",
    R"(| `plan SPEC` | memory and work of a run, before anything runs: a line for each thing that is held, data and program included; `--json` has the lines as `lines` |)",
    add};

} // namespace lorac::tools
