#pragma once
// JSON from foreign files: a small tree, with large parts handed over as events instead. Beside
// runtime/formats/JsonWalk.h, which builds no tree, shows an object when it has ended and keeps its
// names until then: a vocabulary of 150,000 names is taken as it comes, and refused where it begins
// to be wrong.

#include "runtime/Result.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::tok {

struct JsonNode {
  enum class Type { Null, Boolean, Integer, Number, String, Array, Object };
  Type type = Type::Null;
  bool boolean = false;
  int64_t integer = 0;
  double number = 0; // of Integer also
  std::string string;
  std::vector<std::string> keys; // of an object, side by side with `children`
  std::vector<JsonNode> children;

  /// The value of a key; null where this is no object or has no such key.
  const JsonNode *get(std::string_view key) const;
  bool isNull() const { return type == Type::Null; }
  bool isObject() const { return type == Type::Object; }
  bool isArray() const { return type == Type::Array; }
  bool isString() const { return type == Type::String; }
};

/// One step through a streamed value.
struct JsonStep {
  enum class Kind { OpenObject, OpenArray, Close, String, Integer, Other };
  Kind kind;
  int depth;            // 0: the streamed value itself
  std::string_view key; // of a member of an object; the string otherwise empty
  std::string_view text;
  int64_t integer = 0;
};

/// Takes a step of the streamed path with this index; returns what is wrong, or nothing.
using JsonSink = std::function<std::string(size_t path, const JsonStep &step)>;

/// Reads a whole text. `streamed`: paths of keys whose values go to `sink` and leave a null in the
/// tree. Refused, with byte offset where there is one: what is not JSON, nesting deeper than 64,
/// duplicate keys in the tree (in streamed values the sink looks), integers beyond int64, more than
/// 150,000 values in the tree.
Result<JsonNode> readJson(std::string_view text,
                          const std::vector<std::vector<std::string>> &streamed = {},
                          const JsonSink &sink = {});

} // namespace lorac::tok
