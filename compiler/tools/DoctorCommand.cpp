// `lorac doctor`: what there is on this machine, what is missing, and what that means.

#include "compiler/tools/Command.h"
#include "compiler/tools/HostCpu.h"
#include "compiler/tools/HostNvrtc.h"
#include "compiler/tools/Output.h"
#include "compiler/tools/Resources.h"
#include "nlohmann/json.hpp"
#include "runtime/formats/Trust.h"
#include "runtime/gpu/Describe.h"
#include "runtime/train/Limits.h"

#include <fmt/format.h>
#include <fstream>
#include <unistd.h>

namespace lorac::tools {
namespace {

struct DoctorOptions {
  bool json = false;
};

enum class State { Good, Absent, Bad };

struct Finding {
  std::string name, text;
  State state = State::Good;
};

std::string joined(const std::vector<std::string> &words) {
  std::string text;
  for (const std::string &word : words)
    text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string modelName() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line))
    if (line.compare(0, 10, "model name") == 0 && line.find(": ") != std::string::npos)
      return line.substr(line.find(": ") + 2);
  return "unknown";
}

Finding cpu() {
  HostCpu host = hostCpu();
  bool wide = false, fused = false;
  for (const std::string &feature : host.features) {
    wide |= feature == "avx2";
    fused |= feature == "fma";
  }
  std::string text = modelName() + " (" + host.name + "): " + joined(host.features);
  if (!wide || !fused)
    text += "; no avx2 and fma, so kernels are compiled for the portable fallback, several times "
            "slower";
  return {"cpu", text};
}

Finding file(const char *name, const Result<std::string> &path) {
  return path ? Finding{name, *path} : Finding{name, path.error().message, State::Bad};
}

Finding cudaDriver() {
  gpu::CudaDescription cuda = gpu::describeCuda();
  return {"cuda driver", cuda.text, cuda.found ? State::Good : State::Absent};
}

Finding nvrtc() {
  HostNvrtc host = hostNvrtc();
  return {"nvrtc", host.text, host.found ? State::Good : State::Absent};
}

Finding nvdisasm() {
  HostNvrtc host = hostNvdisasm();
  return {"nvdisasm", host.text, host.found ? State::Good : State::Absent};
}

// What `device = "auto"` compiles here.
Finding kernels() {
  gpu::CudaDescription cuda = gpu::describeCuda();
  if (!cuda.found)
    return {"kernels", "for the CPU; with --target cuda and no --arch " + kernelsShown("sm_80")};
  std::string arch = archFor(cuda.devices.front().capability());
  if (arch.empty())
    return {"kernels", "for the CPU: no kernels are known for " + cuda.devices.front().shown(),
            State::Absent};
  return {"kernels", "for " + kernelsShown(arch)};
}

Finding cache() {
  std::string folder = cacheFolder();
  if (folder.empty())
    return {"cache", "no place: set LORAC_CACHE_DIR or HOME", State::Absent};
  // The folder itself comes with its first entry: what counts is the nearest one that is there.
  std::string nearest = folder;
  while (access(nearest.c_str(), F_OK) != 0 && nearest.rfind('/') != std::string::npos &&
         nearest.rfind('/') > 0)
    nearest.resize(nearest.rfind('/'));
  for (const std::string part : {"", "/kernels", "/programs"})
    if (const std::string why = formats::notOurs(folder + part); !why.empty())
      return {"cache", folder + part + " (not used: it " + why + ")", State::Absent};
  bool writable = access(nearest.c_str(), W_OK) == 0;
  return {"cache", folder + (writable ? "" : " (not writable)"),
          writable ? State::Good : State::Absent};
}

Finding threads(const train::Limits &limits) {
  std::string text = std::to_string(train::availableThreads()) + " of " +
                     std::to_string(sysconf(_SC_NPROCESSORS_ONLN)) +
                     " cores (affinity and cgroup respected)";
  if (limits.cores)
    text += fmt::format(", limited to {:.3g} cores by {}", limits.cores->value, limits.cores->by);
  return {"threads", text};
}

Finding memory(const train::MachineMemory &machine) {
  std::string text = binaryBytes(double(machine.total)) + ", " +
                     binaryBytes(double(machine.available)) + " available";
  const train::Limits &limits = machine.limits;
  for (const auto *limit : {&limits.memory, &limits.addressSpace, &limits.data})
    if (*limit)
      text += ", limited to " + binaryBytes(double((*limit)->value)) + " by " + (*limit)->by;
  return {"memory", text};
}

std::vector<Finding> examine() {
  const train::MachineMemory machine = train::machineMemory();
  std::string architectures = joined(architectureFolders(""));
  return {
      {"lorac", LORAC_VERSION " on LLVM and MLIR " LORAC_LLVM_VERSION},
      cpu(),
      threads(machine.limits),
      memory(machine),
      file("linker", linker()),
      file("train", trainRuntime()),
      {"architectures", architectures.empty() ? "built in" : architectures},
      cache(),
      cudaDriver(),
      nvrtc(),
      nvdisasm(),
      kernels(),
  };
}

const char *word(State state) {
  return state == State::Good ? "ok" : state == State::Absent ? "absent" : "missing";
}

} // namespace

static Exit runDoctor(const DoctorOptions &options) {
  const std::vector<Finding> findings = examine();
  bool healthy = true;
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  size_t width = 0;
  for (const Finding &finding : findings) {
    healthy &= finding.state != State::Bad;
    width = std::max(width, finding.name.size());
    json.push_back(
        {{"name", finding.name}, {"state", word(finding.state)}, {"text", finding.text}});
  }
  if (options.json) {
    print(nlohmann::ordered_json{{"healthy", healthy}, {"findings", json}}.dump(
              2, ' ', false, nlohmann::json::error_handler_t::replace) +
          "\n");
  } else {
    for (const Finding &finding : findings)
      print(finding.name + std::string(width + 2 - finding.name.size(), ' ') + word(finding.state) +
            std::string(9 - std::string(word(finding.state)).size(), ' ') + finding.text + "\n");
  }
  if (!healthy)
    sayError("lorac cannot work here as it should; see what is marked 'missing'");
  return healthy ? Exit::Done : Exit::Failed;
}

static Action add(CLI::App &app) {
  auto options = std::make_shared<DoctorOptions>();
  app.add_flag("--json", options->json, "print JSON");
  return {[] { return std::string(); }, [options] { return runDoctor(*options); }};
}

const Command commandDoctor = {
    "doctor", "what lorac finds on this machine, and what it misses",
    R"(| `doctor` | what lorac finds on this machine, and what it misses; limits of cores and memory by cgroups (v1 and v2) and `ulimit -v`, `-d` among it, with the file that sets each |)",
    add};

} // namespace lorac::tools
