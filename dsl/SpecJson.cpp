// run.json: what the runtime reads of a spec.

#include "dsl/SpecJson.h"

#include "dsl/Files.h"

#include <nlohmann/json.hpp>

namespace lorac::dsl {

namespace {

using Json = nlohmann::ordered_json;

/// A visitor (Spec.h): a member a key.
class JsonWriter {
public:
  explicit JsonWriter(const Spec &spec) : spec(spec) {}

  template <class T>
  Json write(const T &table) {
    out = Json::object();
    T::keys(*this, table);
    return std::move(out);
  }

  template <class T>
  void operator()(const char *key, const Field<T> &field, const About &about) {
    if (!about.written || !about.inJson)
      return;
    if constexpr (std::is_enum_v<T>)
      out[key] = toString(*field);
    else if constexpr (std::is_same_v<T, std::string>)
      out[key] = about.isPath ? spec.resolve(*field) : *field;
    else
      set(out[key], *field, about);
    if (about.stated && !field.given())
      out[key + std::string("_stated")] = false;
  }
  void pair(const char *key, const Field<double> &first, const Field<double> &second,
            const About &about) {
    if (about.written)
      out[key] = {*first, *second};
  }

  template <class T>
  void table(const char *key, const T &table, const About &) {
    out[key] = JsonWriter(spec).write(table);
  }
  template <class T>
  void table(const char *key, const std::optional<T> &table, const About &about) {
    if (about.written && table)
      out[key] = JsonWriter(spec).write(*table);
  }
  template <class T>
  void tables(const char *key, const std::vector<T> &tables, const About &) {
    for (const T &table : tables)
      out[key].push_back(JsonWriter(spec).write(table));
  }

private:
  template <class T>
  static void set(Json &to, const T &value, const About &) {
    to = value;
  }
  static void set(Json &to, const std::vector<ShapeEntry> &entries, const About &) {
    for (const ShapeEntry &entry : entries)
      std::visit([&](const auto &value) { to[entry.key] = value; }, entry.value);
  }
  static void set(Json &to, const std::vector<Field<int64_t>> &integers, const About &) {
    to = Json::array();
    for (const Field<int64_t> &integer : integers)
      to.push_back(*integer);
  }
  void set(Json &to, const ModuleNames &names, const About &about) const {
    set(to, names.texts, about);
    if (!names.isList || to == Json::array({"all-linear"})) // as PEFT writes it
      to = Json(to.at(0));
  }
  /// Pairs, in which the order counts for the fingerprint too.
  template <class T>
  static void set(Json &to, const Patterns<T> &patterns, const About &) {
    to = Json::array();
    for (const PatternEntry<T> &entry : patterns)
      to.push_back(Json::array({entry.pattern, *entry.value}));
  }
  void set(Json &to, const std::vector<Field<std::string>> &texts, const About &about) const {
    to = Json::array();
    for (const Field<std::string> &text : texts)
      to.push_back(about.isPath ? dataPattern(spec, *text) : *text);
  }

  const Spec &spec;
  Json out;
};

} // namespace

std::string toJson(const Spec &spec) {
  Json out = {{"spec", spec.name}, {"spec_dir", spec.directory}};
  out.update(JsonWriter(spec).write(spec));
  // Texts come from UTF-8 TOML; names of files may be any bytes and must not throw.
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

} // namespace lorac::dsl
