#include "runtime/tokenizer/Json.h"
#include "runtime/tokenizer/Quoted.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace lorac::tok {
namespace {

constexpr size_t deepest = 64;
constexpr size_t mostNodes = 150'000;

/// nlohmann's SAX interface: its parser keeps no stack of ours, so depth costs it a bit each.
class TreeBuilder {
public:
  TreeBuilder(const std::vector<std::vector<std::string>> &streamed, const JsonSink &sink)
      : streamed(streamed), sink(sink) {}

  JsonNode root;
  std::string failure;
  size_t failedAt = std::string::npos;

  bool null() { return scalar(JsonStep::Kind::Other, "", 0, {}); }
  bool boolean(bool value) {
    JsonNode node;
    node.type = JsonNode::Type::Boolean;
    node.boolean = value;
    return scalar(JsonStep::Kind::Other, "", 0, std::move(node));
  }
  bool number_integer(int64_t value) {
    JsonNode node;
    node.type = JsonNode::Type::Integer;
    node.integer = value;
    node.number = static_cast<double>(value);
    return scalar(JsonStep::Kind::Integer, "", value, std::move(node));
  }
  bool number_unsigned(uint64_t value) {
    if (value > static_cast<uint64_t>(INT64_MAX))
      return fail("an integer is beyond 64 bits");
    return number_integer(static_cast<int64_t>(value));
  }
  bool number_float(double value, const std::string &) {
    JsonNode node;
    node.type = JsonNode::Type::Number;
    node.number = value;
    return scalar(JsonStep::Kind::Other, "", 0, std::move(node));
  }
  bool string(std::string &value) {
    if (streaming())
      return scalar(JsonStep::Kind::String, value, 0, {});
    JsonNode node;
    node.type = JsonNode::Type::String;
    node.string = std::move(value);
    return scalar(JsonStep::Kind::String, "", 0, std::move(node));
  }
  bool binary(std::vector<uint8_t> &) { return fail("binary data"); }
  bool start_object(size_t) { return open(JsonNode::Type::Object); }
  bool start_array(size_t) { return open(JsonNode::Type::Array); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string &name) {
    lastKey = name;
    if (!streaming() && path.size() == depth && depth > 0)
      path.back() = name;
    return true;
  }
  bool parse_error(size_t at, const std::string &, const nlohmann::detail::exception &) {
    failedAt = at;
    return fail("not JSON");
  }

private:
  bool fail(std::string why) {
    failure = std::move(why);
    return false;
  }

  bool streaming() const { return streamIndex < streamed.size(); }

  /// Does the value that comes now begin a streamed one?
  void enterStream() {
    if (streaming() || openNodes.empty() || openNodes.back()->type != JsonNode::Type::Object)
      return;
    for (size_t i = 0; i < streamed.size(); ++i)
      if (streamed[i] == path) {
        streamIndex = i;
        streamDepth = depth;
      }
  }

  bool step(JsonStep::Kind kind, std::string_view text, int64_t integer, size_t at) {
    JsonStep step{kind, static_cast<int>(at - streamDepth), lastKey, text, integer};
    std::string wrong = sink(streamIndex, step);
    return wrong.empty() || fail(std::move(wrong));
  }

  bool add(JsonNode node, JsonNode *&added) {
    if (++nodes > mostNodes)
      return fail("more than " + std::to_string(mostNodes) +
                  " values beside vocabulary and merges");
    if (openNodes.empty()) {
      root = std::move(node);
      added = &root;
      return true;
    }
    JsonNode &parent = *openNodes.back();
    if (parent.type == JsonNode::Type::Object)
      parent.keys.push_back(lastKey);
    parent.children.push_back(std::move(node));
    added = &parent.children.back();
    return true;
  }

  bool scalar(JsonStep::Kind kind, std::string_view text, int64_t integer, JsonNode node) {
    bool inside = streaming();
    enterStream();
    if (streaming()) {
      std::string_view shown = kind == JsonStep::Kind::String && !inside ? node.string : text;
      bool fine = step(kind, shown, integer, depth);
      if (!inside)
        streamIndex = noStream;
      return fine;
    }
    JsonNode *added = nullptr;
    return add(std::move(node), added);
  }

  bool open(JsonNode::Type type) {
    if (depth >= deepest)
      return fail("nests deeper than " + std::to_string(deepest));
    enterStream();
    if (streaming()) {
      if (!step(type == JsonNode::Type::Object ? JsonStep::Kind::OpenObject
                                               : JsonStep::Kind::OpenArray,
                "", 0, depth))
        return false;
      ++depth;
      lastKey.clear();
      return true;
    }
    JsonNode node;
    node.type = type;
    JsonNode *added = nullptr;
    if (!add(std::move(node), added))
      return false;
    openNodes.push_back(added);
    path.emplace_back();
    ++depth;
    return true;
  }

  bool close() {
    --depth;
    if (streaming()) {
      lastKey.clear();
      bool fine = step(JsonStep::Kind::Close, "", 0, depth);
      if (depth == streamDepth)
        streamIndex = noStream;
      return fine;
    }
    JsonNode &node = *openNodes.back();
    openNodes.pop_back();
    path.pop_back();
    std::vector<std::string_view> names(node.keys.begin(), node.keys.end());
    std::sort(names.begin(), names.end());
    auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end())
      return fail("key " + quoted(*twice) + " stands twice in one object");
    return true;
  }

  static constexpr size_t noStream = ~size_t{0};
  const std::vector<std::vector<std::string>> &streamed;
  const JsonSink &sink;
  size_t streamIndex = noStream;
  size_t streamDepth = 0;
  size_t depth = 0;
  size_t nodes = 0;
  std::string lastKey;
  std::vector<std::string> path;     // the key at each open level of the tree, empty in arrays
  std::vector<JsonNode *> openNodes; // stable: a node gets no sibling while it is open
};

} // namespace

const JsonNode *JsonNode::get(std::string_view key) const {
  for (size_t i = 0; i < keys.size(); ++i)
    if (keys[i] == key)
      return &children[i];
  return nullptr;
}

Result<JsonNode> readJson(std::string_view text,
                          const std::vector<std::vector<std::string>> &streamed,
                          const JsonSink &sink) {
  TreeBuilder builder(streamed, sink);
  try {
    if (!nlohmann::json::sax_parse(text.begin(), text.end(), &builder) && builder.failure.empty())
      builder.failure = "not JSON";
  } catch (const std::exception &error) {
    builder.failure = error.what();
  }
  if (!builder.failure.empty()) {
    std::string where =
        builder.failedAt == std::string::npos ? "" : " at byte " + std::to_string(builder.failedAt);
    return Error{builder.failure + where, Exit::ForeignFile};
  }
  return std::move(builder.root);
}

} // namespace lorac::tok
