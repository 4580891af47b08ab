// `lorac recompile`: a train binary's program at other ranks. No spec, model or data file is read:
// all that it is made from travels in the binary.

#include "compiler/pipeline/Pipeline.h"
#include "compiler/tools/Command.h"
#include "compiler/tools/CompileProject.h"
#include "compiler/tools/Output.h"
#include "compiler/tools/Resources.h"
#include "dsl/Parse.h"
#include "nlohmann/json.hpp"
#include "runtime/abi.h"
#include "runtime/formats/DurableFile.h"
#include "runtime/formats/MappedFile.h"
#include "runtime/train/Limits.h"
#include "runtime/train/OutputFile.h"
#include "runtime/train/Plan.h"

#include <chrono>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace lorac::tools {
namespace {

/// What `train` asks of a child when AdaLoRA's ranks have fallen.
struct RecompileOptions {
  std::string program; ///< a train binary
  std::string ranks;   ///< file: a JSON object, rank by module
  std::string out;     ///< the program to write
  std::string dumps;   ///< folder for the stages; empty: none
  bool background = false, probe = false;
};

constexpr int lowPriority = 10; // a tenth of a core beside busy ones

Result<std::map<std::string, int64_t>> readRanks(const std::string &path) {
  LORAC_TRY_ASSIGN(std::string text, formats::readSmallFile(path, 16 << 20));
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  Error wrong{"'" + path + "' is no JSON object of ranks by module", Exit::ForeignFile};
  if (!json.is_object())
    return wrong;
  std::map<std::string, int64_t> ranks;
  for (const auto &[module, rank] : json.items()) {
    if (!rank.is_number_unsigned() || rank.get<uint64_t>() > (1 << 20))
      return wrong;
    ranks[module] = rank.get<int64_t>();
  }
  return ranks;
}

void becomeBackground() {
  (void)setpriority(PRIO_PROCESS, 0, lowPriority);
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
}

double cpuSeconds() {
  rusage self{}, children{};
  getrusage(RUSAGE_SELF, &self);
  getrusage(RUSAGE_CHILDREN, &children); // the linker
  auto seconds = [](const timeval &t) { return double(t.tv_sec) + 1e-6 * double(t.tv_usec); };
  return seconds(self.ru_utime) + seconds(self.ru_stime) + seconds(children.ru_utime) +
         seconds(children.ru_stime);
}

Result<void> writeDumps(const std::string &folder,
                        const std::map<std::string, std::string> &files) {
  std::error_code code;
  for (const auto &[name, bytes] : files) {
    const std::filesystem::path path = std::filesystem::path(folder) / name;
    std::filesystem::create_directories(path.parent_path(), code);
    if (code)
      return Error{"cannot create '" + path.parent_path().string() + "': " + code.message()};
    LORAC_TRY(formats::writeDurably(path.string(), bytes));
  }
  return {};
}

} // namespace

static Exit runRecompile(const RecompileOptions &options) {
  const auto start = std::chrono::steady_clock::now();
  if (options.probe) {
    Result<std::string> identity = compilerIdentity();
    if (!identity)
      return fail(identity.error());
    print(nlohmann::ordered_json{
              {"version", LORAC_VERSION}, {"abi", LORAC_ABI_VERSION}, {"compiler", *identity}}
              .dump() +
          "\n");
    return Exit::Done;
  }
  if (options.background)
    becomeBackground();
  if (Result<void> output =
          train::checkOutputFile(options.out, train::OutputKind::Program, "--out");
      !output)
    return fail(output.error());
  Result<train::Payload> payload = train::Payload::read(options.program);
  if (!payload)
    return fail(payload.error());
  if (!payload->has(train::baseFile))
    return fail(
        {"'" + options.program + "' was not compiled for ranks that change", Exit::ForeignFile});
  Result<std::map<std::string, int64_t>> ranks = readRanks(options.ranks);
  if (!ranks)
    return fail(ranks.error());
  Result<train::Plan> plan = train::parsePlan(payload->file("plan.json"));
  if (!plan)
    return fail(plan.error());
  dsl::Diagnostics diags;
  const dsl::Spec spec = dsl::parseSpec(options.program, payload->file("spec.toml"), {}, diags);
  if (diags.hasErrors()) {
    sayLine(diags.text());
    return Exit::ForeignFile;
  }

  CompileRequest request;
  request.spec = &spec;
  request.base = payload->file(train::baseFile);
  request.rankPattern = *ranks;
  request.cpu = plan->cpu;
  for (const train::PlanArch &arch : plan->archs)
    request.cudaArchs.push_back(arch.name);
  request.threads = train::availableThreads();
  request.dumps = !options.dumps.empty();
  if (std::string cache = cacheFolder(); !cache.empty()) {
    Result<std::string> identity = compilerIdentity();
    if (!identity)
      return fail(identity.error());
    request.kernelCache = cache + "/kernels", request.compiler = *identity;
  }
  if (!plan->onGpu()) {
    Result<std::string> lld = linker();
    if (!lld)
      return fail(lld.error());
    request.linker = *lld;
  }
  auto result = compile(request, [](const std::string &severity, const std::string &place,
                                    const std::string &message) {
    if (severity != "remark")
      sayLine((place.empty() ? "" : place + ": ") + severity + ": " + message);
  });
  if (llvm::failed(result))
    return Exit::Failed;
  if (!result->fits)
    return fail({"the program at these ranks needs " + binaryBytes(double(result->needed)) +
                     " of weights, arena and scratch, more than its memory limit leaves",
                 Exit::DoesNotFit});
  if (!options.dumps.empty())
    if (Result<void> written = writeDumps(options.dumps, result->files); !written)
      return fail(written.error());
  if (Result<void> written = train::writeProgram(programFiles(result->files), options.out);
      !written)
    return fail(written.error());
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  print(nlohmann::ordered_json{{"kernels_built", result->compiledKernels},
                               {"kernels_from_cache", result->cachedKernels},
                               {"seconds", seconds},
                               {"cpu_seconds", cpuSeconds()}}
            .dump() +
        "\n");
  return Exit::Done;
}

static Action add(CLI::App &app) {
  auto options = std::make_shared<RecompileOptions>();
  app.add_option("TRAIN", options->program, "the training binary")->type_name("");
  app.add_option("--ranks", options->ranks, "a JSON object: rank by module")->type_name("FILE");
  app.add_option("-o,--out", options->out, "the program to write")->type_name("FILE");
  app.add_option("--dumps", options->dumps, "write the stages there too")->type_name("DIR");
  app.add_flag("--background", options->background,
               "at low priority, and no longer than the process that started it");
  app.add_flag("--probe", options->probe, "print which programs this lorac makes, as JSON");
  return {[options] {
            return options->probe             ? std::string()
                   : options->program.empty() ? std::string("TRAIN is missing")
                   : options->ranks.empty()   ? std::string("--ranks is missing")
                                              : needs(options->out, "--out");
          },
          [options] { return runRecompile(*options); }};
}

const Command commandRecompile = {
    "recompile",
    "the program of a train binary at other ranks: what a run with AdaLoRA asks for by itself",
    R"(| `recompile TRAIN --ranks FILE -o PROGRAM` | a training binary's program at other ranks; a run with AdaLoRA asks for it by itself (docs/adalora.md) |)",
    add, /*readsSpec=*/false};

} // namespace lorac::tools
