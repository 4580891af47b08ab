#pragma once
// An empty word after a flag is a shell's variable that was not set, not a wish.

#include <CLI/CLI.hpp>

#include <optional>
#include <string>

namespace lorac {

/// The error for the first option that was given an empty value; texts may be empty.
inline std::optional<std::string> emptyValue(const CLI::App &app) {
  for (const CLI::Option *option : app.get_options())
    if (option->count() > 0 && !option->check_lname("prompt") && option->get_type_size() != 0)
      for (const std::string &value : option->results())
        if (value.empty())
          return option->get_name() + " is given an empty value; leave it out, or name one";
  for (const CLI::App *group : app.get_subcommands([](const CLI::App *) { return true; }))
    if (group->get_name().empty()) // a group of options
      if (std::optional<std::string> empty = emptyValue(*group))
        return empty;
  return std::nullopt;
}

} // namespace lorac
