#include "compiler/tools/Environment.h"

#include "compiler/tools/Output.h"
#include "dsl/Diagnostics.h"
#include "dsl/Parse.h"
#include "runtime/EnvironmentNames.h"

#include <algorithm>
#include <string>
#include <unistd.h>
#include <vector>

namespace lorac::tools {

Exit checkEnvironment() {
  std::vector<std::string> known(std::begin(environmentNames), std::end(environmentNames));
  const std::string prefix(environmentPrefix);
  for (const dsl::EnvironmentKey &key : dsl::environmentKeys())
    known.push_back(key.name.substr(prefix.size()));
  for (char **variable = environ; *variable; ++variable) {
    const std::string entry = *variable, name = entry.substr(0, entry.find('='));
    if (!name.starts_with(prefix) || name.starts_with(testEnvironmentPrefix))
      continue;
    const std::string word = name.substr(prefix.size());
    if (std::find(known.begin(), known.end(), word) != known.end())
      continue;
    const std::string message =
        "no variable of the environment is named '" + dsl::printable(name) + "'";
    std::string best = dsl::nearest(word, known);
    if (best.empty()) // CACHE_DIRECTORY
      for (const std::string &begin : known)
        if (begin.size() >= 4 && word.starts_with(begin))
          best = begin;
    if (!best.empty())
      return fail({message + "; did you mean '" + prefix + best + "'?", Exit::Usage});
    sayLine("warning: " + message + "; it changes nothing");
  }
  return Exit::Done;
}

} // namespace lorac::tools
