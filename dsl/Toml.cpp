#include "dsl/Toml.h"

#include "dsl/Text.h"

#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sys/stat.h>

namespace lorac::dsl {

namespace {

using File = std::shared_ptr<const SourceFile>;

constexpr size_t MaxFileBytes = size_t(16) << 20;
constexpr size_t MaxKeyParts = 32;

SourceRange rangeOf(const File &file, const toml::source_region &region) {
  return {file, region.begin.line, region.begin.column, region.end.line, region.end.column};
}

// A point in the text: ranges that end where they begin cover one character.
SourceRange pointOf(const File &file, const toml::source_position &at) {
  return {file, at.line, at.column, at.line, at.column + 1};
}

TomlValue convert(const File &file, const toml::node &node);

std::vector<TomlEntry> convertEntries(const File &file, const toml::table &table) {
  std::vector<TomlEntry> entries;
  for (auto &&[key, value] : table)
    entries.push_back({std::string(key.str()), rangeOf(file, key.source()), convert(file, value)});
  // toml++ keeps keys sorted by name.
  std::stable_sort(entries.begin(), entries.end(), [](const TomlEntry &a, const TomlEntry &b) {
    return std::tie(a.keyRange.beginLine, a.keyRange.beginColumn) <
           std::tie(b.keyRange.beginLine, b.keyRange.beginColumn);
  });
  return entries;
}

// Recursion is bounded: toml++ refuses 256 nested values, checkKeys more than MaxKeyParts parts of
// a key.
TomlValue convert(const File &file, const toml::node &node) {
  TomlValue out;
  out.range = rangeOf(file, node.source());
  switch (node.type()) {
  case toml::node_type::boolean:
    out.kind = TomlValue::Kind::Boolean;
    out.boolean = node.as_boolean()->get();
    break;
  case toml::node_type::integer:
    out.kind = TomlValue::Kind::Integer;
    out.integer = node.as_integer()->get();
    break;
  case toml::node_type::floating_point:
    out.kind = TomlValue::Kind::Float;
    out.number = node.as_floating_point()->get();
    break;
  case toml::node_type::string:
    out.kind = TomlValue::Kind::String;
    out.text = node.as_string()->get();
    break;
  case toml::node_type::array:
    out.kind = TomlValue::Kind::Array;
    for (const toml::node &element : *node.as_array())
      out.elements.push_back(convert(file, element));
    break;
  case toml::node_type::table:
    out.kind = TomlValue::Kind::Table;
    out.entries = convertEntries(file, *node.as_table());
    break;
  default:
    out.kind = TomlValue::Kind::Time;
  }
  return out;
}

// toml++ builds and frees `a.a.a…` by recursion; such keys are refused before it sees them. Skips
// strings and comments; anything malformed is left for toml++ to word.
bool checkKeys(const File &file, Diagnostics &diags) {
  const std::string &text = file->text;
  size_t dots = 0;
  uint32_t line = 1;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '\n')
      ++line;
    if (c == '"' || c == '\'') {
      bool triple = text.compare(i, 3, std::string(3, c)) == 0;
      for (i += triple ? 3 : 1; i < text.size(); ++i) {
        line += text[i] == '\n';
        if (c == '"' && text[i] == '\\')
          line += ++i < text.size() && text[i] == '\n';
        else if (triple ? text.compare(i, 3, std::string(3, c)) == 0
                        : text[i] == c || text[i] == '\n')
          break;
      }
      if (triple)
        i += 2;
    } else if (c == '#') {
      while (i + 1 < text.size() && text[i + 1] != '\n')
        ++i;
    } else if (std::strchr("\n=,[]{}", c)) {
      dots = 0;
    } else if (c == '.' && ++dots >= MaxKeyParts) {
      diags.error({file, line, 1, line, 2},
                  "a key has more than " + std::to_string(MaxKeyParts) + " parts");
      return false;
    }
  }
  return true;
}

// "Error while parsing key-value pair: encountered end-of-file" -> our form of a message.
std::string reword(std::string_view description) {
  std::string text(description);
  if (size_t colon = text.find(": ");
      text.starts_with("Error while parsing ") && colon != std::string::npos)
    text = text.substr(colon + 2) + " (in a " + text.substr(20, colon - 20) + ")";
  if (size_t macro = text.find(" (TOML_"); macro != std::string::npos)
    text.erase(macro, text.find(')', macro) - macro + 1);
  if (!text.empty())
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return printable("not TOML: " + text, 300);
}

} // namespace

const TomlEntry *TomlValue::find(std::string_view key) const {
  return const_cast<TomlValue *>(this)->find(key);
}

TomlEntry *TomlValue::find(std::string_view key) {
  for (TomlEntry &entry : entries)
    if (entry.key == key)
      return &entry;
  return nullptr;
}

bool TomlValue::isTableArray() const {
  return kind == Kind::Array && !elements.empty() &&
         std::all_of(elements.begin(), elements.end(),
                     [](const TomlValue &v) { return v.isTable(); });
}

std::string TomlValue::describe() const {
  switch (kind) {
  case Kind::Boolean:
    return boolean ? "true" : "false";
  case Kind::Integer:
    return std::to_string(integer);
  case Kind::Float: {
    std::string shown = shortest(number);
    return shown.find_first_of(".en") == std::string::npos ? shown + ".0" : shown;
  }
  case Kind::String:
    return "the string \"" + printable(text) + "\"";
  case Kind::Time:
    return "a date or time";
  case Kind::Array:
    return "an array";
  case Kind::Table:
    return "a table";
  }
  return {};
}

std::optional<TomlValue> parseToml(const File &file, Diagnostics &diags) {
  uint32_t line, column;
  if (!isUtf8(file->text, line, column)) {
    diags.error({file, line, column, line, column + 1}, "not UTF-8 text");
    return std::nullopt;
  }
  if (!checkKeys(file, diags))
    return std::nullopt;
  toml::parse_result parsed =
      toml::parse(std::string_view(file->text), std::string_view(file->path));
  if (!parsed) {
    const toml::parse_error &error = parsed.error();
    diags.error(pointOf(file, error.source().begin), reword(error.description()));
    return std::nullopt;
  }
  TomlValue root;
  root.range = {file, 1, 1, 1, 1};
  root.entries = convertEntries(file, parsed.table());
  return root;
}

static void setRange(TomlValue &value, const SourceRange &range) {
  value.range = range;
  for (TomlValue &element : value.elements)
    setRange(element, range);
  for (TomlEntry &entry : value.entries) {
    entry.keyRange = range;
    setRange(entry.value, range);
  }
}

std::optional<TomlValue> parseTomlValue(const std::string &text, const File &file) {
  TomlValue out;
  Diagnostics ignored;
  std::optional<TomlValue> table;
  if (text.find_first_of("\r\n") == std::string::npos)
    table = parseToml(std::make_shared<SourceFile>("value", "v = " + text), ignored);
  if (table && table->entries.size() == 1 && table->entries[0].key == "v") {
    out = std::move(table->entries[0].value);
  } else {
    // Not a value: a bare word, unless it began like something else.
    uint32_t line, column;
    if (!text.empty() && (std::strchr("\"'[{", text[0]) || !isUtf8(text, line, column)))
      return std::nullopt;
    out.kind = TomlValue::Kind::String;
    out.text = text;
  }
  setRange(out, {file, 1, 1, 1, 1});
  return out;
}

File readSource(const std::string &path, Diagnostics &diags) {
  auto fail = [&](const std::string &why) {
    diags.error({std::make_shared<SourceFile>(path, ""), 0, 0, 0, 0},
                "cannot read the file: " + why);
    return nullptr;
  };
  struct stat info;
  if (stat(path.c_str(), &info) != 0)
    return fail(std::strerror(errno));
  if (S_ISDIR(info.st_mode))
    return fail("it is a folder");
  std::ifstream in(path, std::ios::binary);
  if (!in)
    return fail(std::strerror(errno));
  std::string text;
  char buffer[65536];
  while (in.read(buffer, sizeof buffer) || in.gcount() > 0) {
    text.append(buffer, static_cast<size_t>(in.gcount()));
    if (text.size() > MaxFileBytes)
      return fail("it is larger than 16 MiB");
  }
  if (in.bad())
    return fail("input error");
  return std::make_shared<SourceFile>(path, std::move(text));
}

} // namespace lorac::dsl
