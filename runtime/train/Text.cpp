#include "runtime/train/Text.h"

#include <algorithm>

namespace lorac::train {

Result<Tokenizer> loadTokenizer(const std::string &modelPath) {
  if (modelPath.empty())
    return Error{
        "the model has drawn weights and no tokenizer; use format = \"tokens\", or give --model",
        Exit::Refused};
  return Tokenizer::load(modelPath);
}

TextEncoder encoderOf(const Tokenizer &tokenizer) {
  TextEncoder encoder;
  encoder.bos = tokenizer.addBos() ? tokenizer.bos() : -1;
  encoder.eos = tokenizer.eos();
  encoder.encode = [tokenizer](std::string_view text, std::vector<int32_t> &ids) -> Result<void> {
    Result<std::vector<int32_t>> encoded = tokenizer.encode(text);
    if (!encoded)
      return encoded.error();
    ids.insert(ids.end(), encoded->begin(), encoded->end());
    return {};
  };
  return encoder;
}

bool needsTokenizer(const std::vector<DataConfig> &tables) {
  return std::any_of(tables.begin(), tables.end(),
                     [](const DataConfig &table) { return table.format != "tokens"; });
}

} // namespace lorac::train
