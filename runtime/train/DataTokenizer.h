#pragma once
// The model's tokenizer as the data needs it.

#include "runtime/Result.h"
#include "runtime/tokenizer/Tokenizer.h"
#include "runtime/train/Data.h"

#include <string>

namespace lorac::train {

/// The tokenizer that stands beside the model's weights.
Result<Tokenizer> loadTokenizer(const std::string &modelPath);

/// Encodes with `tokenizer`: bos before a sample if the tokenizer adds it, eos behind each if there
/// is one.
TextEncoder encoderOf(const Tokenizer &tokenizer);

/// Whether any table needs a tokenizer.
bool needsTokenizer(const std::vector<DataConfig> &tables);

/// A warning of the corpus where the tokenizer has no eos.
void warnOfNoEnd(const TextEncoder &encoder, Corpus &corpus);

/// The data of a run as its trainer and its plan see it. The tokenizer is there only meanwhile.
Result<Corpus> readCorpus(const std::vector<DataConfig> &tables, const std::string &modelPath,
                          const DataLimits &limits);

} // namespace lorac::train
