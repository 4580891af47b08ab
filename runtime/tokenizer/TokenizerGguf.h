#pragma once
// The vocabulary in a GGUF file's metadata: `tokenizer.ggml.*`.

#include "runtime/formats/Gguf.h"
#include "runtime/tokenizer/Vocabulary.h"

namespace lorac::tok {

/// `tokenizer.ggml.model` "gpt2" (byte-level BPE, split as `tokenizer.ggml.pre` says, "default"
/// where that is absent) or "llama" (SentencePiece's BPE). Messages name file and key.
/// Refused: arrays of other types or lengths than the tokens, ids beyond the vocabulary,
/// duplicate tokens, scores that are not finite, merges that join no tokens.
Result<VocabularyData> readTokenizerGguf(const formats::Gguf &file);

} // namespace lorac::tok
