#include "runtime/tokenizer/TokenizerJson.h"

#include "runtime/tokenizer/ComponentsJson.h"
#include "runtime/tokenizer/NodeFields.h"
#include "runtime/tokenizer/Quoted.h"
#include "runtime/tokenizer/StringIndex.h"
#include "runtime/tokenizer/TokenizerConfigKeys.h"

#include <algorithm>

namespace lorac::tok {
namespace {

Error wrong(const std::string &what) { return Error{what, Exit::ForeignFile}; }

/// "model.vocab" and "model.merges" as they stream by; texts lie one after another in two arenas.
class Collector {
public:
  struct Entry {
    size_t begin;
    size_t size;
    int64_t id;
  };
  struct Pair {
    size_t begin;
    size_t leftSize;
    size_t rightSize;
  };

  std::string tokenTexts;
  std::vector<Entry> entries;
  std::string mergeTexts;
  std::vector<Pair> pairs;
  bool sawVocabulary = false;

  std::string take(size_t path, const JsonStep &step) {
    return path == 0 ? takeToken(step) : takeMerge(step);
  }

private:
  std::string takeToken(const JsonStep &step) {
    if (step.depth == 0) {
      sawVocabulary = true;
      if (step.kind == JsonStep::Kind::OpenObject || step.kind == JsonStep::Kind::Close)
        return "";
      return "'model.vocab' must be an object from text to id, as model type BPE has it";
    }
    if (step.kind != JsonStep::Kind::Integer)
      return "'model.vocab' needs an integer as id of " + quoted(step.key);
    entries.push_back({tokenTexts.size(), step.key.size(), step.integer});
    tokenTexts += step.key;
    return "";
  }

  std::string takeMerge(const JsonStep &step) {
    using Kind = JsonStep::Kind;
    std::string which = "'model.merges[" + std::to_string(pairs.size()) + "]'";
    if (step.depth == 0)
      return step.kind == Kind::OpenArray || step.kind == Kind::Close
                 ? ""
                 : "'model.merges' must be an array";
    if (step.depth == 1 && step.kind == Kind::String)
      return takeLine(step.text, which);
    if (step.depth == 1 && step.kind == Kind::OpenArray) {
      halves = 0;
      return "";
    }
    if (step.depth == 2 && step.kind == Kind::String && halves < 2) {
      if (halves == 0)
        pairs.push_back({mergeTexts.size(), step.text.size(), 0});
      else
        pairs.back().rightSize = step.text.size();
      mergeTexts += step.text;
      ++halves;
      return "";
    }
    if (step.depth == 1 && step.kind == Kind::Close && halves == 2)
      return "";
    return which + " must be a text such as \"a b\" or a pair such as [\"a\", \"b\"]";
  }

  std::string takeLine(std::string_view line, const std::string &which) {
    if (line.substr(0, 8) == "#version")
      return "";
    size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos)
      return which + " must be two texts with one space between them, got " + quoted(line);
    pairs.push_back({mergeTexts.size(), space, line.size() - space - 1});
    mergeTexts.append(line.substr(0, space)).append(line.substr(space + 1));
    return "";
  }

  int halves = 0;
};

Result<AddedToken> readAdded(const JsonNode &node, size_t i) {
  NodeFields fields(node, "added_tokens[" + std::to_string(i) + "]");
  AddedToken token;
  token.id = static_cast<int32_t>(fields.count("id"));
  token.content = fields.text("content");
  token.special = fields.flag("special", false);
  token.lstrip = fields.flag("lstrip", false);
  token.rstrip = fields.flag("rstrip", false);
  token.singleWord = fields.flag("single_word", false);
  token.normalized = fields.flag("normalized", !token.special);
  if (fields.failed())
    return fields.error();
  return token;
}

/// Puts the vocabulary's and the added tokens' texts at their ids.
Result<void> placeTokens(const Collector &collected, VocabularyData &data) {
  size_t most = collected.entries.size() + data.added.size();
  std::string_view texts = collected.tokenTexts;
  StringIndex index(most);
  std::vector<std::string_view> byId(most);
  std::vector<bool> taken(most);
  size_t count = 0;
  auto place = [&](std::string_view text, int64_t id, const std::string &where) -> Result<void> {
    if (id < 0 || static_cast<size_t>(id) >= most)
      return wrong(where + " gives " + quoted(text) + " the id " + std::to_string(id) +
                   ", but there are only " + std::to_string(most) +
                   " tokens; ids must be 0 to n-1");
    auto at = static_cast<size_t>(id);
    int32_t standing = index.add(text, static_cast<int32_t>(id));
    if (standing >= 0)
      return wrong(where + " gives " + quoted(text) + " the id " + std::to_string(id) +
                   ", but it has the id " + std::to_string(standing) + " already");
    if (taken[at])
      return wrong(where + " gives " + quoted(text) + " the id " + std::to_string(id) +
                   ", which belongs to " + quoted(byId[at]));
    byId[at] = text;
    taken[at] = true;
    ++count;
    return {};
  };
  for (const Collector::Entry &entry : collected.entries)
    if (Result<void> done = place(texts.substr(entry.begin, entry.size), entry.id, "'model.vocab'");
        !done)
      return done;
  data.inModel = taken;
  for (size_t i = 0; i < data.added.size(); ++i) {
    const AddedToken &token = data.added[i];
    if (token.content.empty())
      return wrong("'added_tokens[" + std::to_string(i) + "]' has an empty 'content'");
    if (index.lookup(token.content) == token.id)
      continue;
    if (Result<void> done =
            place(token.content, token.id, "'added_tokens[" + std::to_string(i) + "]'");
        !done)
      return done;
  }
  auto gap = std::find(taken.begin(), taken.begin() + static_cast<long>(count), false);
  if (gap != taken.begin() + static_cast<long>(count))
    return wrong("no token has the id " + std::to_string(gap - taken.begin()) +
                 ", though there are " + std::to_string(count) +
                 " tokens; ids must be 0 to n-1 without gap");
  data.inModel.resize(count);
  data.tokens.assign(byId.begin(), byId.begin() + static_cast<long>(count));
  return {};
}

Result<void> resolveMerges(const Collector &collected, const StringIndex &index,
                           VocabularyData &data) {
  std::string_view texts = collected.mergeTexts;
  std::string whole;
  for (size_t i = 0; i < collected.pairs.size(); ++i) {
    const Collector::Pair &pair = collected.pairs[i];
    std::string_view left = texts.substr(pair.begin, pair.leftSize);
    std::string_view right = texts.substr(pair.begin + pair.leftSize, pair.rightSize);
    std::string_view tail = right;
    if (!data.subwordPrefix.empty()) {
      if (right.substr(0, data.subwordPrefix.size()) != data.subwordPrefix)
        return wrong("'model.merges[" + std::to_string(i) + "]': the right side " + quoted(right) +
                     " does not begin with the prefix " + quoted(data.subwordPrefix));
      tail.remove_prefix(data.subwordPrefix.size());
    }
    whole.assign(left).append(tail);
    Merge merge{index.lookup(left), index.lookup(right), index.lookup(whole)};
    for (auto [id, text] : {std::pair<int32_t, std::string_view>{merge.left, left},
                            {merge.right, right},
                            {merge.result, whole}})
      if (id < 0)
        return wrong("'model.merges[" + std::to_string(i) + "]' joins " + quoted(left) + " and " +
                     quoted(right) + ", but " + quoted(text) + " is not in 'model.vocab'");
    data.merges.push_back(merge);
  }
  return {};
}

Result<void> readModel(const JsonNode &root, VocabularyData &data, std::string &unknownText) {
  const JsonNode *model = root.get("model");
  if (!model)
    return wrong("needs an object 'model'");
  NodeFields fields(*model, "model");
  std::string type = fields.text("type", "BPE");
  if (!fields.failed() && type != "BPE")
    return wrong("'model.type' is " + quoted(type) + "; only BPE is read");
  unknownText = fields.text("unk_token", "");
  data.fuseUnknown = fields.flag("fuse_unk", false);
  data.byteFallback = fields.flag("byte_fallback", false);
  data.ignoreMerges = fields.flag("ignore_merges", false);
  data.subwordPrefix = fields.text("continuing_subword_prefix", "");
  data.wordSuffix = fields.text("end_of_word_suffix", "");
  const JsonNode *dropout = model->get("dropout");
  if (dropout && !dropout->isNull() && dropout->number != 0)
    return wrong("'model.dropout' is set; a tokenizer with random merges cannot be reproduced");
  return fields.failed() ? Result<void>(fields.error()) : Result<void>();
}

Result<void> readComponents(const JsonNode &root, VocabularyData &data) {
  static const JsonNode none;
  auto part = [&](const char *key) -> const JsonNode & {
    const JsonNode *node = root.get(key);
    return node ? *node : none;
  };
  if (Result<void> done = readNormalizer(part("normalizer"), data.normalizers); !done)
    return done;
  if (Result<void> done = readPreTokenizer(part("pre_tokenizer"), data.preTokenizers); !done)
    return done;
  if (Result<void> done = readDecoder(part("decoder"), data.decoders); !done)
    return done;
  Surround surround;
  if (Result<void> done = readPostProcessor(part("post_processor"), surround); !done)
    return done;
  for (int64_t id : surround.before)
    if (id < 0 || static_cast<size_t>(id) >= data.tokens.size())
      return wrong("'post_processor' names the id " + std::to_string(id) +
                   ", but the vocabulary has " + std::to_string(data.tokens.size()) + " tokens");
  for (int64_t id : surround.behind)
    if (id < 0 || static_cast<size_t>(id) >= data.tokens.size())
      return wrong("'post_processor' names the id " + std::to_string(id) +
                   ", but the vocabulary has " + std::to_string(data.tokens.size()) + " tokens");
  data.addBos = !surround.before.empty();
  data.addEos = !surround.behind.empty();
  if (data.addBos)
    data.bos = static_cast<int32_t>(surround.before.front());
  if (data.addEos)
    data.eos = static_cast<int32_t>(surround.behind.back());
  return {};
}

} // namespace

Result<VocabularyData> readTokenizerJson(std::string_view text) {
  Collector collected;
  auto root =
      readJson(text, {{"model", "vocab"}, {"model", "merges"}},
               [&](size_t path, const JsonStep &step) { return collected.take(path, step); });
  if (!root)
    return root.error();
  if (!root->isObject())
    return wrong("must be an object");
  VocabularyData data;
  std::string unknownText;
  if (Result<void> done = readModel(*root, data, unknownText); !done)
    return done.error();
  if (!collected.sawVocabulary)
    return wrong("needs an object 'model.vocab'");
  if (const JsonNode *added = root->get("added_tokens"); added && !added->isNull()) {
    if (!added->isArray())
      return wrong("'added_tokens' must be an array");
    for (size_t i = 0; i < added->children.size(); ++i) {
      auto token = readAdded(added->children[i], i);
      if (!token)
        return token.error();
      data.added.push_back(std::move(*token));
    }
  }
  if (Result<void> done = placeTokens(collected, data); !done)
    return done.error();
  StringIndex index(data.tokens.size());
  for (size_t id = 0; id < data.tokens.size(); ++id)
    if (data.inModel[id])
      index.add(data.tokens[id], static_cast<int32_t>(id));
  if (Result<void> done = resolveMerges(collected, index, data); !done)
    return done.error();
  if (!unknownText.empty()) {
    data.unknown = index.lookup(unknownText);
    if (data.unknown < 0)
      return wrong("'model.unk_token' is " + quoted(unknownText) +
                   ", which is not in the vocabulary");
  }
  if (Result<void> done = readComponents(*root, data); !done)
    return done.error();
  return data;
}

Result<void> applyTokenizerConfig(std::string_view text, VocabularyData &data) {
  auto root = readJson(text);
  if (!root)
    return root.error();
  NodeFields fields(*root, "the file");
  auto idOf = [&](const char *key, int32_t &id) {
    const JsonNode *node = root->get(key);
    const JsonNode *content = node && node->isObject() ? node->get("content") : node;
    if (!content || !content->isString())
      return;
    auto at = std::find(data.tokens.begin(), data.tokens.end(), content->string);
    if (at == data.tokens.end())
      fields.fail("has " + quoted(content->string) + " as '" + key +
                  "', which is not in the vocabulary");
    else
      id = static_cast<int32_t>(at - data.tokens.begin());
  };
  const bool *addsPrefixSpace = nullptr;
  for (const PreTokenizer &step : data.preTokenizers)
    if (step.kind == PreTokenizer::Kind::ByteLevel)
      addsPrefixSpace = &step.addPrefixSpace;
  if (const std::string wrong = wrongConfigKey(*root, addsPrefixSpace); !wrong.empty())
    fields.fail(wrong);
  if (const JsonNode *added = root->get("added_tokens_decoder"); added && added->isObject())
    for (size_t i = 0; i < added->keys.size(); ++i) {
      const JsonNode *content = added->children[i].get("content");
      const std::string &id = added->keys[i];
      if (!content || !content->isString())
        continue;
      auto at = std::find(data.tokens.begin(), data.tokens.end(), content->string);
      if (at == data.tokens.end() || std::to_string(at - data.tokens.begin()) != id)
        fields.fail("gives the token " + quoted(content->string) + " the id " + quoted(id) +
                    " in 'added_tokens_decoder', which tokenizer.json does not: text that holds "
                    "it would be cut otherwise; make the two agree");
    }
  idOf("bos_token", data.bos);
  idOf("eos_token", data.eos);
  data.addBos = fields.flag("add_bos_token", data.addBos) && data.bos >= 0;
  data.addEos = fields.flag("add_eos_token", data.addEos) && data.eos >= 0;
  return fields.failed() ? Result<void>(fields.error()) : Result<void>();
}

} // namespace lorac::tok
