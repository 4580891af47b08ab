#pragma once
// A subcommand of lorac: a file of its own (*Command.cpp) and a line in Commands.def, from which
// the command line, --help and the list in docs/cli.md follow. It prints its result on stdout and
// its words on stderr, and says by its Exit how it went: whatever went wrong has been told.

#include "compiler/tools/CliArguments.h"
#include "runtime/Result.h"

#include <functional>
#include <memory>
#include <string>

namespace lorac::tools {

struct Action {
  /// A message when something that must be there is not.
  std::function<std::string()> missing;
  std::function<Exit()> run; ///< once all words have been understood
};

struct Command {
  const char *name;
  const char *help;             ///< its line in --help
  const char *docs;             ///< its rows in docs/cli.md
  Action (*add)(CLI::App &app); ///< declares its words
  bool readsSpec = true;        ///< so that a variable of the environment may be meant for it
};

#define LORAC_COMMAND(Name) extern const Command command##Name;
#include "compiler/tools/Commands.def"
#undef LORAC_COMMAND

inline std::string needs(const std::string &value, const char *what) {
  return value.empty() ? std::string(what) + " is missing" : "";
}

} // namespace lorac::tools
