#pragma once
// The keys `tokenizer.*` of a GGUF, from a tokenizer in Hugging Face's files.

#include "runtime/Result.h"
#include "runtime/formats/Gguf.h"

#include <cstdint>
#include <string>

namespace lorac::tok {

/// `rows`: how many tokens the model has; where the tokenizer has fewer, the rest are unused ones.
/// The way in which llama.cpp cuts text is found by cutting a text in every way that it knows, and
/// what is written is read back: it must give the same ids. False: the folder has no
/// tokenizer.json. Errors: what is read of the files; Exit::Refused, llama.cpp has no such
/// tokenizer, with the reason.
Result<bool> writeTokenizerGguf(const std::string &folder, int64_t rows,
                                formats::GgufWriter &writer);

} // namespace lorac::tok
