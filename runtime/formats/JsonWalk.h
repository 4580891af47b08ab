#pragma once
// Foreign JSON without a tree: every value is shown once, with its path. Iterative, at most 64
// levels, duplicate keys refused.

#include "runtime/Result.h"

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace lorac::formats {

struct JsonEvent {
  enum Kind { Null, Bool, Integer, Number, String, Array, Object };
  Kind kind = Null;
  bool truth = false;
  int64_t integer = 0;   ///< Integer: whole and within int64
  double number = 0;     ///< Integer and Number
  std::string_view text; ///< String
  size_t count = 0;      ///< Array, Object: entries; shown when they end, after their entries
};

/// Names on the way from the root; an array's entries are called "0", "1", …. An empty path is the
/// root itself.
using JsonPath = std::span<const std::string>;
/// Returns a complaint about this value, or nothing.
using JsonVisitor = std::function<std::string(JsonPath path, const JsonEvent &event)>;

/// Errors (Exit::ForeignFile) name `file` and the byte where it went wrong.
Result<void> walkJson(const std::string &file, std::string_view text, const JsonVisitor &visit);

} // namespace lorac::formats
