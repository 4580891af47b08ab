#include "dsl/Schema.h"

#include "dsl/Text.h"
#include "dsl/TomlText.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace lorac::dsl {

namespace {

using Json = nlohmann::ordered_json;
using Type = SchemaKey::Type;

/// A visitor (Spec.h): writes down what there is.
class Lister {
public:
  Lister(std::vector<SchemaTable> &out, SchemaTable table) : out(out), own(std::move(table)) {}

  template <class T>
  void list(const T &table) {
    T::keys(*this, table);
    if (!own.keys.empty())
      out.push_back(std::move(own));
    out.insert(out.end(), inner.begin(), inner.end());
  }

  void operator()(const char *key, const Field<bool> &field, const About &about) {
    add(key, Type::Truth, field, about);
  }
  void operator()(const char *key, const Field<int64_t> &field, const About &about) {
    add(key, Type::Integer, field, about);
  }
  void operator()(const char *key, const Field<double> &field, const About &about) {
    add(key, Type::Number, field, about);
  }
  void operator()(const char *key, const Field<std::string> &field, const About &about) {
    add(key, Type::Text, field, about);
  }
  void operator()(const char *key, const Field<std::vector<Field<std::string>>> &field,
                  const About &about) {
    add(key, Type::Texts, field, about);
  }
  void operator()(const char *key, const Field<std::vector<Field<int64_t>>> &field,
                  const About &about) {
    add(key, Type::Integers, field, about);
  }
  void operator()(const char *key, const Field<ModuleNames> &field, const About &about) {
    add(key, Type::Texts, field, about);
  }
  void operator()(const char *key, const Field<uint64_t> &field, const About &about) {
    add(key, Type::Bytes, field, about);
  }
  void operator()(const char *key, const Field<Patterns<int64_t>> &, const About &about) {
    own.keys.push_back({key, Type::IntegersByPattern, {}, "", about});
  }
  void operator()(const char *key, const Field<Patterns<double>> &, const About &about) {
    own.keys.push_back({key, Type::NumbersByPattern, {}, "", about});
  }
  void operator()(const char *key, const Field<std::vector<ShapeEntry>> &, const About &about) {
    own.keys.push_back({key, Type::Shape, {}, "", about});
  }
  template <class E>
  void operator()(const char *key, const Field<E> &field, const About &about) {
    add(key, Type::Word, field, about);
    own.keys.back().words.assign(std::begin(Words<E>::list), std::end(Words<E>::list));
  }
  void pair(const char *key, const Field<double> &, const Field<double> &, const About &about) {
    own.keys.push_back({key, Type::Pair, {}, "", about});
  }

  template <class T>
  void table(const char *key, const T &, const About &about) {
    enter<T>(key, about, false);
  }
  template <class T>
  void table(const char *key, const std::optional<T> &, const About &about) {
    enter<T>(key, about, false);
  }
  template <class T>
  void tables(const char *key, const std::vector<T> &, const About &about) {
    enter<T>(key, about, true);
  }

private:
  template <class T>
  void add(const char *key, Type type, const Field<T> &field, const About &about) {
    const bool has = about.written && about.otherwise.empty() && !about.required;
    own.keys.push_back({key, type, {}, has ? tomlText(*field) : "", about});
  }
  template <class T>
  void enter(const char *key, const About &about, bool isList) {
    Lister(inner, {(own.name.empty() ? "" : own.name + ".") + key, isList, about, {}}).list(T{});
  }

  std::vector<SchemaTable> &out;
  SchemaTable own;
  std::vector<SchemaTable> inner;
};

std::string number(double value) {
  return std::abs(value) < 1e15 && value == std::floor(value)
             ? std::to_string(static_cast<int64_t>(value))
             : shortest(value);
}

/// "1 to 4096", "(0, 1)", "> 0"; "" where there are none.
std::string boundsText(const Bounds &b) {
  if (std::isinf(b.low))
    return "";
  if (std::isinf(b.high))
    return (b.lowIn ? "at least " : "more than ") + number(b.low);
  const std::string text = number(b.low) + " to " + number(b.high);
  if (b.kind == Bounds::Kind::PowerOfTwo)
    return "a power of two, " + text;
  return text + (b.lowIn && b.highIn ? ""
                 : b.lowIn           ? ", without " + number(b.high)
                                     : ", without either");
}

/// What it means, behind the name that it is for.
std::string meaningOf(const SchemaKey &key) {
  const std::string means(key.about.means);
  return key.about.of.empty() ? means : std::string(key.about.of) + ": " + means;
}

std::string typeText(const SchemaKey &key) {
  std::string words;
  switch (key.type) {
  case Type::Truth:
    return "true or false";
  case Type::Integer:
    return "integer";
  case Type::Integers:
    return "integer, or a list";
  case Type::IntegersByPattern:
    return "table of integers";
  case Type::Number:
    return "number";
  case Type::NumbersByPattern:
    return "table of numbers";
  case Type::Text:
    return "text";
  case Type::Texts:
    return "text, or a list";
  case Type::Pair:
    return "two numbers";
  case Type::Bytes:
    return "text, or bytes";
  case Type::Shape:
    return "table of numbers";
  case Type::Word:
    for (const std::string &word : key.words)
      words += (words.empty() ? "`" : ", `") + word + "`";
  }
  return words;
}

std::string defaultText(const SchemaKey &key) {
  if (key.about.required)
    return "none: it must be there";
  if (!key.about.otherwise.empty())
    return std::string(key.about.otherwise);
  return key.fallback.empty() ? "none" : "`" + key.fallback + "`";
}

Json typeJson(const SchemaKey &key) {
  const Json text = {{"type", "string"}};
  const bool isInteger = key.type == Type::Integer || key.type == Type::Integers ||
                         key.type == Type::IntegersByPattern;
  Json number = {{"type", isInteger ? "integer" : "number"}};
  const Bounds &b = key.about.bounds;
  if (std::isfinite(b.low))
    number[b.lowIn ? "minimum" : "exclusiveMinimum"] = Json::parse(dsl::number(b.low));
  if (std::isfinite(b.high))
    number[b.highIn ? "maximum" : "exclusiveMaximum"] = Json::parse(dsl::number(b.high));
  if (b.kind == Bounds::Kind::PowerOfTwo) {
    number["enum"] = Json::array();
    for (double power = b.low; power <= b.high; power *= 2)
      number["enum"].push_back(static_cast<int64_t>(power));
  }
  switch (key.type) {
  case Type::Truth:
    return {{"type", "boolean"}};
  case Type::Integer:
  case Type::Number:
    return number;
  case Type::Text:
    return text;
  case Type::Texts:
    return {{"anyOf", {text, {{"type", "array"}, {"items", text}, {"minItems", 1}}}}};
  case Type::Integers:
    return {{"anyOf", {number, {{"type", "array"}, {"items", number}, {"minItems", 1}}}}};
  case Type::IntegersByPattern:
  case Type::NumbersByPattern:
    return {{"type", "object"}, {"additionalProperties", number}};
  case Type::Pair:
    return {{"type", "array"}, {"items", number}, {"minItems", 2}, {"maxItems", 2}};
  case Type::Bytes:
    return {{"anyOf", {text, {{"type", "integer"}, {"minimum", 1}}}}};
  case Type::Shape:
    return {{"type", "object"}, {"additionalProperties", {{"type", {"number", "boolean"}}}}};
  case Type::Word:
    return {{"type", "string"}, {"enum", key.words}};
  }
  return text;
}

} // namespace

const std::vector<SchemaTable> &schemaOf() {
  static const std::vector<SchemaTable> tables = [] {
    std::vector<SchemaTable> out;
    Lister(out, {}).list(Spec{});
    return out;
  }();
  return tables;
}

std::string schemaMarkdown() {
  std::string out =
      "# The keys of a spec\n\n"
      "Made by `lorac schema --markdown`. A key that is left out has its default; `lorac check "
      "--effective SPEC` shows all values of a spec. An editor that\n"
      "knows JSON Schemas of TOML completes and explains keys after `lorac schema > FILE`: see "
      "[cli.md](cli.md#in-an-editor).\n";
  for (const SchemaTable &table : schemaOf()) {
    const std::string name = table.isList ? "[[" + table.name + "]]" : "[" + table.name + "]";
    out += "\n## " + name + "\n" + std::string(table.about.means) +
           (table.about.required ? "; it must be there" : "") +
           ".\n\n| key | value | default | means |\n|---|---|---|---|\n";
    for (const SchemaKey &key : table.keys) {
      const std::string bounds = boundsText(key.about.bounds);
      out += "| `" + key.name + "` | " + typeText(key) + (bounds.empty() ? "" : ", " + bounds) +
             " | " + defaultText(key) + " | " + meaningOf(key) +
             (key.about.since.empty() ? "" : " (since " + std::string(key.about.since) + ")") +
             " |\n";
    }
    if (table.name != "optimizer")
      continue;
    out += "\n| `name` | `learning_rate` | `betas` | `eps` | `min_8bit_size` |\n"
           "|---|---|---|---|---|\n";
    for (size_t i = 0; i < std::size(allOptimizerDefaults); ++i) {
      const OptimizerDefaults &d = allOptimizerDefaults[i];
      out += "| `" + std::string(Words<OptimizerName>::list[i]) + "` | " +
             shortest(d.learningRate) + " | " +
             (d.hasBetas() ? shortest(d.beta1) + ", " + shortest(d.beta2) : "") + " | " +
             (d.eps > 0 ? shortest(d.eps) : "") + " | " +
             (d.min8bitSize > 0 ? std::to_string(d.min8bitSize) : "") + " |\n";
    }
  }
  return out;
}

std::string schemaJson() {
  Json root = {{"$schema", "http://json-schema.org/draft-07/schema#"},
               {"title", "A spec of lorac"},
               {"type", "object"},
               {"additionalProperties", false},
               {"required", Json::array()},
               {"properties", Json::object()}};
  for (const SchemaTable &table : schemaOf()) {
    Json object = {{"type", "object"}, {"additionalProperties", false}};
    Json properties = Json::object(), required = Json::array();
    for (const SchemaKey &key : table.keys) {
      Json &entry = properties[key.name] = typeJson(key);
      entry["description"] = meaningOf(key);
      if (!key.fallback.empty())
        entry["default"] = Json::parse(key.fallback);
      else if (!key.about.otherwise.empty())
        entry["description"] = meaningOf(key) + ". Default: " + std::string(key.about.otherwise);
      if (key.about.required)
        required.push_back(key.name);
    }
    object["properties"] = std::move(properties);
    if (!required.empty())
      object["required"] = std::move(required);
    if (table.isList)
      object = {{"type", "array"}, {"items", std::move(object)}, {"minItems", 1}};
    object["description"] = table.about.means;
    Json *at = &root;
    std::string_view rest = table.name;
    for (size_t dot; (dot = rest.find('.')) != rest.npos; rest.remove_prefix(dot + 1))
      at = &(*at)["properties"][std::string(rest.substr(0, dot))];
    (*at)["properties"][std::string(rest)] = std::move(object);
    if (table.about.required)
      (*at)["required"].push_back(rest);
  }
  return root.dump(2) + "\n";
}

} // namespace lorac::dsl
