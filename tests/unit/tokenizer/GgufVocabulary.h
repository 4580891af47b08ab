#pragma once
// Vocabulary-only GGUF files for tests.

#include "runtime/formats/Gguf.h"
#include "tests/unit/tokenizer/Support.h"

namespace lorac::testing {

/// The parts of a vocabulary as GGUF stores them; a test spoils one of them.
struct GgufVocabulary {
  std::string model = "gpt2";
  std::string pre;
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::vector<float> scores;
  std::vector<std::string> merges;
  std::vector<std::pair<std::string, int64_t>> ids; // key without its prefix, value
  std::vector<std::pair<std::string, bool>> flags;

  /// Writes only what is not empty.
  std::string write(const std::string &name) const {
    formats::GgufWriter writer;
    writer.text("general.architecture", "llama");
    writer.text("tokenizer.ggml.model", model);
    if (!pre.empty())
      writer.text("tokenizer.ggml.pre", pre);
    if (!tokens.empty())
      writer.texts("tokenizer.ggml.tokens", tokens);
    if (!types.empty())
      writer.integers("tokenizer.ggml.token_type", types);
    if (!scores.empty())
      writer.floats("tokenizer.ggml.scores", scores);
    if (!merges.empty())
      writer.texts("tokenizer.ggml.merges", merges);
    for (const auto &[key, value] : ids)
      if (value < 0)
        writer.i32("tokenizer.ggml." + key, static_cast<int32_t>(value));
      else
        writer.u32("tokenizer.ggml." + key, static_cast<uint32_t>(value));
    for (const auto &[key, value] : flags)
      writer.truth("tokenizer.ggml." + key, value);
    auto bytes = writer.bytes();
    return writeTemporary("gguf", name, std::string(bytes.begin(), bytes.end()));
  }
};

/// The committed byte-level vocabulary, its one special token marked as control.
inline GgufVocabulary byteLevelVocabulary() {
  auto json = readJsonFile(goldenPath("bytelevel.tokenizer.json"));
  GgufVocabulary vocabulary;
  vocabulary.pre = "gpt-2";
  vocabulary.tokens.resize(json["model"]["vocab"].size());
  for (const auto &[token, id] : json["model"]["vocab"].items())
    vocabulary.tokens[id] = token;
  vocabulary.types.assign(vocabulary.tokens.size(), 1);
  vocabulary.types[0] = 3;
  for (const auto &merge : json["model"]["merges"])
    vocabulary.merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  return vocabulary;
}

/// The committed SentencePiece vocabulary.
inline GgufVocabulary sentencePieceVocabulary() {
  auto json = readJsonFile(goldenPath("sentencepiece.json"));
  GgufVocabulary vocabulary;
  vocabulary.model = "llama";
  vocabulary.tokens = json["tokens"].get<std::vector<std::string>>();
  vocabulary.types = json["types"].get<std::vector<int32_t>>();
  vocabulary.scores = json["scores"].get<std::vector<float>>();
  return vocabulary;
}

} // namespace lorac::testing
