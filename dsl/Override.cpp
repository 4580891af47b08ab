#include "dsl/Override.h"

#include <algorithm>
#include <cctype>

namespace lorac::dsl {

namespace {

std::vector<std::string> splitKey(const std::string &key) {
  std::vector<std::string> parts(1);
  for (char c : key) {
    if (c == '.')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

// The table of an array that "0", a name or nothing (when there is one) stands for; `used` says
// whether the part was one.
TomlValue *chooseTable(TomlValue &array, const std::string &part, bool &used) {
  used = true;
  bool digits =
      !part.empty() && part.size() < 6 &&
      std::all_of(part.begin(), part.end(), [](unsigned char c) { return std::isdigit(c); });
  if (digits) {
    size_t index = std::stoul(part);
    return index < array.elements.size() ? &array.elements[index] : nullptr;
  }
  for (TomlValue &element : array.elements)
    if (const TomlEntry *name = element.find("name"); name && name->value.text == part)
      return &element;
  used = false;
  return array.elements.size() == 1 ? &array.elements[0] : nullptr;
}

} // namespace

std::optional<Override> parseOverride(const std::string &flag, Diagnostics &diags) {
  std::string shown = "--set " + printable(flag);
  size_t equals = flag.find('=');
  std::string key = flag.substr(0, equals);
  auto space = [](unsigned char c) { return std::isspace(c); };
  key.erase(std::remove_if(key.begin(), key.end(), space), key.end());
  if (equals == std::string::npos || key.empty()) {
    diags.error({std::make_shared<SourceFile>(shown, flag, Origin::Flag), 1, 1, 1, 1},
                "expected KEY=VALUE, as in --set adapter.r=8");
    return std::nullopt;
  }
  return Override{key, flag.substr(equals + 1), Origin::Flag, shown};
}

void applyOverride(TomlValue &root, const Override &override, Diagnostics &diags) {
  auto file = std::make_shared<SourceFile>(override.shown, override.key + "=" + override.value,
                                           override.origin);
  SourceRange range{file, 1, 1, 1, 1};
  std::optional<TomlValue> value = parseTomlValue(override.value, file);
  if (!value) {
    diags.error(range,
                "the value is not TOML: write a number, true, a word, \"text\" or [a, list]");
    return;
  }
  std::vector<std::string> parts = splitKey(override.key);
  if (parts.size() > 8 ||
      std::any_of(parts.begin(), parts.end(), [](auto &p) { return p.empty(); })) {
    diags.error(range,
                "'" + printable(override.key) + "' is no key: write TABLE.KEY, as in adapter.r");
    return;
  }
  TomlValue *at = &root;
  std::string path;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (at->kind == TomlValue::Kind::Array && at->isTableArray()) {
      bool used;
      TomlValue *chosen = chooseTable(*at, parts[i], used);
      if (!chosen) {
        diags.error(range, "'" + path + "' has " + std::to_string(at->elements.size()) +
                               " tables, none of them '" + printable(parts[i]) + "': write " +
                               path + ".0." + printable(parts.back()));
        return;
      }
      at = chosen;
      if (used) {
        path += "." + parts[i];
        if (i + 1 == parts.size()) {
          diags.error(range, "'" + path + "' is a table: name one of its keys");
          return;
        }
        continue;
      }
    }
    if (!at->isTable()) {
      diags.error(range, "'" + path + "' is not a table");
      return;
    }
    path += (path.empty() ? "" : ".") + parts[i];
    TomlEntry *entry = at->find(parts[i]);
    if (!entry) {
      TomlValue empty;
      empty.range = range;
      at->entries.push_back({parts[i], range, empty});
      entry = &at->entries.back();
    }
    if (i + 1 == parts.size()) {
      entry->keyRange = range;
      entry->value = *value;
      return;
    }
    at = &entry->value;
  }
}

} // namespace lorac::dsl
