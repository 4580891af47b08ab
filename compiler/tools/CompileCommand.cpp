// `lorac compile`: kernels, plan, dumps and the training binary.

#include "compiler/tools/Command.h"
#include "compiler/tools/CompileProject.h"
#include "compiler/tools/Output.h"
#include "nlohmann/json.hpp"

#include <chrono>
#include <filesystem>

namespace lorac::tools {
namespace {

std::string seconds(std::chrono::steady_clock::time_point start) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s",
                std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return text;
}

} // namespace

static Exit runCompile(const CompileOptions &options) {
  const auto start = std::chrono::steady_clock::now();
  Project project;
  ProgramFolder folder;
  Exit code = compileToFolder(options, project, folder);
  if (code != Exit::Done)
    return code;
  const auto &files = folder.files;
  std::error_code absent;
  const uint64_t binary = std::filesystem::file_size(folder.program(), absent);

  if (options.json) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const auto &[name, bytes] : files)
      list.push_back({{"name", name}, {"bytes", bytes.size()}});
    if (!absent)
      list.push_back({{"name", "train"}, {"bytes", binary}});
    print(nlohmann::ordered_json{
              {"spec", project.spec.path}, {"folder", folder.path}, {"files", list}}
              .dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
          "\n");
    return Exit::Done;
  }
  size_t kernels = 0, stages = 0;
  for (const auto &[name, bytes] : files) {
    kernels += name.compare(0, 8, "kernels/") == 0;
    stages += name.size() > 3 && name[2] == '-';
  }
  print(folder.path + ": " + (absent ? "" : "train (" + binaryBytes(double(binary)) + "), ") +
        std::to_string(stages) + " stages, " + std::to_string(kernels) + " kernels\n");
  sayLine("compiled " + project.spec.path + " in " + seconds(start));
  return Exit::Done;
}

static Action add(CLI::App &app) {
  auto options = std::make_shared<CompileOptions>();
  addCompile(app, *options, "-o,--out");
  app.add_option("--target", options->target, "cpu or cuda [the spec's]")
      ->type_name("NAME")
      ->check(CLI::IsMember({"cpu", "cuda"}));
  addList(app, "--arch", options->archs, "for cuda: compile ahead for sm_80, … (repeatable)")
      ->type_name("NAME");
  app.add_flag("--rank-per-kernel", options->rankPerKernel,
               "for the CPU: make each kernel for one rank, to compare with kernels for every "
               "rank");
  app.add_flag("--json", options->json, "print what was written as JSON");
  return {[options] {
            return !options->archs.empty() && options->target == "cpu"
                       ? std::string("--arch is for --target cuda")
                       : needs(options->spec.path, "SPEC");
          },
          [options] { return runCompile(*options); }};
}

const Command commandCompile = {
    "compile", "compile a spec: kernels, plan, dumps of every stage and the training binary",
    R"(| `compile SPEC [-o DIR] [--cpu NAME]` | writes `generated/<spec>/`: one dump a stage, kernels, the plan and `train`, the training binary; `--rank-per-kernel` makes the CPU's kernels for one rank each, as `make bench-adalora` does to see what that would gain |
| `compile SPEC --target cuda --arch sm_80` | the CUDA program: kernels as C++, cubin and PTX, what they cost and what NVRTC and ptxas said (`kernels.json`; `kernels.md`), `train` |)",
    add};

} // namespace lorac::tools
