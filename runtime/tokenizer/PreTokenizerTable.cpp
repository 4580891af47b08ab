// Sources: the names and their patterns in llama.cpp's src/llama-vocab.cpp; for models whose own
// tokenizer.json says more (classes of upper and lower case, possessive repeats, NFC), that file.
#include "runtime/tokenizer/PreTokenizerTable.h"
#include "runtime/tokenizer/Quoted.h"

#include <vector>

namespace lorac::tok {
namespace {

// Contractions, one optional other character before letters, digits by threes or singly.
#define LORAC_CONTRACTIONS R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
#define LORAC_LETTERS R"([^\r\n\p{L}\p{N}]?\p{L}+)"
#define LORAC_OTHERS R"( ?[^\s\p{L}\p{N}]+[\r\n]*)"
#define LORAC_SPACES R"(\s*[\r\n]+|\s+(?!\S)|\s+)"
// Words cut where a small letter precedes a capital.
#define LORAC_UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define LORAC_LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define LORAC_CASED(TAIL)                                                                          \
  R"([^\r\n\p{L}\p{N}]?)" LORAC_UPPER "*" LORAC_LOWER "+" TAIL                                     \
  R"(|[^\r\n\p{L}\p{N}]?)" LORAC_UPPER "+" LORAC_LOWER "*" TAIL

constexpr const char *digit = R"(\p{N})";
constexpr const char *threeDigits = R"(\p{N}{1,3})";
constexpr const char *lineEnds = "[\r\n]";
constexpr const char *llama3 =
    LORAC_CONTRACTIONS "|" LORAC_LETTERS R"(|\p{N}{1,3}|)" LORAC_OTHERS "|" LORAC_SPACES;
constexpr const char *qwen2 =
    LORAC_CONTRACTIONS "|" LORAC_LETTERS R"(|\p{N}|)" LORAC_OTHERS "|" LORAC_SPACES;
constexpr const char *qwen35 = LORAC_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)" LORAC_SPACES;
constexpr const char *gpt4o =
    LORAC_CASED(LORAC_CONTRACTIONS "?") R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)" LORAC_SPACES;
constexpr const char *tekken = LORAC_CASED("") R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)" LORAC_SPACES;
constexpr const char *bloom =
    R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{ff0c}\x{3001}\x{964}\x{6d4}\x{60c})]+)";
constexpr const char *deepseekLetters =
    R"(\s?[A-Za-z)"
    R"(\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293})"
    R"(\x{295}-\x{2af}\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a})"
    R"(\x{38c}\x{38e}-\x{3a1}\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f}\x{531}-\x{556})"
    R"(\x{10a0}-\x{10c5}\x{13a0}-\x{13f5}\x{13f8}-\x{13fd}\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf})"
    R"(\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77}\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d})"
    R"(\x{1f20}-\x{1f45}\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d})"
    R"(\x{1f5f}-\x{1f7d}\x{1f80}-\x{1fb4}\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4})"
    R"(\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb}\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4})"
    R"(\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115}\x{2119}-\x{211d}\x{2124})"
    R"(\x{2126}\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f})"
    R"(\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184}\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4})"
    R"(\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d}\x{a680}-\x{a69b}\x{a722}-\x{a76f})"
    R"(\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-\x{abbf}\x{fb00}-\x{fb06}\x{fb13}-\x{fb17})"
    R"(\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a}\x{10400}-\x{1044f}\x{104b0}-\x{104d3})"
    R"(\x{104d8}-\x{104fb}\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df})"
    R"(\x{1e900}-\x{1e943})"
    "]+";
constexpr const char *deepseekPunctuation =
    R"(\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)";
// A run of spaces at the end; written so that it costs no second look at other runs.
constexpr const char *trailingSpaces = R"((?<!\s)\s++$)";
constexpr const char *deepseekCjk = R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)";
constexpr const char *cjkAndKana = R"([\x{4e00}-\x{9fa5}\x{3040}-\x{30ff}]+)";

// Of DeepSeek's second generation; what follows punctuation differs.
#define LORAC_DEEPSEEK_WORDS                                                                       \
  R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)"

struct Row {
  std::vector<const char *> names;
  std::vector<const char *> patterns;
  bool ignoreMerges = false;
  bool addBos = false;
  bool nfc = false;
};

/// Each pattern cuts the pieces of the one before: matches and what lies between them.
const std::vector<Row> &rows() {
  static const std::vector<Row> all = {
      {{"default"}, {R"([\p{P}\$\+<=>\^~\|]+)", gpt2Pattern, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
      {{"gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "jina-v1-en",
        "jina-v2-code", "roberta-bpe", "gigachat", "a.x-4.0", "mellum", "exaone4", "jais",
        "trillion", "granite-docling"},
       {gpt2Pattern}},
      {{"mpt", "olmo", "modern-bert"}, {gpt2Pattern}, false, false, true},
      {{"starcoder", "refact", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"},
       {digit, gpt2Pattern}},
      {{"command-r"}, {digit, gpt2Pattern}, false, false, true},
      {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
        "jina-v5-nano"},
       {llama3},
       true,
       true},
      {{"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}, {llama3}},
      {{"qwen2", "stablelm2"}, {qwen2}, false, false, true},
      {{"deepseek-r1-qwen", "megrez", "kormo", "f2llmv2", "hunyuan", "solar-open", "grok-2"},
       {qwen2}},
      {{"qwen35"}, {qwen35}, false, false, true},
      {{"deepseek-llm"},
       {lineEnds, deepseekLetters, deepseekPunctuation, trailingSpaces, deepseekCjk, R"(\p{N}+)"}},
      {{"deepseek-coder"}, {lineEnds, R"(\s?\p{L}+)", R"(\s?\p{P}+)", deepseekCjk, digit}},
      {{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"},
       {threeDigits, cjkAndKana, LORAC_DEEPSEEK_WORDS R"( ?[\p{P}\p{S}]+[\r\n]*|)" LORAC_SPACES}},
      {{"spark2_5"},
       {threeDigits, cjkAndKana, LORAC_DEEPSEEK_WORDS R"( ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+)",
        digit}},
      {{"laguna"}, {R"([^\n]+|[\n]+)", qwen2}},
      {{"granite-embed-multi-97m"}, {gpt4o}, true},
      {{"youtu"},
       {R"([\x{ac00}-\x{d7a3}\x{3131}-\x{318e}]+|[\x{ff01}\x{2026}\x{201c}\x{201d}\x{2018}\x{2019}\x{2014}\x{ff1a}\x{ff1b}\x{ff0c}\x{3001}-\x{303f}\x{fe30}-\x{fe4f}]+|[\x{3105}-\x{312f}]+|[\x{4e00}-\x{9fa5}\x{3040}-\x{30ff}]+)",
        LORAC_CASED(LORAC_CONTRACTIONS "?") R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)" LORAC_SPACES},
       true},
      {{"falcon"}, {R"([\p{P}\$\+<=>\^~\|`]+)", gpt2Pattern, "[0-9][0-9][0-9]"}},
      {{"bloom", "poro-chat", "gpt3-finnish"}, {bloom}},
      {{"viking"}, {bloom, digit}},
      {{"tekken"}, {tekken}, true, true},
      {{"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"}, {gpt4o}},
      {{"tiny_aya", "cohere2moe"}, {R"(\d{1,3}(?=(?:\d{3})*\b))", gpt4o}},
      {{"chameleon"},
       {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", digit,
        R"([\p{P}!-/:-@\[-`{-~])", gpt2Pattern},
       false,
       true},
      {{"superbpe"}, {R"(\p{N}+)", R"((?=(\d{3})+(?!\d)))"}},
      {{"bailingmoe", "bailingmoe2", "llada-moe"},
       {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)"}},
      {{"seed-coder"},
       {LORAC_CONTRACTIONS "|" LORAC_LETTERS R"(|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|)" LORAC_SPACES}},
      {{"jais-2"},
       {LORAC_CONTRACTIONS
        "|" LORAC_LETTERS R"(|\p{N}{1,3}|)" LORAC_OTHERS
        R"(|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})"}},
      {{"exaone-moe"},
       {LORAC_CONTRACTIONS
        R"(|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)"}},
      {{"minicpm5"},
       {threeDigits,
        LORAC_CONTRACTIONS "|" LORAC_LETTERS R"(|\p{N}+|)" LORAC_OTHERS "|" LORAC_SPACES},
       true},
      {{"ufakzeka"}, {LORAC_LETTERS R"(|\p{N}|)" LORAC_OTHERS "|" LORAC_SPACES}},
      {{"kimi-k2"},
       {R"([\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+)" LORAC_CONTRACTIONS
        R"(?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*)" LORAC_CONTRACTIONS
        R"(?|\p{N}{1,3}|)" LORAC_OTHERS "|" LORAC_SPACES}},
  };
  return all;
}

Result<PreTokenizer> splitStep(const char *pattern) {
  PreTokenizer step{};
  step.kind = PreTokenizer::Kind::Split;
  auto regex = Regex::compile(pattern);
  if (!regex)
    return Error{regex.error().message, Exit::Bug};
  step.pattern.regex = *regex;
  return step;
}

} // namespace

std::vector<std::string_view> preTokenizerNames() {
  std::vector<std::string_view> names;
  for (const Row &row : rows())
    names.push_back(row.names.front());
  return names;
}

Result<void> applyPreTokenizer(std::string_view name, VocabularyData &data) {
  std::string known;
  for (const Row &row : rows()) {
    for (std::string_view candidate : row.names) {
      known += (known.empty() ? "" : ", ") + std::string(candidate);
      if (candidate != name)
        continue;
      for (const char *pattern : row.patterns) {
        auto step = splitStep(pattern);
        if (!step)
          return step.error();
        data.preTokenizers.push_back(std::move(*step));
      }
      PreTokenizer bytes{};
      bytes.kind = PreTokenizer::Kind::ByteLevel;
      data.preTokenizers.push_back(bytes);
      if (row.nfc) {
        Normalizer form{};
        form.kind = Normalizer::Kind::Nfc;
        data.normalizers.push_back(form);
      }
      data.ignoreMerges = row.ignoreMerges;
      data.addBos = row.addBos;
      return {};
    }
  }
  return Error{"pre-tokenizer " + quoted(name) + " is not known; known are " + known,
               Exit::ForeignFile};
}

} // namespace lorac::tok
