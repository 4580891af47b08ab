#pragma once
// Text from the model: the whole prefix goes through `hidden` for each new token, its last row
// through `head`.

#include "runtime/Result.h"
#include "runtime/tokenizer/Tokenizer.h"
#include "runtime/train/Sampler.h"
#include "runtime/train/Session.h"

#include <functional>
#include <string>
#include <vector>

namespace lorac::train {

struct GenerateOptions {
  std::string prompt;
  int64_t maxNewTokens = 64;
  SamplerConfig sampler;
};

struct Generated {
  std::vector<int32_t> promptIds, ids; ///< ids without the eos that ended them
  std::string text;                    ///< behind the prompt
  /// "stop" (eos), "length" (maxNewTokens), "context" (max_length is full), "signal".
  std::string finish;
};

/// `piece` gets the text as it comes. bos stands before the prompt if the tokenizer adds it;
/// special tokens in the prompt are recognised. Error (Exit::Refused): an empty prompt, or one
/// beyond the program's max_length.
Result<Generated> generate(Session &session, const Tokenizer &tokenizer,
                           const GenerateOptions &options,
                           const std::function<void(const std::string &)> &piece);

} // namespace lorac::train
