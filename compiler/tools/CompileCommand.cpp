// `lorac compile`: kernels, plan, dumps and the training binary.

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

Exit runCompile(const CompileOptions &options) {
  const auto start = std::chrono::steady_clock::now();
  Project project;
  std::string folder;
  std::map<std::string, std::string> files;
  Exit code = compileToFolder(options, project, folder, files);
  if (code != Exit::Done)
    return code;
  std::error_code absent;
  const uint64_t binary = std::filesystem::file_size(folder + "/train", absent);

  if (options.json) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const auto &[name, bytes] : files)
      list.push_back({{"name", name}, {"bytes", bytes.size()}});
    if (!absent)
      list.push_back({{"name", "train"}, {"bytes", binary}});
    print(nlohmann::ordered_json{{"spec", project.spec.path}, {"folder", folder}, {"files", list}}
              .dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
          "\n");
    return Exit::Done;
  }
  size_t kernels = 0, stages = 0;
  for (const auto &[name, bytes] : files) {
    kernels += name.compare(0, 8, "kernels/") == 0;
    stages += name.size() > 3 && name[2] == '-';
  }
  print(folder + ": " + (absent ? "" : "train (" + binaryBytes(double(binary)) + "), ") +
        std::to_string(stages) + " stages, " + std::to_string(kernels) + " kernels\n");
  sayLine("compiled " + project.spec.path + " in " + seconds(start));
  return Exit::Done;
}

} // namespace lorac::tools
