#include "runtime/train/DataTokenizer.h"

#include "runtime/train/Heap.h"

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
  auto encode = [tokenizer](std::string_view text, std::vector<int32_t> &ids,
                            bool continues) -> Result<void> {
    LORAC_TRY_ASSIGN(std::vector<int32_t> encoded,
                     tokenizer.encode(text, Specials::AsTokens, continues));
    ids.insert(ids.end(), encoded.begin(), encoded.end());
    return {};
  };
  encoder.encode = [encode](std::string_view text, std::vector<int32_t> &ids) {
    return encode(text, ids, false);
  };
  encoder.encodeMore = [encode](std::string_view text, std::vector<int32_t> &ids) {
    return encode(text, ids, true);
  };
  encoder.decode = [tokenizer](std::span<const int32_t> ids) { return tokenizer.decode(ids); };
  encoder.cut = [tokenizer](std::string_view text) { return tokenizer.lastCut(text); };
  return encoder;
}

bool needsTokenizer(const std::vector<DataConfig> &tables) {
  return std::any_of(tables.begin(), tables.end(),
                     [](const DataConfig &table) { return table.format != "tokens"; });
}

void warnOfNoEnd(const TextEncoder &encoder, Corpus &corpus) {
  if (encoder.encode && encoder.eos < 0)
    corpus.warnings.push_back(
        "the tokenizer names no eos_token, so no sample has an end and text generated later has "
        "none; tokenizer_config.json names one");
}

Result<Corpus> readCorpus(const std::vector<DataConfig> &tables, const std::string &modelPath,
                          const DataLimits &limits) {
  TextEncoder encoder;
  if (needsTokenizer(tables)) {
    const uint64_t before = heapInUse();
    LORAC_TRY_ASSIGN(Tokenizer tokenizer, loadTokenizer(modelPath));
    encoder = encoderOf(tokenizer);
    encoder.bytes = heapInUse() - std::min(before, heapInUse());
  }
  Result<Corpus> corpus = loadCorpus(tables, encoder, limits);
  if (corpus)
    warnOfNoEnd(encoder, *corpus);
  return corpus;
}

} // namespace lorac::train
