#include "runtime/tokenizer/TokenizerGguf.h"

#include "runtime/tokenizer/PreTokenizerTable.h"
#include "runtime/tokenizer/Quoted.h"
#include "runtime/tokenizer/StringIndex.h"
#include "runtime/tokenizer/Utf8.h"

#include <algorithm>
#include <cmath>

namespace lorac::tok {
namespace {

using formats::Gguf;

/// The numbers are those in the file.
enum class TokenType { Undefined, Normal, Unknown, Control, UserDefined, Unused, Byte };

constexpr const char *metaspace = "\xe2\x96\x81";

class Loader {
public:
  explicit Loader(const Gguf &file) : file(file) {}

  Result<VocabularyData> run() {
    auto model = file.text("tokenizer.ggml.model");
    if (!model)
      return model.error();
    if (*model != "gpt2" && *model != "llama")
      return wrong("'tokenizer.ggml.model' is " + quoted(*model) +
                   "; only 'gpt2' and 'llama' are read");
    bool bytes = *model == "gpt2";
    for (auto step :
         {&Loader::tokens, &Loader::types, &Loader::scores,
          bytes ? &Loader::byteLevel : &Loader::sentencePiece, &Loader::specialIds, &Loader::added})
      if (Result<void> done = (this->*step)(); !done)
        return done.error();
    return std::move(data);
  }

private:
  /// As the file's own readers word it.
  Error wrong(const std::string &what) const {
    return Error{"file '" + file.path() + "': " + what, Exit::ForeignFile};
  }

  Result<void> tokens() {
    auto texts = file.texts("tokenizer.ggml.tokens");
    if (!texts)
      return texts.error();
    if (texts->empty() || texts->size() > static_cast<size_t>(INT32_MAX))
      return wrong("'tokenizer.ggml.tokens' has " + std::to_string(texts->size()) + " tokens");
    index = StringIndex(texts->size());
    views = std::move(*texts);
    for (size_t id = 0; id < views.size(); ++id) {
      if (firstInvalidUtf8(views[id]))
        return wrong("'tokenizer.ggml.tokens[" + std::to_string(id) + "]' is not UTF-8");
      if (views[id].empty())
        continue;
      if (int32_t other = index.add(views[id], static_cast<int32_t>(id)); other >= 0)
        return wrong("'tokenizer.ggml.tokens' has " + quoted(views[id]) + " twice, as " +
                     std::to_string(other) + " and " + std::to_string(id));
    }
    data.tokens.assign(views.begin(), views.end());
    return {};
  }

  Result<void> types() {
    kinds.assign(views.size(), TokenType::Normal);
    if (!file.key("tokenizer.ggml.token_type"))
      return {};
    auto numbers = file.integers("tokenizer.ggml.token_type");
    if (!numbers)
      return numbers.error();
    if (numbers->size() != views.size())
      return otherLength("tokenizer.ggml.token_type", numbers->size());
    for (size_t id = 0; id < views.size(); ++id) {
      int32_t number = (*numbers)[id];
      if (number < 0 || number > static_cast<int32_t>(TokenType::Byte))
        return wrong("'tokenizer.ggml.token_type[" + std::to_string(id) + "]' is " +
                     std::to_string(number) + ", expected 0 to 6");
      kinds[id] = static_cast<TokenType>(number);
    }
    return {};
  }

  Result<void> scores() {
    if (!file.key("tokenizer.ggml.scores"))
      return {};
    auto numbers = file.floats("tokenizer.ggml.scores");
    if (!numbers)
      return numbers.error();
    if (numbers->size() != views.size())
      return otherLength("tokenizer.ggml.scores", numbers->size());
    for (size_t id = 0; id < views.size(); ++id)
      if (!std::isfinite((*numbers)[id]))
        return wrong("'tokenizer.ggml.scores[" + std::to_string(id) + "]' is not a finite number");
    data.scores = std::move(*numbers);
    return {};
  }

  Error otherLength(const char *key, size_t size) const {
    return wrong("'" + std::string(key) + "' has " + std::to_string(size) +
                 " values, but there are " + std::to_string(views.size()) + " tokens");
  }

  Result<void> byteLevel() {
    std::string_view name = "default";
    if (file.key("tokenizer.ggml.pre")) {
      auto text = file.text("tokenizer.ggml.pre");
      if (!text)
        return text.error();
      name = *text;
    }
    if (Result<void> done = applyPreTokenizer(name, data); !done)
      return Error{wrong("'tokenizer.ggml.pre': " + done.error().message).message,
                   done.error().code};
    data.decoders.push_back({.kind = Decoder::Kind::ByteLevel});
    data.addedAreRaw = true;
    data.scores.clear();
    return merges();
  }

  Result<void> merges() {
    auto lines = file.texts("tokenizer.ggml.merges");
    if (!lines)
      return lines.error();
    std::string whole;
    for (size_t i = 0; i < lines->size(); ++i) {
      std::string_view line = (*lines)[i];
      size_t space = line.find(' ', 1);
      std::string where = "'tokenizer.ggml.merges[" + std::to_string(i) + "]'";
      if (space == std::string_view::npos || space + 1 == line.size())
        return wrong(where + " must be two texts with a space between them, got " + quoted(line));
      std::string_view left = line.substr(0, space);
      std::string_view right = line.substr(space + 1);
      whole.assign(left).append(right);
      Merge merge{index.lookup(left), index.lookup(right), index.lookup(whole)};
      for (auto [id, text] : {std::pair<int32_t, std::string_view>{merge.left, left},
                              {merge.right, right},
                              {merge.result, whole}})
        if (id < 0)
          return wrong(where + " joins " + quoted(left) + " and " + quoted(right) + ", but " +
                       quoted(text) + " is no token");
      data.merges.push_back(merge);
    }
    return {};
  }

  Result<void> sentencePiece() {
    data.byScores = true;
    if (data.scores.empty())
      return wrong(
          "key 'tokenizer.ggml.scores' is absent, which model 'llama' needs for its merges");
    data.byteFallback = index.lookup("<0x0A>") >= 0;
    data.fuseUnknown = true;
    data.addBos = true;
    data.inModel.resize(views.size());
    for (size_t id = 0; id < views.size(); ++id)
      data.inModel[id] = kinds[id] != TokenType::Unknown && kinds[id] != TokenType::Control &&
                         kinds[id] != TokenType::Byte;
    bool spacePrefix = true;
    if (Result<void> done = flag("tokenizer.ggml.add_space_prefix", spacePrefix); !done)
      return done;
    if (spacePrefix)
      data.normalizers.push_back(
          {.kind = Normalizer::Kind::Prepend, .pattern = {}, .content = metaspace});
    data.normalizers.push_back(
        {.kind = Normalizer::Kind::Replace, .pattern = {" ", {}}, .content = metaspace});
    data.decoders.push_back(
        {.kind = Decoder::Kind::Replace, .pattern = {metaspace, {}}, .content = " "});
    data.decoders.push_back({.kind = Decoder::Kind::ByteFallback, .bytewise = true});
    data.decoders.push_back({.kind = Decoder::Kind::Fuse});
    if (spacePrefix)
      data.decoders.push_back(
          {.kind = Decoder::Kind::Strip, .pattern = {}, .content = " ", .start = 1});
    return {};
  }

  Result<void> flag(const char *key, bool &value) {
    if (!file.key(key))
      return {};
    auto given = file.truth(key);
    if (!given)
      return given.error();
    value = *given;
    return {};
  }

  /// An id of the file, or else `fallback`; both must lie in the vocabulary.
  Result<void> id(const char *key, int32_t fallback, int32_t &value) {
    bool given = file.key(key) != nullptr;
    int64_t number = fallback;
    if (given) {
      auto read = file.integer(key);
      if (!read)
        return read.error();
      number = *read;
    } else if (fallback < 0) {
      return {};
    }
    if (number < 0 || static_cast<uint64_t>(number) >= views.size())
      return wrong("'" + std::string(key) + "' is " + (given ? "" : "absent, and its default is ") +
                   std::to_string(number) + ", but the vocabulary has " +
                   std::to_string(views.size()) + " tokens");
    value = static_cast<int32_t>(number);
    return {};
  }

  Result<void> specialIds() {
    bool sentencePiece = data.byScores;
    int32_t unknown = -1;
    for (Result<void> done :
         {id("tokenizer.ggml.bos_token_id", sentencePiece ? 1 : -1, data.bos),
          id("tokenizer.ggml.eos_token_id", sentencePiece ? 2 : -1, data.eos),
          id("tokenizer.ggml.unknown_token_id", sentencePiece ? 0 : -1, unknown)})
      if (!done)
        return done;
    for (const char *key : {"tokenizer.ggml.padding_token_id", "tokenizer.ggml.seperator_token_id",
                            "tokenizer.ggml.mask_token_id", "tokenizer.ggml.eot_token_id",
                            "tokenizer.ggml.eom_token_id"}) {
      int32_t unused = -1;
      if (Result<void> done = id(key, -1, unused); !done)
        return done;
    }
    if (sentencePiece)
      data.unknown = unknown;
    if (Result<void> done = flag("tokenizer.ggml.add_bos_token", data.addBos); !done)
      return done;
    if (Result<void> done = flag("tokenizer.ggml.add_eos_token", data.addEos); !done)
      return done;
    data.addBos = data.addBos && data.bos >= 0;
    data.addEos = data.addEos && data.eos >= 0;
    return {};
  }

  /// Converters have marked some of these as ordinary; llama.cpp takes them for control tokens all
  /// the same.
  static bool isControlByName(std::string_view token) {
    static constexpr std::string_view names[] = {
        "<|eot_id|>",      "<|im_end|>",   "<|end|>",      "<end_of_turn>",     "<|endoftext|>",
        "<|end_of_text|>", "<EOT>",        "_<EOT>",       "<|eom_id|>",        "<|fim_prefix|>",
        "<fim-prefix>",    "<fim_prefix>", "<PRE>",        "\xe2\x96\x81<PRE>", "<|fim_suffix|>",
        "<fim-suffix>",    "<fim_suffix>", "<SUF>",        "\xe2\x96\x81<SUF>", "<|fim_middle|>",
        "<fim-middle>",    "<fim_middle>", "<MID>",        "\xe2\x96\x81<MID>", "<|fim_pad|>",
        "<fim-pad>",       "<fim_pad>",    "<|fim_repo|>", "<|repo_name|>",     "<fim-repo>",
        "<|file_sep|>"};
    return std::find(std::begin(names), std::end(names), token) != std::end(names);
  }

  Result<void> added() {
    std::string modelName;
    if (file.key("general.name"))
      if (auto text = file.text("general.name"))
        modelName = *text;
    std::transform(modelName.begin(), modelName.end(), modelName.begin(), [](unsigned char c) {
      return c < 0x80 ? static_cast<char>(std::tolower(c)) : static_cast<char>(c);
    });
    bool phi3 =
        modelName.find("phi-3") != std::string::npos || modelName.find("phi3") != std::string::npos;
    for (size_t id = 0; id < views.size(); ++id) {
      TokenType kind = kinds[id];
      bool control =
          kind == TokenType::Control || kind == TokenType::Unknown || isControlByName(views[id]);
      if ((!control && kind != TokenType::UserDefined) || views[id].empty())
        continue;
      AddedToken token;
      token.id = static_cast<int32_t>(id);
      token.content = views[id];
      token.special = control;
      token.lstrip = views[id] == "<mask>" || views[id] == "[MASK]";
      token.rstrip =
          phi3 && views[id] != "<unk>" && views[id] != "<s>" && views[id] != "<|endoftext|>";
      data.added.push_back(std::move(token));
    }
    return {};
  }

  const Gguf &file;
  VocabularyData data;
  std::vector<std::string_view> views;
  std::vector<TokenType> kinds;
  StringIndex index;
};

} // namespace

Result<VocabularyData> readTokenizerGguf(const Gguf &file) { return Loader(file).run(); }

} // namespace lorac::tok
