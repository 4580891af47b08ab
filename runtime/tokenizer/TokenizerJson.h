#pragma once
// tokenizer.json of Hugging Face tokenizers, with model type BPE.

#include "runtime/tokenizer/Vocabulary.h"

#include <string>
#include <string_view>

namespace lorac::tok {

/// Reads and checks a whole tokenizer.json. Ids must be 0..n-1 without gap over "model.vocab" and
/// "added_tokens" together, and merges must join tokens to a token. Messages name the field;
/// the caller adds the file. Exit::ForeignFile.
Result<VocabularyData> readTokenizerJson(std::string_view text);
/// The same of a file, with what lies beside it: special_tokens_map.json and tokenizer_config.json.
Result<VocabularyData> loadTokenizerJson(const std::string &path);

/// Takes bos_token, eos_token, add_bos_token and add_eos_token from a tokenizer_config.json (the
/// first two also from a special_tokens_map.json) that lies beside it; absent keys change nothing.
Result<void> applyTokenizerConfig(std::string_view text, VocabularyData &data);

} // namespace lorac::tok
