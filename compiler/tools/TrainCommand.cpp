// `lorac train`, `eval` and `generate`: compile, then become the generated binary.

#include "compiler/tools/CompileProject.h"
#include "compiler/tools/Output.h"
#include "dsl/Parse.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <unistd.h>

namespace lorac::tools {
namespace {

/// Replaces this process; returns only when that failed. Variables of spec keys have had their
/// effect: a program says of those that it gets that they have none.
Error become(const std::string &program, const std::vector<std::string> &arguments) {
  for (const dsl::EnvironmentKey &key : dsl::environmentKeys())
    unsetenv(key.name.c_str());
  std::vector<char *> words{const_cast<char *>(program.c_str())};
  for (const std::string &argument : arguments)
    words.push_back(const_cast<char *>(argument.c_str()));
  words.push_back(nullptr);
  execv(program.c_str(), words.data());
  return {"cannot run '" + program + "': " + std::strerror(errno)};
}

} // namespace

Exit runTrain(const RunOptions &options) {
  Project project;
  std::string folder;
  std::map<std::string, std::string> files;
  CompileOptions compile = options.compile;
  const auto given = std::find(options.arguments.begin(), options.arguments.end(), "--adapter");
  if (given != options.arguments.end() && given + 1 != options.arguments.end())
    compile.adapter = given[1];
  Exit code = compileToFolder(compile, project, folder, files);
  if (code != Exit::Done)
    return code;
  const auto &words = options.arguments;
  if (std::find(words.begin(), words.end(), "--quiet") == words.end())
    sayLine("compiled " + project.spec.path + " to " + folder);
  if (Exit written = flushOutput(); written != Exit::Done)
    return written;
  std::vector<std::string> arguments = options.arguments;
  const bool ranksChange = *project.spec.adapter.method == dsl::AdapterMethod::AdaLora;
  auto has = [&](const char *word) {
    return std::find(words.begin(), words.end(), word) != words.end();
  };
  if (ranksChange && !has("--eval") && !has("--generate") && !has("--lorac")) {
    std::error_code ignored;
    arguments.push_back("--lorac");
    arguments.push_back(std::filesystem::read_symlink("/proc/self/exe", ignored));
  }
  return fail(become(folder + "/train", arguments));
}

} // namespace lorac::tools
