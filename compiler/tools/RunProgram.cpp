#include "compiler/tools/RunProgram.h"

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

const std::vector<ForwardedFlag> commonFlags = {
    {"--threads", "N", "worker threads [all cores]"},
    {"--model", "PATH", "the base model, instead of the spec's"},
    {"--data", "NAME=PATH", "a data file or pattern, instead of the spec's (repeatable)"},
    {"--quiet", nullptr, "no words on stderr but errors"},
};

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

static Exit compileAndRun(CompileOptions compile, std::vector<std::string> arguments) {
  Project project;
  ProgramFolder folder;
  const auto given = std::find(arguments.begin(), arguments.end(), "--adapter");
  if (given != arguments.end() && given + 1 != arguments.end())
    compile.adapter = given[1];
  Exit code = compileToFolder(compile, project, folder);
  if (code != Exit::Done)
    return code;
  auto has = [&](const char *word) {
    return std::find(arguments.begin(), arguments.end(), word) != arguments.end();
  };
  if (!has("--quiet"))
    sayLine("compiled " + project.spec.path + " to " + folder.path);
  if (Exit written = flushOutput(); written != Exit::Done)
    return written;
  const bool ranksChange = *project.spec.adapter.method == dsl::AdapterMethod::AdaLora;
  if (ranksChange && !has("--eval") && !has("--generate") && !has("--lorac")) {
    std::error_code ignored;
    arguments.push_back("--lorac");
    arguments.push_back(std::filesystem::read_symlink("/proc/self/exe", ignored));
  }
  return fail(become(folder.program(), arguments));
}

Action addRun(CLI::App &app, const char *mode, const std::vector<ForwardedFlag> &flags,
              const char *required, void (*addMore)(CLI::App &, CompileOptions &)) {
  struct State {
    CompileOptions compile;
    ForwardedFlags flags;
  };
  auto state = std::make_shared<State>();
  addCompile(app, state->compile, "--generated");
  if (addMore)
    addMore(app, state->compile);
  state->flags.add(app, flags);
  state->flags.add(app, commonFlags);
  return {[state, &app, required]() -> std::string {
            if (state->compile.spec.path.empty())
              return "SPEC is missing";
            return required && !app.count(required) ? std::string(required) + " is missing" : "";
          },
          [state, mode] {
            std::vector<std::string> arguments = state->flags.arguments();
            if (*mode)
              arguments.insert(arguments.begin(), mode);
            return compileAndRun(state->compile, std::move(arguments));
          }};
}

} // namespace lorac::tools
