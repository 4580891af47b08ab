// `lorac tokenize`: the runtime's tokenizer over stdin.

#include "runtime/tokenizer/TokenizeCommand.h"
#include "compiler/tools/Commands.h"

#include <iostream>

namespace lorac::tools {

Exit runTokenize(const TokenizeOptions &options) {
  std::ios::sync_with_stdio(false);
  std::cin.tie(nullptr);
  return static_cast<Exit>(
      lorac::runTokenize(options.model, options.json, std::cin, std::cout, std::cerr));
}

} // namespace lorac::tools
