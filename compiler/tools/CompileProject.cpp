#include "compiler/tools/CompileProject.h"

#include "compiler/pipeline/Pipeline.h"
#include "compiler/tools/AdapterProgram.h"
#include "compiler/tools/GeneratedFolder.h"
#include "compiler/tools/HostCpu.h"
#include "compiler/tools/HostNvrtc.h"
#include "compiler/tools/Identity.h"
#include "compiler/tools/MemoryLimit.h"
#include "compiler/tools/Output.h"
#include "compiler/tools/Resources.h"
#include "dsl/Diagnostics.h"
#include "dsl/SpecJson.h"
#include "runtime/formats/Hash.h"
#include "runtime/gpu/Describe.h"
#include "runtime/train/Limits.h"

#include <cstdlib>
#include <fmt/format.h>

namespace lorac::tools {
namespace {

/// A message of the compiler, with the line of the spec under it where it points at one.
void sayDiagnostic(const Project &project, const std::string &severity, const std::string &place,
                   const std::string &message) {
  const std::string prefix = project.spec.path + ":";
  dsl::Diagnostics diags;
  if (place.compare(0, prefix.size(), prefix) == 0) {
    char *end = nullptr;
    auto line = static_cast<uint32_t>(std::strtoul(place.c_str() + prefix.size(), &end, 10));
    auto column = *end == ':' ? static_cast<uint32_t>(std::strtoul(end + 1, nullptr, 10)) : 1;
    dsl::SourceRange range{project.spec.file, line, column, line, column + 1};
    if (line > 0 && line <= project.spec.file->lines()) {
      severity == "error" ? diags.error(range, message) : diags.warning(range, message);
      return sayLine(diags.text());
    }
  }
  sayLine((place.empty() ? "" : place + ": ") + severity + ": " + message);
}

CompileRequest requestFor(const Project &project, const CompileSettings &settings) {
  CompileRequest request;
  request.spec = &project.spec;
  request.model = &project.model;
  request.adapters = project.adapters;
  request.ranks = project.ranks;
  request.sourceFormats = project.sourceFormats;
  request.cpu = settings.cpu.empty() ? "native" : settings.cpu;
  request.cudaArchs = settings.archs;
  request.threads = train::availableThreads();
  request.kernels = settings.kernels;
  request.rankPerKernel = settings.rankPerKernel;
  request.sequences = settings.sequences;
  request.otherMemory = settings.otherMemory;
  request.workers = workersOf(project, settings);
  return request;
}

} // namespace

int workersOf(const Project &project, const CompileSettings &settings) {
  if (!settings.archs.empty())
    return 0;
  const int64_t threads = *project.spec.target.threads;
  return threads ? static_cast<int>(threads) : train::availableThreads();
}

std::optional<uint64_t> leastMemory(const Project &project, const CompileSettings &settings) {
  CompileRequest request = requestFor(project, settings);
  request.kernels = request.dumps = false;
  request.onlyLeast = true;
  auto result = compile(request, [](const auto &, const auto &, const auto &) {});
  return llvm::failed(result) ? std::nullopt : std::optional(result->needed);
}

Result<std::string> compilerIdentity() {
  LORAC_TRY_ASSIGN(std::string hash, formats::hashFile("/proc/self/exe"));
  return std::string("lorac ") + LORAC_VERSION + " " + hash;
}

std::vector<train::PayloadFile> programFiles(const std::map<std::string, std::string> &files) {
  // Of a CPU the kernels are one module, of a device a file each.
  std::vector<train::PayloadFile> program;
  for (const auto &[name, content] : files)
    if (name == "module.so" || name == "plan.json" || name.ends_with(".cubin") ||
        name.ends_with(".ptx"))
      program.push_back({name, content});
  return program;
}

Exit compileProject(const Project &project, const CompileSettings &given, Compiled &out) {
  if (Result<void> known = checkCpuName(given.cpu); !known)
    return fail(known.error());
  Result<RunFacts> facts = readRunFacts(project, /*withData=*/given.sequences == 0);
  if (!facts)
    return fail(facts.error());
  out.facts = std::move(*facts);
  CompileSettings settings = given;
  settings.otherMemory = settings.archs.empty() ? memoryBesides(out.facts) : 0;
  CompileRequest request = requestFor(project, settings);
  if (std::string cache = cacheFolder(); !cache.empty()) {
    Result<std::string> identity = compilerIdentity();
    if (!identity)
      return fail(identity.error());
    request.kernelCache = cache + "/kernels", request.compiler = *identity;
  }
  if (settings.kernels && settings.archs.empty()) {
    Result<std::string> lld = linker();
    if (!lld)
      return fail(lld.error());
    request.linker = *lld;
  }
  auto result = compile(request, [&](const std::string &severity, const std::string &place,
                                     const std::string &message) {
    sayDiagnostic(project, severity, place, message);
  });
  if (llvm::failed(result))
    return Exit::Failed;
  out.files = std::move(result->files);
  out.base = std::move(result->base);
  out.files["run.json"] = withIdentity(dsl::toJson(project.spec), project.identity);
  if (out.files.count("plan.json")) {
    Result<train::MemoryPlan> memory = runMemory(out.facts, out.files["plan.json"]);
    if (!memory)
      return fail(memory.error());
    out.memory = std::move(*memory);
    out.files["memory.json"] = memoryJson(out.memory);
  }
  if (const std::optional<IndexFault> &fault = result->indexFault) {
    dsl::Diagnostics diags;
    if (fault->range) {
      diags.error(fault->range, fault->message);
      sayLine(diags.text());
    } else {
      sayDiagnostic(project, "error", fault->place, fault->message);
    }
    return Exit::DoesNotFit;
  }
  if (!result->fits)
    return sayDoesNotFit(project, settings, result->needed);
  // What is held before the first step may be more than what a step holds.
  const auto &limit = project.spec.target.memory;
  if (std::optional<Error> tooMuch =
          train::checkLimit(out.memory, *limit, "memory", out.facts.threads)) {
    dsl::Diagnostics diags;
    diags.error(limit.range, tooMuch->message);
    sayLine(diags.text());
    return tooMuch->code;
  }
  if (settings.kernels)
    sayLine(fmt::format("kernels: {} compiled{}, {} from the cache, in {:.1f} s",
                        result->compiledKernels, settings.archs.empty() ? "" : " by NVRTC",
                        result->cachedKernels, result->kernelSeconds));
  return Exit::Done;
}

// The architecture to compile for on the first GPU that answers; nothing where none answers, or no
// kernels are known for it.
static std::optional<std::string> archAtHand() {
  const gpu::CudaDescription seen = gpu::describeCuda();
  if (!seen.found)
    return std::nullopt;
  const gpu::DeviceFacts &device = seen.devices.front();
  const std::string arch = archFor(device.capability());
  sayLine("device 'auto': " + device.shown() +
          (arch.empty() ? ", for which no kernels are known: compiling for the CPU"
                        : ": compiling for " + arch));
  return arch.empty() ? std::nullopt : std::optional(arch);
}

CompileSettings settingsFor(const CompileOptions &options, const dsl::Spec &spec) {
  CompileSettings settings;
  settings.cpu = options.cpu;
  settings.rankPerKernel = options.rankPerKernel;
  const dsl::Device device = *spec.target.device;
  const bool isAuto = device == dsl::Device::Auto && options.archs.empty();
  std::optional<std::string> found = isAuto ? archAtHand() : std::nullopt;
  if (device == dsl::Device::Cpu || (isAuto && !found))
    return settings;
  settings.archs = options.archs;
  if (settings.archs.empty())
    for (const auto &arch : *spec.target.arch)
      settings.archs.push_back(*arch);
  if (settings.archs.empty())
    settings.archs = {found.value_or("sm_80")};
  return settings;
}

std::string generatedFolder(const CompileOptions &options, const dsl::Spec &spec) {
  return options.out.empty() ? "generated/" + spec.name : options.out;
}

Exit compileToFolder(const CompileOptions &options, Project &project, ProgramFolder &out) {
  Compiled compiledFiles;
  SpecInput input = options.spec;
  if (!options.target.empty())
    input.sets.push_back("target.device=" + options.target);
  Exit loaded = loadProject(input, project);
  if (loaded != Exit::Done)
    return loaded;
  if (!options.archs.empty() && *project.spec.target.device == dsl::Device::Cpu)
    return fail({"--arch is for CUDA, and the target is the CPU; add --target cuda", Exit::Usage});
  CompileSettings settings = settingsFor(options, project.spec);
  bool isDora = false, isOther = false;
  if (options.sequences > 0 && settings.archs.empty()) {
    if (Exit taken = takeAdapter(options.adapter, project, isDora); taken != Exit::Done)
      return taken;
    settings.sequences = isDora ? 0 : options.sequences;
  }
  if (settings.sequences == 0 && !options.adapter.empty())
    if (Exit fits = fitAdapter(options.adapter, project, isOther); fits != Exit::Done)
      return fits;
  if (settings.rankPerKernel && !settings.archs.empty())
    return fail({"--rank-per-kernel is for the CPU, and the target is CUDA; add --target cpu",
                 Exit::Usage});
  Result<std::string> runtime = trainRuntime();
  if (!runtime)
    return fail(runtime.error());
  Exit compiled = compileProject(project, settings, compiledFiles);
  out.files = std::move(compiledFiles.files);
  if (compiled != Exit::Done)
    return compiled;
  const bool isText = settings.sequences > 0;
  out.binary = isText ? "generate" : "train";
  out.path = generatedFolder(options, project.spec);
  if (options.out.empty()) // the spec's own program stays
    out.path += isText ? "-text" : isOther ? "-adapter" : "";
  Result<void> written =
      writeGenerated(out.path, out.files, [&](const std::string &aside) -> Result<void> {
        std::vector<train::PayloadFile> payload = programFiles(out.files);
        payload.push_back({"run.json", out.files.at("run.json")});
        payload.push_back({"spec.toml", dsl::toToml(project.spec)});
        if (!compiledFiles.base.empty())
          payload.push_back({train::baseFile, compiledFiles.base});
        return train::writeTrainBinary(*runtime, payload, aside + "/" + out.binary);
      });
  return written ? Exit::Done : fail(written.error());
}

} // namespace lorac::tools
