// `lorac tokenize`: the runtime's tokenizer over stdin.

#include "runtime/tokenizer/TokenizeCommand.h"
#include "compiler/tools/Command.h"
#include "runtime/Say.h"

#include <iostream>
#include <sstream>

namespace lorac::tools {
namespace {

struct TokenizeOptions {
  std::string model;
  bool json = false;
};

} // namespace

static Exit runTokenize(const TokenizeOptions &options) {
  std::ios::sync_with_stdio(false);
  std::cin.tie(nullptr);
  std::ostringstream words;
  const int code = lorac::runTokenize(options.model, options.json, std::cin, std::cout, words);
  sayText(words.str());
  return static_cast<Exit>(code);
}

static Action add(CLI::App &app) {
  auto options = std::make_shared<TokenizeOptions>();
  app.add_option("--model", options->model,
                 "a GGUF file (vocabulary-only will do) or a Hugging Face directory")
      ->type_name("FILE");
  app.add_flag("--json", options->json,
               "one JSON string a line in, one JSON array of ids a line out [one text in, a "
               "token a line out]");
  return {[options] { return needs(options->model, "--model"); },
          [options] { return runTokenize(*options); }};
}

const Command commandTokenize = {
    "tokenize", "tokens of the text on stdin",
    R"(| `tokenize --model FILE` | the tokens of the text on stdin; with `--json`, one JSON string a line in, one JSON array of ids a line out |)",
    add};

} // namespace lorac::tools
