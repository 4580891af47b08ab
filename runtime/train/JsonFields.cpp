#include "runtime/train/JsonFields.h"

#include <algorithm>

namespace lorac::train {

namespace {

/// Deepest nesting of brackets outside of strings: writing JSON out recurses, so it has to be
/// small.
int nesting(std::string_view text) {
  int depth = 0, deepest = 0;
  bool inString = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (inString && c == '\\')
      ++i;
    else if (c == '"')
      inString = !inString;
    else if (!inString && (c == '[' || c == '{'))
      deepest = std::max(deepest, ++depth);
    else if (!inString && (c == ']' || c == '}'))
      --depth;
  }
  return deepest;
}

} // namespace

Result<Json> parseJson(std::string_view text, const std::string &what) {
  if (nesting(text) > 64)
    return Error{what + " is nested deeper than 64", Exit::ForeignFile};
  Json value = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded())
    return Error{what + " is not JSON", Exit::ForeignFile};
  return value;
}

void Fields::fail(const std::string &what) const {
  if (error->empty())
    *error = "'" + path + "' " + what;
}

Fields Fields::at(const char *key) const {
  static const Json none = Json::object();
  if (has(key))
    return Fields(value->at(key), path.empty() ? key : path + "." + key, *error);
  fail(std::string("has no '") + key + "'");
  return Fields(none, path + "." + key, *error);
}

Fields Fields::maybe(const char *key) const {
  static const Json none = Json::object();
  if (has(key))
    return at(key);
  return Fields(none, path.empty() ? key : path + "." + key, *error);
}

int64_t Fields::asInteger(int64_t least, int64_t most) const {
  bool whole = value->is_number_integer() &&
               !(value->is_number_unsigned() &&
                 value->get<uint64_t>() > uint64_t(std::numeric_limits<int64_t>::max()));
  if (!whole) {
    fail("is not an integer");
    return least;
  }
  int64_t number = value->get<int64_t>();
  if (number < least || number > most) {
    fail("is " + std::to_string(number) + ", outside of [" + std::to_string(least) + ", " +
         std::to_string(most) + "]");
    return least;
  }
  return number;
}

double Fields::asNumber() const {
  if (!value->is_number()) {
    fail("is not a number");
    return 0;
  }
  return value->get<double>();
}

bool Fields::asTruth() const {
  if (!value->is_boolean()) {
    fail("is not true or false");
    return false;
  }
  return value->get<bool>();
}

std::string Fields::asText() const {
  if (!value->is_string()) {
    fail("is not text");
    return "";
  }
  return value->get<std::string>();
}

int64_t Fields::integer(const char *key, int64_t least, int64_t most) const {
  return has(key) ? at(key).asInteger(least, most) : (at(key), least);
}

int64_t Fields::integerOr(const char *key, int64_t fallback) const {
  return has(key) ? at(key).asInteger(std::numeric_limits<int64_t>::min()) : fallback;
}

double Fields::number(const char *key) const {
  return has(key) ? at(key).asNumber() : (at(key), 0.0);
}

double Fields::numberOr(const char *key, double fallback) const {
  return has(key) ? at(key).asNumber() : fallback;
}

bool Fields::truthOr(const char *key, bool fallback) const {
  return has(key) ? at(key).asTruth() : fallback;
}

std::string Fields::text(const char *key) const {
  return has(key) ? at(key).asText() : (at(key), std::string());
}

std::string Fields::textOr(const char *key, const std::string &fallback) const {
  return has(key) ? at(key).asText() : fallback;
}

void Fields::forEach(const std::function<void(const Fields &)> &each) const {
  if (!value->is_array()) {
    fail("is not a list");
    return;
  }
  for (size_t i = 0; i < value->size() && !failed(); ++i)
    each(Fields((*value)[i], path + "[" + std::to_string(i) + "]", *error));
}

void Fields::forMembers(
    const std::function<void(const std::string &, const Fields &)> &each) const {
  if (!value->is_object()) {
    fail("is not an object");
    return;
  }
  for (auto it = value->begin(); it != value->end() && !failed(); ++it)
    each(it.key(), Fields(it.value(), path + "." + it.key(), *error));
}

} // namespace lorac::train
