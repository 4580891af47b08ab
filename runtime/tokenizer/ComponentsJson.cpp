#include "runtime/tokenizer/ComponentsJson.h"

#include "runtime/tokenizer/NodeFields.h"
#include "runtime/tokenizer/Quoted.h"
#include "runtime/tokenizer/Utf8.h"

#include <functional>

namespace lorac::tok {
namespace {

/// Calls `leaf` for each component of a possibly nested Sequence; `list` is the key of its members.
/// The tree is at most 64 deep.
Result<void>
eachComponent(const JsonNode &node, const std::string &where, const char *list,
              const std::function<Result<void>(NodeFields &, const std::string &)> &leaf) {
  if (node.isNull())
    return {};
  NodeFields fields(node, where);
  std::string type = fields.text("type");
  if (fields.failed())
    return fields.error();
  if (type != "Sequence") {
    if (Result<void> done = leaf(fields, type); !done)
      return done;
    return fields.failed() ? Result<void>(fields.error()) : Result<void>();
  }
  const JsonNode *members = node.get(list);
  if (!members || !members->isArray()) {
    fields.fail("needs an array '" + std::string(list) + "'");
    return fields.error();
  }
  for (size_t i = 0; i < members->children.size(); ++i)
    if (Result<void> done = eachComponent(
            members->children[i], where + "." + list + "[" + std::to_string(i) + "]", list, leaf);
        !done)
      return done;
  return {};
}

Result<void> unknownType(const NodeFields &fields, const std::string &type, const char *known) {
  return Error{"'" + fields.name() + "' has type " + quoted(type) +
                   ", which is not known; known are " + known,
               Exit::ForeignFile};
}

/// {"String": ...} or {"Regex": ...}, or a plain string.
Pattern readPattern(NodeFields &fields, const char *key) {
  Pattern pattern;
  const JsonNode *node = fields.get(key);
  if (node && node->isString()) {
    pattern.literal = node->string;
  } else if (const JsonNode *literal = node ? node->get("String") : nullptr;
             literal && literal->isString()) {
    pattern.literal = literal->string;
  } else if (const JsonNode *regex = node ? node->get("Regex") : nullptr;
             regex && regex->isString()) {
    auto compiled = Regex::compile(regex->string);
    if (!compiled)
      fields.fail("has a bad " + compiled.error().message);
    else
      pattern.regex = *compiled;
    return pattern;
  }
  if (pattern.literal.empty())
    fields.fail("needs '" + std::string(key) + "': a non-empty String or a Regex");
  return pattern;
}

std::string oneCharacter(NodeFields &fields, const char *key, const char *fallback) {
  std::string text = fields.text(key, fallback);
  if (text.empty() || characterBytes(static_cast<unsigned char>(text[0])) != text.size())
    fields.fail("needs one character as '" + std::string(key) + "'");
  return text;
}

Behavior readBehavior(NodeFields &fields, const char *fallback) {
  std::string name = fields.text("behavior", fallback);
  if (name == "Removed")
    return Behavior::Removed;
  if (name == "MergedWithPrevious")
    return Behavior::MergedWithPrevious;
  if (name == "MergedWithNext")
    return Behavior::MergedWithNext;
  if (name == "Contiguous")
    return Behavior::Contiguous;
  if (name != "Isolated")
    fields.fail("has behavior " + quoted(name) +
                ", which is not known; known are Removed, Isolated, "
                "MergedWithPrevious, MergedWithNext, Contiguous");
  return Behavior::Isolated;
}

/// "prepend_scheme", or the older "add_prefix_space".
PreTokenizer::Prepend readPrepend(NodeFields &fields) {
  std::string scheme =
      fields.text("prepend_scheme", fields.flag("add_prefix_space", true) ? "always" : "never");
  if (scheme == "first")
    return PreTokenizer::Prepend::First;
  if (scheme == "always")
    return PreTokenizer::Prepend::Always;
  if (scheme != "never")
    fields.fail("has prepend_scheme " + quoted(scheme) +
                ", which is not known; known are always, first, never");
  return PreTokenizer::Prepend::Never;
}

Pattern compiled(const char *pattern) {
  auto regex = Regex::compile(pattern);
  assert(regex && "a pattern of our own");
  return {"", *regex};
}

constexpr const char *metaspace = "\xe2\x96\x81";

Result<void> preTokenizerLeaf(NodeFields &fields, const std::string &type,
                              std::vector<PreTokenizer> &steps) {
  using Kind = PreTokenizer::Kind;
  PreTokenizer step{};
  if (type == "Split") {
    step.kind = Kind::Split;
    step.pattern = readPattern(fields, "pattern");
    step.behavior = readBehavior(fields, nullptr);
    step.invert = fields.flag("invert", false);
  } else if (type == "CharDelimiterSplit") {
    step.kind = Kind::Split;
    step.pattern.literal = oneCharacter(fields, "delimiter", nullptr);
    step.behavior = Behavior::Removed;
  } else if (type == "Digits") {
    step.kind = Kind::Digits;
    step.individual = fields.flag("individual_digits", false);
  } else if (type == "ByteLevel") {
    step.kind = Kind::ByteLevel;
    step.addPrefixSpace = fields.flag("add_prefix_space", true);
    step.useRegex = fields.flag("use_regex", true);
    if (step.useRegex)
      step.pattern = compiled(gpt2Pattern);
  } else if (type == "Metaspace") {
    step.kind = Kind::Metaspace;
    step.replacement = oneCharacter(fields, "replacement", metaspace);
    step.pattern.literal = step.replacement;
    step.prepend = readPrepend(fields);
    step.split = fields.flag("split", true);
  } else if (type == "Whitespace") {
    step.kind = Kind::Whitespace; // here alone `\w` has the joiners: it runs on another engine
    step.pattern = compiled(R"([\w\x{200c}\x{200d}]+|[^\w\s\x{200c}\x{200d}]+)");
    step.behavior = Behavior::Removed;
    step.invert = true;
  } else if (type == "WhitespaceSplit") {
    step.kind = Kind::WhitespaceSplit;
  } else if (type == "Punctuation") {
    step.kind = Kind::Punctuation;
    step.behavior = readBehavior(fields, "Isolated");
  } else if (type == "BertPreTokenizer") {
    step.kind = Kind::Bert;
  } else {
    return unknownType(
        fields, type,
        "Sequence, Split, CharDelimiterSplit, Digits, ByteLevel, Metaspace, Whitespace, "
        "WhitespaceSplit, Punctuation, BertPreTokenizer");
  }
  steps.push_back(std::move(step));
  return {};
}

Result<void> normalizerLeaf(NodeFields &fields, const std::string &type,
                            std::vector<Normalizer> &steps) {
  using Kind = Normalizer::Kind;
  Normalizer step{};
  if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
    step.kind = type == "NFC"    ? Kind::Nfc
                : type == "NFD"  ? Kind::Nfd
                : type == "NFKC" ? Kind::Nfkc
                                 : Kind::Nfkd;
  } else if (type == "Lowercase") {
    step.kind = Kind::Lowercase;
  } else if (type == "StripAccents") {
    step.kind = Kind::StripAccents;
  } else if (type == "ByteLevel") {
    step.kind = Kind::ByteLevel;
  } else if (type == "Prepend") {
    step.kind = Kind::Prepend;
    step.content = fields.text("prepend");
  } else if (type == "Replace") {
    step.kind = Kind::Replace;
    step.pattern = readPattern(fields, "pattern");
    step.content = fields.text("content");
  } else if (type == "Strip") {
    step.kind = Kind::Strip;
    step.left = fields.flag("strip_left", true);
    step.right = fields.flag("strip_right", true);
  } else {
    return unknownType(
        fields, type,
        "Sequence, NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, ByteLevel, Prepend, "
        "Replace, Strip");
  }
  steps.push_back(std::move(step));
  return {};
}

Result<void> decoderLeaf(NodeFields &fields, const std::string &type, std::vector<Decoder> &steps) {
  using Kind = Decoder::Kind;
  Decoder step{};
  if (type == "ByteLevel") {
    step.kind = Kind::ByteLevel;
  } else if (type == "ByteFallback") {
    step.kind = Kind::ByteFallback;
  } else if (type == "Fuse") {
    step.kind = Kind::Fuse;
  } else if (type == "Strip") {
    step.kind = Kind::Strip;
    step.content = oneCharacter(fields, "content", nullptr);
    step.start = fields.count("start");
    step.stop = fields.count("stop");
  } else if (type == "Replace") {
    step.kind = Kind::Replace;
    step.pattern = readPattern(fields, "pattern");
    step.content = fields.text("content");
  } else if (type == "Metaspace") {
    step.kind = Kind::Metaspace;
    step.content = oneCharacter(fields, "replacement", metaspace);
    step.stripFirst = readPrepend(fields) != PreTokenizer::Prepend::Never;
  } else if (type == "WordPiece") {
    step.kind = Kind::WordPiece;
    step.content = fields.text("prefix", "##");
    step.cleanup = fields.flag("cleanup", true);
  } else if (type == "BPEDecoder") {
    step.kind = Kind::Suffix;
    step.content = fields.text("suffix", "</w>");
    if (step.content.empty())
      fields.fail("needs a non-empty 'suffix'");
  } else {
    return unknownType(
        fields, type,
        "Sequence, ByteLevel, ByteFallback, Fuse, Strip, Replace, Metaspace, WordPiece, "
        "BPEDecoder");
  }
  steps.push_back(std::move(step));
  return {};
}

/// The ids of a template's special token, by the table beside it.
void appendTemplateIds(NodeFields &fields, const std::string &name, std::vector<int64_t> &ids) {
  const JsonNode *table = fields.get("special_tokens");
  const JsonNode *entry = table ? table->get(name) : nullptr;
  const JsonNode *list = entry ? entry->get("ids") : nullptr;
  if (!list || !list->isArray()) {
    fields.fail("names " + quoted(name) + ", which its 'special_tokens' lacks");
    return;
  }
  for (const JsonNode &id : list->children)
    ids.push_back(id.type == JsonNode::Type::Integer ? id.integer : -1);
}

void readTemplate(NodeFields &fields, Surround &surround) {
  const JsonNode *single = fields.get("single");
  if (!single || !single->isArray()) {
    fields.fail("needs an array 'single'");
    return;
  }
  bool behind = false;
  for (const JsonNode &item : single->children) {
    if (item.get("Sequence"))
      behind = true;
    const JsonNode *special = item.get("SpecialToken");
    const JsonNode *id = special ? special->get("id") : nullptr;
    if (id && id->isString())
      appendTemplateIds(fields, id->string, behind ? surround.behind : surround.before);
  }
}

/// ["<s>", 0] of RobertaProcessing and BertProcessing.
void appendPair(NodeFields &fields, const char *key, std::vector<int64_t> &ids) {
  const JsonNode *pair = fields.get(key);
  if (pair && pair->children.size() == 2 && pair->children[1].type == JsonNode::Type::Integer)
    ids.push_back(pair->children[1].integer);
  else
    fields.fail("needs a pair of text and id as '" + std::string(key) + "'");
}

} // namespace

Result<void> readNormalizer(const JsonNode &node, std::vector<Normalizer> &steps) {
  return eachComponent(node, "normalizer", "normalizers",
                       [&](NodeFields &fields, const std::string &type) {
                         return normalizerLeaf(fields, type, steps);
                       });
}

Result<void> readPreTokenizer(const JsonNode &node, std::vector<PreTokenizer> &steps) {
  return eachComponent(node, "pre_tokenizer", "pretokenizers",
                       [&](NodeFields &fields, const std::string &type) {
                         return preTokenizerLeaf(fields, type, steps);
                       });
}

Result<void> readDecoder(const JsonNode &node, std::vector<Decoder> &steps) {
  return eachComponent(node, "decoder", "decoders",
                       [&](NodeFields &fields, const std::string &type) {
                         return decoderLeaf(fields, type, steps);
                       });
}

Result<void> readPostProcessor(const JsonNode &node, Surround &surround) {
  return eachComponent(node, "post_processor", "processors",
                       [&](NodeFields &fields, const std::string &type) -> Result<void> {
                         if (type == "TemplateProcessing") {
                           readTemplate(fields, surround);
                         } else if (type == "RobertaProcessing" || type == "BertProcessing") {
                           appendPair(fields, "cls", surround.before);
                           appendPair(fields, "sep", surround.behind);
                         } else if (type != "ByteLevel") {
                           return unknownType(fields, type,
                                              "Sequence, TemplateProcessing, RobertaProcessing, "
                                              "BertProcessing, ByteLevel");
                         }
                         return {};
                       });
}

} // namespace lorac::tok
