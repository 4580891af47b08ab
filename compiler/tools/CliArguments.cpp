#include "compiler/tools/CliArguments.h"

#include "dsl/Diagnostics.h"

#include <cctype>

namespace lorac::tools {

void ForwardedFlags::add(CLI::App &app, const std::vector<ForwardedFlag> &flags) {
  for (const ForwardedFlag &flag : flags) {
    CLI::Option *option = nullptr;
    if (flag.value) {
      option = app.add_option(flag.name, flag.help)
                   ->type_name(flag.value)
                   ->type_size(1)
                   ->allow_extra_args(false);
      option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    } else {
      option = app.add_flag(flag.name, flag.help);
    }
    slots.push_back({flag, option});
  }
}

std::vector<std::string> ForwardedFlags::arguments() const {
  std::vector<std::string> words;
  for (const Slot &slot : slots) {
    if (!slot.option->count())
      continue;
    const std::string name = "--" + slot.option->get_lnames().front();
    if (!slot.flag.value) {
      words.push_back(name);
      continue;
    }
    for (const std::string &value : slot.option->results()) {
      words.push_back(name);
      words.push_back(value);
    }
  }
  return words;
}

CLI::Option *addList(CLI::App &app, const std::string &names, std::vector<std::string> &values,
                     const char *help) {
  return app.add_option(names, values, help)
      ->type_size(1)
      ->expected(1, -1)
      ->allow_extra_args(false);
}

void addSpec(CLI::App &app, SpecInput &spec) {
  app.add_option("SPEC", spec.path, "the spec, a TOML file")->type_name("");
  addList(app, "--set", spec.sets,
          "override one key of the spec, for instance adapter.r=8 (repeatable)")
      ->type_name("KEY=VALUE");
}

void addCompile(CLI::App &app, CompileOptions &options, const char *folderFlag) {
  addSpec(app, options.spec);
  app.add_option(folderFlag, options.out,
                 "folder for kernels, plan, dumps and the binary [generated/<spec>]")
      ->type_name("DIR");
  app.add_option("--cpu", options.cpu,
                 "compile for this CPU, for instance x86-64-v3 [the one at hand]")
      ->type_name("NAME");
}

std::optional<std::string> unknownWords(const CLI::App &root, const CLI::App *command) {
  const CLI::App &app = command ? *command : root;
  std::vector<std::string> rest = app.remaining();
  if (rest.empty() && command)
    rest = root.remaining();
  if (rest.empty())
    return std::nullopt;
  // A value that follows an unknown flag is left over too: the flag is what was mistyped.
  std::string word = rest.front();
  for (const std::string &candidate : rest)
    if (candidate.size() > 1 && candidate[0] == '-') {
      word = candidate;
      break;
    }
  std::vector<std::string> names;
  std::string message;
  if (word[0] == '-' && word.size() > 1) {
    word = word.substr(0, word.find('='));
    for (const CLI::Option *option : app.get_options()) {
      for (const std::string &name : option->get_lnames())
        names.push_back("--" + name);
      for (const std::string &name : option->get_snames())
        names.push_back("-" + name);
    }
    message = "no flag is named '" + dsl::printable(word) + "'";
  } else if (!command) {
    for (const CLI::App *sub : root.get_subcommands(nullptr))
      names.push_back(sub->get_name());
    message = "no command is named '" + dsl::printable(word) + "'";
  } else {
    message = "'" + dsl::printable(word) + "' is one word too many";
  }
  std::string best = dsl::nearest(word, names);
  if (!best.empty())
    message += "; did you mean '" + best + "'?";
  return message;
}

std::string worded(const CLI::Error &error) {
  std::string text = error.what();
  if (dynamic_cast<const CLI::ArgumentMismatch *>(&error))
    return text.substr(0, text.find(':')) + " needs a value";
  if (text.size() > 1 && std::isupper(static_cast<unsigned char>(text[0])) &&
      !std::isupper(static_cast<unsigned char>(text[1])))
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  while (!text.empty() && (text.back() == '.' || text.back() == '\n'))
    text.pop_back();
  return text;
}

} // namespace lorac::tools
