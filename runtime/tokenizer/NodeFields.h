#pragma once
// Typed access to the members of a JSON object; the first thing wrong sticks.

#include "runtime/tokenizer/Json.h"

#include <string>
#include <string_view>

namespace lorac::tok {

class NodeFields {
public:
  /// `where` names the object in messages.
  NodeFields(const JsonNode &node, std::string where) : node(node), where(std::move(where)) {
    if (!node.isObject())
      fail("is not an object");
  }

  /// The text of a key; `fallback` where it is absent or null, or an error where there is none.
  std::string text(std::string_view key, const char *fallback = nullptr) {
    const JsonNode *value = node.get(key);
    if (value && value->isString())
      return value->string;
    if (fallback && (!value || value->isNull()))
      return fallback;
    fail("needs a string '" + std::string(key) + "'");
    return "";
  }

  bool flag(std::string_view key, bool fallback) {
    const JsonNode *value = node.get(key);
    if (value && value->type == JsonNode::Type::Boolean)
      return value->boolean;
    if (value && !value->isNull())
      fail("needs true or false as '" + std::string(key) + "'");
    return fallback;
  }

  /// An integer of at least 0, below 2^31.
  size_t count(std::string_view key) {
    const JsonNode *value = node.get(key);
    if (value && value->type == JsonNode::Type::Integer && value->integer >= 0 &&
        value->integer < int64_t{1} << 31)
      return static_cast<size_t>(value->integer);
    fail("needs an integer of 0 to 2147483647 as '" + std::string(key) + "'");
    return 0;
  }

  const JsonNode *get(std::string_view key) const { return node.get(key); }
  void fail(const std::string &why) {
    if (message.empty())
      message = "'" + where + "' " + why;
  }
  bool failed() const { return !message.empty(); }
  Error error() const { return Error{message, Exit::ForeignFile}; }
  const std::string &name() const { return where; }

private:
  const JsonNode &node;
  std::string where;
  std::string message;
};

} // namespace lorac::tok
