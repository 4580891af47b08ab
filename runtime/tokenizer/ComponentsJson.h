#pragma once
// The components of a tokenizer.json: "normalizer", "pre_tokenizer", "decoder", "post_processor".

#include "runtime/tokenizer/Json.h"
#include "runtime/tokenizer/Vocabulary.h"

namespace lorac::tok {

/// Each appends the steps of one component, Sequences laid flat; null adds none. Errors name an
/// unknown type and list the known ones.
Result<void> readNormalizer(const JsonNode &node, std::vector<Normalizer> &steps);
Result<void> readPreTokenizer(const JsonNode &node, std::vector<PreTokenizer> &steps);
Result<void> readDecoder(const JsonNode &node, std::vector<Decoder> &steps);

/// What a post-processor would put around a text: the ids before and behind it.
struct Surround {
  std::vector<int64_t> before;
  std::vector<int64_t> behind;
};
Result<void> readPostProcessor(const JsonNode &node, Surround &surround);

} // namespace lorac::tok
