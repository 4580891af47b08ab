#include "compiler/tools/Cli.h"

#include "compiler/tools/Command.h"
#include "compiler/tools/Environment.h"
#include "compiler/tools/Output.h"
#include "runtime/EmptyValue.h"

#include <vector>

namespace lorac::tools {
namespace {

constexpr const Command *table[] = {
#define LORAC_COMMAND(Name) &command##Name,
#include "compiler/tools/Commands.def"
#undef LORAC_COMMAND
};

class CommandLine {
public:
  CommandLine()
      : root("From one TOML spec to a trained adapter: compiles the training step and runs it.",
             "lorac") {
    root.allow_extras();
    root.set_help_flag("-h,--help", "this help");
    root.add_flag("--version", version, "the version");
    root.add_flag("--list-commands", list, "")->group(""); // docs/cli.md's rows
    root.footer("Every command has its own --help. Exit codes: 0 done, 1 failed in work, 2 usage, "
                "3 spec or data refused,\n"
                "4 does not fit the memory, 5 foreign file corrupt or of another model, 70 a bug "
                "of lorac, 128+n signal n.");
    for (const Command *command : table) {
      CLI::App *app = root.add_subcommand(command->name, command->help);
      app->allow_extras();
      app->set_help_flag("-h,--help", "this help");
      app->add_flag("--version", version, "the version");
      actions.push_back(command->add(*app));
    }
  }

  int run(int argc, const char *const *argv) {
    try {
      root.parse(argc, argv);
    } catch (const CLI::CallForHelp &) {
      print(helpOf(chosen()));
      return static_cast<int>(Exit::Done);
    } catch (const CLI::ParseError &error) {
      return usage(worded(error));
    }
    const CLI::App *app = chosen();
    if (auto message = unknownWords(root, app))
      return usage(*message);
    if (auto message = emptyValue(app ? *app : root))
      return usage(*message);
    if (version) {
      print("lorac " LORAC_VERSION "\n");
      return static_cast<int>(Exit::Done);
    }
    if (list) {
      for (const Command *command : table)
        print(command->docs + std::string("\n"));
      return static_cast<int>(Exit::Done);
    }
    if (!app) {
      // Without a command there is nothing to do, and help is what was wanted.
      sayLine(helpOf(nullptr));
      return usage("a command is missing");
    }
    for (size_t i = 0; i < actions.size(); ++i) {
      if (app->get_name() != table[i]->name)
        continue;
      if (std::string message = actions[i].missing(); !message.empty())
        return usage(message);
      if (table[i]->readsSpec)
        if (Exit known = checkEnvironment(); known != Exit::Done)
          return static_cast<int>(known);
      return static_cast<int>(actions[i].run());
    }
    return static_cast<int>(Exit::Bug);
  }

private:
  const CLI::App *chosen() const {
    auto chosen = root.get_subcommands();
    return chosen.empty() ? nullptr : chosen.front();
  }

  int usage(const std::string &message) const {
    sayError(message);
    const CLI::App *command = chosen();
    sayLine("see 'lorac " + (command ? command->get_name() + " " : "") + "--help'");
    return static_cast<int>(Exit::Usage);
  }

  std::string helpOf(const CLI::App *command) const {
    return command ? command->help(root.get_name()) : root.help();
  }

  CLI::App root;
  bool version = false, list = false;
  std::vector<Action> actions; ///< of the table's commands
};

} // namespace

int runCommandLine(int argc, const char *const *argv) {
  CommandLine line;
  return line.run(argc, argv);
}

} // namespace lorac::tools
