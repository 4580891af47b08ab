#pragma once
// Reading our own JSON (plan.json, run.json, trainer_state.json) with checks: the first misfit is
// kept, worded with its path, and what follows reads as defaults, so a reader is a list of fields
// with one test at its end. Only for .cpp files.

#include "runtime/Result.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>

namespace lorac::train {

using Json = nlohmann::ordered_json;

/// Parses `text`; `what` names it in the error. Comments, trailing text and nesting beyond 64 are
/// refused.
Result<Json> parseJson(std::string_view text, const std::string &what);

class Fields {
public:
  /// `error` outlives the reader; empty: all was well so far.
  Fields(const Json &value, std::string path, std::string &error)
      : value(&value), path(std::move(path)), error(&error) {}

  bool has(const char *key) const { return value->is_object() && value->contains(key); }
  Fields at(const char *key) const;
  /// The member, or an empty object when it is left out.
  Fields maybe(const char *key) const;

  int64_t integer(const char *key, int64_t least = 0,
                  int64_t most = std::numeric_limits<int64_t>::max()) const;
  int64_t integerOr(const char *key, int64_t fallback) const;
  double number(const char *key) const;
  double numberOr(const char *key, double fallback) const;
  bool truthOr(const char *key, bool fallback) const;
  std::string text(const char *key) const;
  std::string textOr(const char *key, const std::string &fallback) const;

  /// Calls `each` for every element of an array (this value).
  void forEach(const std::function<void(const Fields &)> &each) const;
  /// Calls `each` for every member of an object (this value).
  void forMembers(const std::function<void(const std::string &, const Fields &)> &each) const;
  size_t size() const { return value->size(); }

  // This value itself.
  int64_t asInteger(int64_t least = 0, int64_t most = std::numeric_limits<int64_t>::max()) const;
  double asNumber() const;
  bool asTruth() const;
  std::string asText() const;
  const Json &json() const { return *value; }

  void fail(const std::string &what) const;
  bool failed() const { return !error->empty(); }
  const std::string &where() const { return path; }

private:
  const Json *value;
  std::string path;
  std::string *error;
};

} // namespace lorac::train
