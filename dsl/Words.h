#pragma once
// Keys and values of other tools, and what they are called here.

#include <string>
#include <string_view>

namespace lorac::dsl {

struct ForeignWord {
  std::string_view word;
  std::string_view ours; ///< full key, perhaps with a value: `quantization.format = "nf4"`; empty:
                         ///< not in this version
};

/// The entry for a key of axolotl, LLaMA-Factory, torchtune, unsloth, TRL, PEFT or bitsandbytes;
/// null if unknown.
const ForeignWord *foreignKey(std::string_view key);

/// What a value of `key` ("target.device") from elsewhere is called here, perhaps by another key:
/// `use_dora = true`; empty if unknown.
std::string ourValue(std::string_view key, std::string_view value);

/// Whether a value of `key` ("optimizer.name") is known from elsewhere, but not in this version.
bool isLaterValue(std::string_view key, std::string_view value);

} // namespace lorac::dsl
