#include "runtime/tokenizer/TokenizerGgufWriter.h"

#include "runtime/tokenizer/Json.h"
#include "runtime/tokenizer/PreTokenizerTable.h"
#include "runtime/tokenizer/Tokenizer.h"
#include "runtime/tokenizer/TokenizerGguf.h"
#include "runtime/tokenizer/TokenizerJson.h"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <vector>

namespace lorac::tok {
namespace {

/// Letters of several scripts and cases, marks, digits, quotes, white space of all kinds: what ways
/// to cut differ in.
constexpr std::string_view probe =
    "Hello World, it's WE'LL don't I'D2 foo_bar HTTPServer camelCase  two   three    four\n\n"
    "a\tb\r\nc \n d   \n 1 12 123 1234 12345678 3.14 1,000 \xc2\xb2\xc2\xbd "
    "caf\xc3\xa9 cafe\xcc\x81 \xc3\x9c"
    "ber stra\xc3\x9f"
    "e \xce\xa3\xce\xb1 "
    "\xd0\x9f\xd1\x80\xd0\xb8 \xd7\xa9\xd7\x9c \xd9\x85\xd8\xb1 "
    "\xe0\xa4\xa8\xe0\xa4\xae\xe0\xa5\x8d "
    "\xe4\xbd\xa0\xe5\xa5\xbd\xef\xbc\x8c\xe4\xb8\x96 "
    "\xe3\x81\x8b\xe3\x82\xab\xed\x95\x9c\xea\xb8\x80 "
    "\xf0\x9f\x98\x80\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80 (x+y)*z == \"q\"?!... "
    "[a]{b}<c> $5 %6 #7 @8 ^~|` \\ / -- \xe2\x80\x9cquoted\xe2\x80\x9d\xe2\x80\xa6 "
    "http://a.b/c?d=1 end";

enum TokenType : int32_t { Normal = 1, Unknown, Control, UserDefined, Unused, Byte };

class Keys {
public:
  Keys(const std::string &folder, VocabularyData data) : folder(folder), data(std::move(data)) {}

  Result<void> run(int64_t rows, formats::GgufWriter &out) {
    if (int64_t(data.tokens.size()) > rows)
      return refuse(fmt::format("it has {} tokens and the model {}", data.tokens.size(), rows));
    const bool bytes = std::any_of(
        data.preTokenizers.begin(), data.preTokenizers.end(),
        [](const PreTokenizer &step) { return step.kind == PreTokenizer::Kind::ByteLevel; });
    writer.text("tokenizer.ggml.model", bytes ? "gpt2" : "llama");
    if (bytes) {
      LORAC_TRY(preTokenizer());
      LORAC_TRY(merges());
    } else {
      scores(rows);
      const bool prefix = std::any_of(data.preTokenizers.begin(), data.preTokenizers.end(),
                                      [](const PreTokenizer &step) {
                                        return step.kind == PreTokenizer::Kind::Metaspace &&
                                               step.prepend != PreTokenizer::Prepend::Never;
                                      });
      writer.truth("tokenizer.ggml.add_space_prefix",
                   prefix || std::any_of(data.normalizers.begin(), data.normalizers.end(),
                                         [](const Normalizer &step) {
                                           return step.kind == Normalizer::Kind::Prepend;
                                         }));
    }
    tokens(rows);
    specials();
    LORAC_TRY(chatTemplate());
    LORAC_TRY_ASSIGN(formats::Gguf written,
                     formats::Gguf::parse(formats::MappedFile::ofBytes(folder, writer.bytes())));
    LORAC_TRY(compare(written));
    for (const formats::GgufKey &key : written.keys())
      out.copy(written, key);
    return {};
  }

private:
  Error refuse(const std::string &why) const {
    return {fmt::format("the tokenizer of '{}' cannot be said in a GGUF: {}", folder, why),
            Exit::Refused};
  }

  /// The pieces of the probe, with what lies between two of them.
  Result<std::string> cut(const VocabularyData &way) const {
    bool atStart = true;
    LORAC_TRY_ASSIGN(std::string text, normalize(way.normalizers, probe, atStart));
    TextPieces pieces;
    LORAC_TRY(preTokenize(way.preTokenizers, text, atStart, pieces));
    std::string all;
    for (size_t i = 0; i < pieces.size(); ++i)
      all.append(pieces[i]).push_back('\0');
    return all;
  }

  Result<void> preTokenizer() {
    LORAC_TRY_ASSIGN(std::string wanted, cut(data));
    for (const std::string_view name : preTokenizerNames()) {
      VocabularyData way;
      LORAC_TRY(applyPreTokenizer(name, way));
      LORAC_TRY_ASSIGN(std::string pieces, cut(way));
      if (pieces != wanted || way.ignoreMerges != data.ignoreMerges)
        continue;
      writer.text("tokenizer.ggml.pre", name);
      return {};
    }
    return refuse("llama.cpp knows no way to cut text as its 'pre_tokenizer' does");
  }

  Result<void> merges() {
    if (!data.subwordPrefix.empty() || !data.wordSuffix.empty())
      return refuse("its tokens have a prefix inside words or a suffix at their end");
    std::vector<std::string> lines;
    for (const Merge &merge : data.merges)
      lines.push_back(data.tokens[size_t(merge.left)] + " " + data.tokens[size_t(merge.right)]);
    writer.texts("tokenizer.ggml.merges", lines);
    return {};
  }

  /// SentencePiece goes by scores of tokens: here the place of the first merge that makes each.
  void scores(int64_t rows) {
    std::vector<float> all(size_t(rows), 0.0f);
    std::vector<bool> made(size_t(rows), false);
    for (size_t i = 0; i < data.merges.size(); ++i)
      if (const auto id = size_t(data.merges[i].result); !made[id]) {
        made[id] = true;
        all[id] = -float(i);
      }
    writer.floats("tokenizer.ggml.scores", all);
  }

  void tokens(int64_t rows) {
    std::vector<std::string> texts = data.tokens;
    std::vector<int32_t> types(size_t(rows), Normal);
    const bool bytes = data.byteFallback;
    for (size_t id = 0; id < texts.size(); ++id)
      if (const std::string &text = texts[id];
          bytes && text.size() == 6 && text.starts_with("<0x") && text.ends_with(">"))
        types[id] = Byte;
    for (const AddedToken &token : data.added)
      types[size_t(token.id)] = token.special ? Control : UserDefined;
    if (data.unknown >= 0)
      types[size_t(data.unknown)] = Unknown;
    for (auto id = int64_t(texts.size()); id < rows; ++id) {
      texts.push_back(fmt::format("[PAD{}]", id));
      types[size_t(id)] = Unused;
    }
    writer.texts("tokenizer.ggml.tokens", texts);
    writer.integers("tokenizer.ggml.token_type", types);
  }

  void specials() {
    for (const auto &[key, id] : {std::pair("tokenizer.ggml.bos_token_id", data.bos),
                                  {"tokenizer.ggml.eos_token_id", data.eos},
                                  {"tokenizer.ggml.unknown_token_id", data.unknown}})
      if (id >= 0)
        writer.u32(key, uint32_t(id));
    writer.truth("tokenizer.ggml.add_bos_token", data.addBos);
    writer.truth("tokenizer.ggml.add_eos_token", data.addEos);
  }

  /// chat_template.jinja, or the one of tokenizer_config.json: of several, "default".
  Result<void> chatTemplate() {
    namespace fs = std::filesystem;
    constexpr uint64_t longest = 16 << 20;
    std::error_code ignored;
    if (const std::string path = folder + "/chat_template.jinja"; fs::exists(path, ignored)) {
      LORAC_TRY_ASSIGN(std::string text, formats::readSmallFile(path, longest));
      writer.text("tokenizer.chat_template", text);
      return {};
    }
    const std::string path = folder + "/tokenizer_config.json";
    if (!fs::exists(path, ignored))
      return {};
    LORAC_TRY_ASSIGN(std::string text, formats::readSmallFile(path, longest));
    LORAC_TRY_ASSIGN(JsonNode config, readJson(text));
    const JsonNode *found = config.get("chat_template");
    if (found && found->isArray())
      for (const JsonNode &one : found->children)
        if (const JsonNode *name = one.get("name"); name && name->string == "default")
          found = one.get("template");
    if (found && found->isString())
      writer.text("tokenizer.chat_template", found->string);
    return {};
  }

  Result<void> compare(const formats::Gguf &written) {
    LORAC_TRY_ASSIGN(VocabularyData back, readTokenizerGguf(written));
    LORAC_TRY_ASSIGN(auto is, Tokenizer::fromData(std::move(back)).encode(probe));
    LORAC_TRY_ASSIGN(auto was, Tokenizer::fromData(data).encode(probe));
    return is == was ? Result<void>()
                     : refuse("read back, it cuts text otherwise than its tokenizer.json");
  }

  const std::string &folder;
  VocabularyData data;
  formats::GgufWriter writer;
};

} // namespace

Result<bool> writeTokenizerGguf(const std::string &folder, int64_t rows,
                                formats::GgufWriter &writer) {
  const std::string path = folder + "/tokenizer.json";
  if (std::error_code code; !std::filesystem::exists(path, code))
    return false;
  LORAC_TRY_ASSIGN(VocabularyData data, loadTokenizerJson(path));
  LORAC_TRY(Keys(folder, std::move(data)).run(rows, writer));
  return true;
}

} // namespace lorac::tok
