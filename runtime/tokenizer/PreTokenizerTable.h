#pragma once
// The pre-tokenizers that GGUF files name in `tokenizer.ggml.pre`.

#include "runtime/tokenizer/Vocabulary.h"

#include <string_view>
#include <vector>

namespace lorac::tok {

/// Fills normalizers, pre-tokenizers (byte level included), `ignoreMerges` and `addBos` of `data`
/// as the models have them for which llama.cpp uses the name. Where llama.cpp only comes near the
/// model's own pattern, the model's own is taken. An unknown name is an error that lists the known.
Result<void> applyPreTokenizer(std::string_view name, VocabularyData &data);

/// A name of each way to cut.
std::vector<std::string_view> preTokenizerNames();

} // namespace lorac::tok
