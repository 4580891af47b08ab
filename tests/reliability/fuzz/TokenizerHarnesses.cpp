// tokenizer.json and the files beside it.
#include "tests/reliability/fuzz/Harness.h"

#include "runtime/tokenizer/Tokenizer.h"
#include "runtime/tokenizer/TokenizerJson.h"

#include <numeric>

namespace lorac::fuzz {

namespace {

constexpr std::string_view text = "Hello  world, 12345 \xc3\xa9\xe4\xb8\x80 <s>\n\tx";

void readTokenizer(std::string_view bytes) {
  Result<tok::VocabularyData> data = tok::readTokenizerJson(bytes);
  if (!data)
    return;
  const Tokenizer tokenizer = Tokenizer::fromData(std::move(*data));
  Result<std::vector<int32_t>> ids = tokenizer.encode(text);
  std::vector<int32_t> all(std::min<size_t>(tokenizer.vocabularySize(), 512));
  std::iota(all.begin(), all.end(), 0);
  if (ids)
    (void)tokenizer.decode(*ids);
  (void)tokenizer.decode(all, true);
  StreamDecoder stream(tokenizer);
  for (const int32_t id : ids ? *ids : all)
    (void)stream.push(id);
  (void)stream.finish();
}

void readTokenizerConfig(std::string_view bytes) {
  tok::VocabularyData data;
  data.tokens = {"<s>", "</s>", "a", "<unk>"};
  (void)tok::applyTokenizerConfig(bytes, data);
}

} // namespace

std::vector<Harness> tokenizerHarnesses() {
  return {{"tokenizer", readTokenizer, changeJson},
          {"tokenizer-config", readTokenizerConfig, changeJson}};
}

} // namespace lorac::fuzz
