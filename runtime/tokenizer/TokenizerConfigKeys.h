#pragma once
// The keys of tokenizer_config.json and special_tokens_map.json: tokenizer.json says how text is
// cut, and these must not say otherwise.

#include "runtime/tokenizer/Json.h"

#include <string>

namespace lorac::tok {

/// The first key that would change the tokens in a way that is not done here, or that is not known,
/// with what to do; empty: there is none. `addsPrefixSpace`: what tokenizer.json does where it is
/// cut into bytes.
std::string wrongConfigKey(const JsonNode &config, const bool *addsPrefixSpace);

} // namespace lorac::tok
