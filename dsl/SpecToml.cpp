// The effective spec as TOML for people: every value, and who set it.

#include "dsl/Files.h"
#include "dsl/SpecJson.h"
#include "dsl/Text.h"
#include "dsl/TomlText.h"

namespace lorac::dsl {

std::string tomlText(bool value) { return value ? "true" : "false"; }
std::string tomlText(int64_t value) { return std::to_string(value); }
std::string tomlText(uint64_t value) { return std::to_string(value); }

std::string tomlText(double value) {
  std::string text = shortest(value);
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

std::string tomlText(std::string_view value) {
  static const char *hex = "0123456789ABCDEF";
  std::string out = "\"";
  for (char c : value) {
    unsigned char byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      out += std::string("\\") + c;
    else if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (byte < 0x20 || byte == 0x7F)
      out += std::string("\\u00") + hex[byte >> 4] + hex[byte & 15];
    else
      out += c;
  }
  return out + "\"";
}

template <class T>
static std::string listText(const std::vector<Field<T>> &values) {
  std::string out;
  for (const Field<T> &value : values)
    out += (out.empty() ? "" : ", ") + tomlText(*value);
  return "[" + out + "]";
}

std::string tomlText(const std::vector<Field<std::string>> &values) { return listText(values); }
std::string tomlText(const std::vector<Field<int64_t>> &values) { return listText(values); }

std::string tomlText(const ModuleNames &names) {
  return names.isList || names.texts.empty() ? listText(names.texts) : tomlText(*names.texts[0]);
}

namespace {

/// A visitor (Spec.h): a line a key, then the tables within.
class TomlWriter {
public:
  TomlWriter(const Spec &spec, std::string name) : spec(spec), name(std::move(name)) {}

  template <class T>
  std::string write(const T &table) {
    T::keys(*this, table);
    return out + inner;
  }

  template <class T>
  void operator()(const char *key, const Field<T> &field, const About &about) {
    if (!isWritten(about))
      return;
    if constexpr (std::is_same_v<T, std::vector<ShapeEntry>>) {
      inner += "\n[" + name + "." + key + "]\n";
      for (const ShapeEntry &entry : *field)
        std::visit(
            [&](const auto &value) { inner += line(entry.key, tomlText(value), entry.range); },
            entry.value);
    } else if constexpr (std::is_same_v<T, std::string>) {
      out += line(key, tomlText(about.isPath ? spec.resolve(*field) : *field), field.range);
    } else if constexpr (std::is_same_v<T, std::vector<Field<std::string>>>) {
      T list = *field;
      if (about.isPath)
        for (Field<std::string> &path : list)
          path.value = dataPattern(spec, *path);
      out += line(key, tomlText(list), field.range);
    } else {
      out += line(key, tomlText(*field), field.range);
    }
  }
  template <class T>
  void operator()(const char *key, const Field<Patterns<T>> &field, const About &about) {
    if (!isWritten(about))
      return;
    inner += "\n[" + name + "." + key + "]\n";
    for (const PatternEntry<T> &entry : *field)
      inner += line(tomlText(entry.pattern), tomlText(*entry.value), entry.value.range);
  }
  void pair(const char *key, const Field<double> &first, const Field<double> &second,
            const About &about) {
    if (isWritten(about))
      out += line(key, "[" + tomlText(*first) + ", " + tomlText(*second) + "]", first.range);
  }

  template <class T>
  void table(const char *key, const T &table, const About &about) {
    if (isWritten(about))
      enter(key, "[", "]", table);
  }
  template <class T>
  void table(const char *key, const std::optional<T> &table, const About &about) {
    if (isWritten(about) && table)
      enter(key, "[", "]", *table);
  }
  template <class T>
  void tables(const char *key, const std::vector<T> &tables, const About &) {
    for (const T &table : tables)
      enter(key, "[[", "]]", table);
  }

private:
  static bool isWritten(const About &about) { return about.written && about.inToml; }

  template <class T>
  void enter(const char *key, const char *open, const char *close, const T &table) {
    const std::string full = (name.empty() ? "" : name + ".") + key;
    inner += "\n" + (open + full) + close + "\n" + TomlWriter(spec, full).write(table);
  }

  static std::string line(const std::string &key, const std::string &text,
                          const SourceRange &range) {
    std::string line = key + " = " + text;
    if (range)
      line += std::string(line.size() < 40 ? 40 - line.size() : 1, ' ') + "# " + range.str();
    return line + "\n";
  }

  const Spec &spec;
  std::string name, out, inner;
};

} // namespace

std::string toToml(const Spec &spec) { return TomlWriter(spec, "").write(spec).substr(1); }

} // namespace lorac::dsl
