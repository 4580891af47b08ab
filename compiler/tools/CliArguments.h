#pragma once
// What all subcommands share on the command line: the spec, --json, and messages about words that
// mean nothing.

#include "CLI/CLI.hpp"
#include "compiler/tools/CompileProject.h"

#include <optional>
#include <string>
#include <vector>

namespace lorac::tools {

/// A flag that is handed on to the generated binary as it was typed.
struct ForwardedFlag {
  const char *name;
  const char *value; ///< what help calls its value; null: a switch
  const char *help;
};

/// Collects forwarded flags of one subcommand in the order of their declaration.
class ForwardedFlags {
public:
  void add(CLI::App &app, const std::vector<ForwardedFlag> &flags);
  /// "--steps", "3", … for those that were given.
  std::vector<std::string> arguments() const;

private:
  struct Slot {
    ForwardedFlag flag;
    CLI::Option *option = nullptr;
  };
  std::vector<Slot> slots;
};

void addSpec(CLI::App &app, SpecInput &spec);
void addCompile(CLI::App &app, CompileOptions &options, const char *folderFlag);
/// A flag that may stand several times, one value each.
CLI::Option *addList(CLI::App &app, const std::string &names, std::vector<std::string> &values,
                     const char *help);

/// Words that no option took: one message with the nearest name. Nothing when there are none.
std::optional<std::string> unknownWords(const CLI::App &root, const CLI::App *command);
/// CLI11's message in our words.
std::string worded(const CLI::Error &error);

} // namespace lorac::tools
