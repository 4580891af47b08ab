#pragma once
// Text from the model (docs/design.md, "Text"). A program for text takes each token once and has as
// many prompts in hand as it has sequences. Any other takes one prompt, and all of its tokens anew
// for each new one.

#include "runtime/Result.h"
#include "runtime/tokenizer/Tokenizer.h"
#include "runtime/train/Sampler.h"
#include "runtime/train/Session.h"

#include <functional>
#include <string>
#include <vector>

namespace lorac::train {

struct GenerateOptions {
  int64_t maxNewTokens = 64;
  std::vector<std::string> stops; ///< none of them is empty
  SamplerConfig sampler;
};

struct Generated {
  std::vector<int32_t> promptIds, ids; ///< ids without the eos that ended them
  std::string text;                    ///< behind the prompt, up to a stop string
  /// "stop" (eos or a stop string), "length" (maxNewTokens), "context" (max_length is full),
  /// "signal".
  std::string finish;
};

/// Texts are told one after another, in the order of the prompts.
struct GenerateListener {
  std::function<void(const std::string &)> piece; ///< gets a text as it comes
  std::function<void(const Generated &)> ended;   ///< the text is whole
};

/// bos stands before a prompt if the tokenizer adds it; special tokens in it are recognised. A
/// text does not depend on the prompts beside it. A signal ends the text that is told, and is the
/// end of all. Error (Exit::Refused): an empty prompt, or one beyond the program's max_length.
Result<void> generate(Session &session, const Tokenizer &tokenizer,
                      const std::vector<std::string> &prompts, const GenerateOptions &options,
                      const GenerateListener &listener);

} // namespace lorac::train
