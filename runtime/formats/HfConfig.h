#pragma once
// config.json of a Hugging Face model: plain values by dotted key. Nothing in it makes us open or
// run anything.

#include "runtime/Result.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace lorac::formats {

/// A hyper-parameter as a file states it.
using HyperValue = std::variant<bool, int64_t, double, std::string>;

class HfConfig {
public:
  /// Errors: no such file; not a JSON object, deeper than 64, a duplicate key, too large
  /// (Exit::ForeignFile).
  static Result<HfConfig> open(const std::string &path);
  static Result<HfConfig> parse(const std::string &path, std::string_view json);

  /// The value at a dotted key ("rope_parameters.rope_theta"). Nothing when absent, null or empty.
  /// An array or an object answers with words for it ("an array of 2"), which fit no number.
  std::optional<HyperValue> lookup(const std::string &key) const;
  /// Whether a key says null.
  bool isNull(const std::string &key) const { return nulls.contains(key); }
  /// Every value that is stated, by its dotted key; an empty array or object states nothing.
  const std::map<std::string, HyperValue> &all() const { return values; }
  /// Keys that name code to run (auto_map, custom_pipelines, …): known, never acted on.
  const std::vector<std::string> &ignored() const { return ignoredKeys; }
  const std::string &path() const { return file; }

private:
  std::string file;
  std::map<std::string, HyperValue> values;
  std::set<std::string> nulls;
  std::vector<std::string> ignoredKeys;
};

} // namespace lorac::formats
