#include "dsl/Parse.h"

#include "dsl/Check.h"
#include "dsl/Override.h"
#include "dsl/Schema.h"
#include "dsl/TableReader.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>

namespace lorac::dsl {

namespace {

// "2 GiB", "512MiB", "1.5 GB", or a number of bytes.
std::optional<uint64_t> parseBytes(std::string_view text) {
  double amount = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), amount);
  if (error != std::errc())
    return std::nullopt;
  std::string_view unit = text.substr(end - text.data());
  while (unit.starts_with(' '))
    unit.remove_prefix(1);
  static constexpr std::pair<std::string_view, double> units[] = {
      {"", 1},     {"B", 1},    {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40},
      {"KB", 1e3}, {"kB", 1e3}, {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12}};
  for (auto [word, factor] : units)
    if (unit == word && amount > 0 && amount * factor < 0x1p62)
      return static_cast<uint64_t>(amount * factor);
  return std::nullopt;
}

/// A visitor (Spec.h): takes each key's value from the TOML.
class SpecReader {
public:
  SpecReader(const TomlValue *source, std::string name, ReadContext &context)
      : toml(source, std::move(name), context), context(context) {}

  template <class T>
  void read(T &into) {
    T::keys(*this, into);
    toml.finish();
  }

  void operator()(const char *key, Field<bool> &field, const About &) { toml.boolean(key, field); }
  void operator()(const char *key, Field<int64_t> &field, const About &) {
    toml.integer(key, field);
  }
  void operator()(const char *key, Field<double> &field, const About &) { toml.number(key, field); }
  void operator()(const char *key, Field<std::string> &field, const About &) {
    toml.string(key, field);
  }
  void operator()(const char *key, Field<std::vector<Field<std::string>>> &field, const About &) {
    toml.strings(key, field);
  }
  void operator()(const char *key, Field<std::vector<Field<int64_t>>> &field, const About &) {
    toml.integers(key, field);
  }
  void operator()(const char *key, Field<ModuleNames> &field, const About &) {
    Field<std::vector<Field<std::string>>> texts;
    toml.strings(key, texts);
    if (!texts.given())
      return;
    const bool isList = !toml.any(key)->value.isString();
    field = {{std::move(texts.value), isList}, texts.range, texts.refused};
  }
  template <class T>
  void operator()(const char *key, Field<Patterns<T>> &field, const About &) {
    const TomlValue *table = toml.table(key);
    if (!table)
      return;
    field.range = table->range;
    for (const TomlEntry &entry : table->entries) {
      const TomlValue &value = entry.value;
      const bool isInteger = value.kind == TomlValue::Kind::Integer;
      PatternEntry<T> read{entry.key, entry.keyRange, {}};
      if (isInteger)
        read.value = {static_cast<T>(value.integer), value.range};
      else if (value.kind == TomlValue::Kind::Float && std::is_floating_point_v<T>)
        read.value = {static_cast<T>(value.number), value.range};
      else if (value.isTable()) {
        context.diags.error(entry.keyRange, "'" + printable(entry.key) + "' in '" + toml.full(key) +
                                                "' is a table: put quotes around a pattern that "
                                                "has dots, as in \"mlp.up_proj\" = 4");
        continue;
      } else {
        mustBe(key + ("." + printable(entry.key)), value,
               std::is_floating_point_v<T> ? "a number" : "an integer");
        continue;
      }
      field.value.push_back(std::move(read));
    }
  }
  template <class E>
  void operator()(const char *key, Field<E> &field, const About &) {
    E values[std::size(Words<E>::list)];
    for (size_t i = 0; i < std::size(values); ++i)
      values[i] = static_cast<E>(i);
    toml.word(key, field, std::span<const E>(values));
  }

  void operator()(const char *key, Field<uint64_t> &field, const About &) {
    const TomlEntry *entry = toml.any(key);
    if (!entry)
      return;
    const TomlValue &value = entry->value;
    std::optional<uint64_t> bytes;
    if (value.isString())
      bytes = parseBytes(value.text);
    else if (value.kind == TomlValue::Kind::Integer && value.integer > 0)
      bytes = static_cast<uint64_t>(value.integer);
    if (bytes)
      field = {*bytes, value.range};
    else
      mustBe(key, value, "an amount as in \"2 GiB\" or \"512 MiB\"");
  }

  void operator()(const char *key, Field<std::vector<ShapeEntry>> &field, const About &) {
    const TomlValue *shape = toml.table(key);
    if (!shape)
      return;
    field.range = shape->range;
    for (const TomlEntry &entry : shape->entries) {
      ShapeEntry symbol{entry.key, {}, entry.keyRange, entry.value.range};
      const TomlValue &value = entry.value;
      if (value.kind == TomlValue::Kind::Integer)
        symbol.value = value.integer;
      else if (value.kind == TomlValue::Kind::Float)
        symbol.value = value.number;
      else if (value.kind == TomlValue::Kind::Boolean)
        symbol.value = value.boolean;
      else {
        mustBe(key + ("." + printable(entry.key)), value, "a number, true or false");
        continue;
      }
      field.value.push_back(std::move(symbol));
    }
  }

  void pair(const char *key, Field<double> &first, Field<double> &second, const About &) {
    const TomlEntry *entry = toml.any(key);
    if (!entry)
      return;
    const TomlValue &value = entry->value;
    auto isNumber = [](const TomlValue &v) {
      return v.kind == TomlValue::Kind::Integer || v.kind == TomlValue::Kind::Float;
    };
    auto field = [](const TomlValue &v) {
      bool integer = v.kind == TomlValue::Kind::Integer;
      return Field<double>{integer ? static_cast<double>(v.integer) : v.number, v.range};
    };
    if (value.kind == TomlValue::Kind::Array && value.elements.size() == 2 &&
        isNumber(value.elements[0]) && isNumber(value.elements[1]))
      first = field(value.elements[0]), second = field(value.elements[1]);
    else
      mustBe(key, value, "two numbers, as in [0.9, 0.999]");
  }

  template <class T>
  void table(const char *key, T &into, const About &) {
    if (const TomlValue *value = toml.table(key))
      readTable(key, *value, into);
  }
  template <class T>
  void table(const char *key, std::optional<T> &into, const About &) {
    if (const TomlValue *value = toml.table(key))
      readTable(key, *value, into.emplace());
  }
  template <class T>
  void tables(const char *key, std::vector<T> &into, const About &) {
    for (const TomlValue *value : toml.tables(key))
      readTable(key, *value, into.emplace_back());
  }

private:
  template <class T>
  void readTable(const char *key, const TomlValue &value, T &into) {
    into.range = value.range;
    SpecReader(&value, toml.full(key), context).read(into);
  }

  void mustBe(const std::string &key, const TomlValue &value, const std::string &what) {
    context.diags.error(value.range,
                        "'" + toml.full(key) + "' must be " + what + ", got " + value.describe());
  }

  TableReader toml;
  ReadContext &context;
};

} // namespace

std::vector<EnvironmentKey> environmentKeys() {
  std::vector<EnvironmentKey> out;
  for (const SchemaTable &table : schemaOf())
    for (const SchemaKey &key : table.keys) {
      if (table.isList || key.type == SchemaKey::Type::Shape)
        continue;
      std::string name = "LORAC_" + table.name + "_" + key.name;
      for (char &c : name)
        c = c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      out.push_back({table.name + "." + key.name, name});
    }
  return out;
}

std::vector<Override> environmentOverrides(const std::function<const char *(const char *)> &get) {
  std::vector<Override> out;
  for (const auto &[key, name] : environmentKeys())
    if (const char *value = get(name.c_str()); value && *value)
      out.push_back({key, value, Origin::Environment, name});
  return out;
}

Spec parseSpec(const std::string &path, std::string text, const std::vector<Override> &overrides,
               Diagnostics &diags) {
  Spec spec;
  std::error_code ignored;
  std::filesystem::path at(path);
  spec.path = path;
  spec.name = at.stem().string();
  spec.directory = std::filesystem::absolute(at, ignored).parent_path().lexically_normal().string();
  spec.file = std::make_shared<SourceFile>(path, std::move(text));
  std::optional<TomlValue> root = parseToml(spec.file, diags);
  if (!root)
    return spec;
  for (const Override &override : overrides)
    applyOverride(*root, override, diags);
  ReadContext context{diags, "a spec"};
  for (const SchemaTable &table : schemaOf())
    for (const SchemaKey &key : table.keys)
      if (key.type != SchemaKey::Type::Shape)
        context.allKeys.push_back(table.name + "." + key.name);
  if (!root->find("data"))
    diags.error(root->range, "no [[data]] table: name what to train on, with path = \"FILE.txt\"");
  SpecReader(&*root, "", context).read(spec);
  checkSpec(spec, diags);
  return spec;
}

Spec loadSpec(const std::string &path, const std::vector<Override> &overrides, Diagnostics &diags) {
  std::shared_ptr<const SourceFile> file = readSource(path, diags);
  return file ? parseSpec(path, file->text, overrides, diags) : Spec{};
}

} // namespace lorac::dsl
