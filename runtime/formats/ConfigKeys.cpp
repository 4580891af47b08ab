#include "runtime/formats/ConfigKeys.h"

#include <algorithm>

namespace lorac::formats {
namespace {

// Where a key is only a hint for loading, generating or a task that is none of ours.
constexpr std::string_view harmless[] = {
    // what the file is
    "_name_or_path", "_commit_hash", "_from_model_config", "_auto_class", "architectures",
    "model_type", "transformers_version", "transformers.js_config", "is_llama_config", "license",
    "author", "unsloth_version", "unsloth_fixed", "unsloth_training_args", "model_name",
    // code of the model's own: reported, never run
    "auto_map", "custom_pipelines", "trust_remote_code",
    // how it is loaded and run
    "dtype", "torch_dtype", "torchscript", "use_bfloat16", "use_cache", "cache_implementation",
    "_attn_implementation", "attn_implementation", "_attn_implementation_internal",
    "_attn_implementation_autoset", "_experts_implementation", "_flash_attn_2_enabled",
    "use_flash_attn", "use_flash_attention", "use_flash_attention_2", "use_sdpa",
    "gradient_checkpointing", "_gradient_checkpointing", "chunk_size_feed_forward", "return_dict",
    "output_attentions", "output_hidden_states", "output_router_logits", "tf_legacy_loss",
    "base_model_tp_plan", "base_model_pp_plan", "keys_to_ignore_at_inference",
    // how it was made
    "initializer_range", "pretraining_tp", "tie_encoder_decoder",
    // tokens: those of the tokenizer's own files count
    "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id", "bos_token",
    "eos_token", "pad_token", "end_token_id", "decoder_start_token_id", "tokenizer_class",
    "tokenizer_model_max_length", "tokenizer_padding_side", "max_sequence_length",
    "model_max_length", "prefix", "special_tokens", "chat_template",
    // tasks with a head of their own, whose weights would be named
    "finetuning_task", "id2label", "label2id", "num_labels", "problem_type", "task_specific_params",
    // generation
    "bad_words_ids", "begin_suppress_tokens", "diversity_penalty", "do_sample", "early_stopping",
    "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty", "forced_bos_token_id",
    "forced_eos_token_id", "generation_config", "length_penalty", "max_length", "max_new_tokens",
    "min_length", "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_return_sequences",
    "output_scores", "remove_invalid_values", "repetition_penalty", "return_dict_in_generate",
    "suppress_tokens", "temperature", "top_k", "top_p", "typical_p"};

} // namespace

bool isHarmlessConfigKey(std::string_view key) {
  return std::any_of(std::begin(harmless), std::end(harmless), [&](std::string_view known) {
    return key == known ||
           (key.size() > known.size() && key.starts_with(known) && key[known.size()] == '.');
  });
}

} // namespace lorac::formats
