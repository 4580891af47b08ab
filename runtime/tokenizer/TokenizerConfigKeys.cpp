#include "runtime/tokenizer/TokenizerConfigKeys.h"

#include "runtime/tokenizer/Quoted.h"

#include <algorithm>
#include <iterator>

namespace lorac::tok {
namespace {

/// Keys that change nothing: tokenizer.json holds what they once chose, or they are for batches,
/// decoding as text for people, and templates.
constexpr std::string_view harmless[] = {
    // code of its own: never run
    "auto_map", "trust_remote_code",
    // read elsewhere
    "bos_token", "eos_token", "add_bos_token", "add_eos_token", "chat_template",
    // names of tokens, which stand in tokenizer.json
    "unk_token", "pad_token", "sep_token", "cls_token", "mask_token", "added_tokens_decoder",
    "additional_special_tokens", "extra_special_tokens", "special_tokens",
    "model_specific_special_tokens", "special_tokens_map_file", "extra_ids",
    // how the tokenizer.json was made
    "tokenizer_class", "tokenizer_file", "tokenizer_type", "from_slow", "legacy",
    "legacy_behaviour", "sp_model_kwargs", "vocab_file", "merges_file", "vocab_size", "backend",
    "use_fast", "processor_class", "name_or_path", "_name_or_path", "transformers_version",
    "is_local", "local_files_only", "errors", "init_inputs", "remove_space", "keep_accents",
    "fix_mistral_regex", "add_dummy_prefix_space", "fast_tokenizer_files",
    // batches: padding and cutting are train's
    "model_max_length", "max_length", "max_len", "padding", "padding_side", "pad_to_multiple_of",
    "pad_token_type_id", "pad_token_id", "truncation", "truncation_side", "truncation_strategy",
    "stride", "model_input_names", "return_token_type_ids", "verbose",
    // text again
    "clean_up_tokenization_spaces", "spaces_between_special_tokens", "use_default_system_prompt",
    "trim_offsets", "response_schema"};

/// Keys that change the tokens where they are true.
constexpr struct {
  std::string_view key, what;
} switches[] = {{"split_special_tokens", "special tokens in the text would be cut like other text"},
                {"do_lower_case", "the text would be lower-cased"},
                {"do_lower", "the text would be lower-cased"},
                {"strip_accents", "accents would be taken off"}};

bool saysNothing(const JsonNode &value) {
  return value.isNull() || (value.type == JsonNode::Type::Boolean && !value.boolean) ||
         ((value.isArray() || value.isObject()) && value.children.empty());
}

} // namespace

std::string wrongConfigKey(const JsonNode &config, const bool *addsPrefixSpace) {
  for (size_t i = 0; i < config.keys.size(); ++i) {
    const std::string &key = config.keys[i];
    const JsonNode &value = config.children[i];
    if (key == "add_prefix_space" && value.type == JsonNode::Type::Boolean) {
      if (addsPrefixSpace && *addsPrefixSpace != value.boolean)
        return "has '" + key + "' as " + (value.boolean ? "true" : "false") +
               ", but tokenizer.json says otherwise: make the two agree";
      continue;
    }
    if (saysNothing(value))
      continue;
    for (const auto &known : switches)
      if (key == known.key)
        return "has '" + key + "', and " + std::string(known.what) +
               ": that is not done here; remove it if tokenizer.json alone is right";
    const bool isKnown =
        key == "add_prefix_space" ||
        std::find(std::begin(harmless), std::end(harmless), key) != std::end(harmless) ||
        key.ends_with("_token") || key.ends_with("_tokens") || key.ends_with("_token_id");
    if (!isKnown)
      return "has the key " + quoted(key) +
             ", which this version does not know: it may change how text is cut; remove it if it "
             "does not";
  }
  return "";
}

} // namespace lorac::tok
