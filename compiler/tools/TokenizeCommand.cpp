// `lorac tokenize`: the runtime's tokenizer over stdin.

#include "runtime/tokenizer/TokenizeCommand.h"
#include "compiler/tools/Commands.h"
#include "runtime/Say.h"

#include <iostream>
#include <sstream>

namespace lorac::tools {

Exit runTokenize(const TokenizeOptions &options) {
  std::ios::sync_with_stdio(false);
  std::cin.tie(nullptr);
  std::ostringstream words;
  const int code = lorac::runTokenize(options.model, options.json, std::cin, std::cout, words);
  sayText(words.str());
  return static_cast<Exit>(code);
}

} // namespace lorac::tools
