#include "dsl/TableReader.h"

#include "dsl/Words.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace lorac::dsl {

TableReader::TableReader(const TomlValue *table, std::string tableName, ReadContext &shared)
    : source(table), name(std::move(tableName)), context(shared) {}

std::string TableReader::full(std::string_view key) const {
  return name.empty() ? std::string(key) : name + "." + std::string(key);
}

const TomlEntry *TableReader::any(std::string_view key) {
  asked.emplace_back(key);
  return source ? source->find(key) : nullptr;
}

// Such a number is not TOML, and so a flag's or a variable's came as a word.
static bool isBeyond64Bits(const TomlValue &value) {
  if (!value.isString() || !value.range || value.range.file->origin == Origin::Spec)
    return false;
  errno = 0;
  char *end = nullptr;
  (void)std::strtoll(value.text.c_str(), &end, 10);
  return errno == ERANGE && *end == 0;
}

void TableReader::wrongType(std::string_view key, const TomlValue &value,
                            std::string_view expected) {
  if (isBeyond64Bits(value)) {
    context.diags.error(value.range,
                        "the integer " + printable(value.text) + " has more than 64 bits");
    return;
  }
  context.diags.error(value.range, "'" + full(key) + "' must be " + std::string(expected) +
                                       ", got " + value.describe());
}

void TableReader::boolean(std::string_view key, Field<bool> &field) {
  const TomlEntry *entry = any(key);
  if (!entry)
    return;
  if (entry->value.kind != TomlValue::Kind::Boolean)
    return refuse(key, entry->value, "true or false", field);
  field = {entry->value.boolean, entry->value.range};
}

void TableReader::integer(std::string_view key, Field<int64_t> &field) {
  const TomlEntry *entry = any(key);
  if (!entry)
    return;
  if (entry->value.kind != TomlValue::Kind::Integer)
    return refuse(key, entry->value, "an integer", field);
  field = {entry->value.integer, entry->value.range};
}

void TableReader::number(std::string_view key, Field<double> &field) {
  const TomlEntry *entry = any(key);
  if (!entry)
    return;
  if (entry->value.kind == TomlValue::Kind::Integer)
    field = {static_cast<double>(entry->value.integer), entry->value.range};
  else if (entry->value.kind == TomlValue::Kind::Float)
    field = {entry->value.number, entry->value.range};
  else
    refuse(key, entry->value, "a number", field);
}

void TableReader::string(std::string_view key, Field<std::string> &field) {
  const TomlEntry *entry = any(key);
  if (!entry)
    return;
  if (!entry->value.isString())
    return refuse(key, entry->value, "a string", field);
  field = {entry->value.text, entry->value.range};
}

void TableReader::strings(std::string_view key, Field<std::vector<Field<std::string>>> &field) {
  const TomlEntry *entry = any(key);
  if (!entry)
    return;
  const TomlValue &value = entry->value;
  field.value.clear();
  field.range = value.range;
  if (value.isString()) {
    field.value.push_back({value.text, value.range});
    return;
  }
  if (value.kind != TomlValue::Kind::Array)
    return refuse(key, value, "a string or an array of strings", field);
  if (value.elements.empty())
    context.diags.error(value.range, "'" + full(key) + "' is an empty array: name at least one");
  for (const TomlValue &element : value.elements) {
    if (element.isString())
      field.value.push_back({element.text, element.range});
    else
      wrongType(key, element, "a string or an array of strings");
  }
}

const TomlValue *TableReader::table(std::string_view key) {
  const TomlEntry *entry = any(key);
  if (!entry)
    return nullptr;
  if (entry->value.isTable())
    return &entry->value;
  if (entry->value.isTableArray())
    context.diags.error(entry->value.range,
                        "'" + full(key) + "' is one table: write [" + full(key) + "]");
  else
    wrongType(key, entry->value, "a table");
  return nullptr;
}

std::vector<const TomlValue *> TableReader::tables(std::string_view key) {
  std::vector<const TomlValue *> out;
  const TomlEntry *entry = any(key);
  if (!entry)
    return out;
  if (!entry->value.isTableArray()) {
    context.diags.error(entry->value.range,
                        "'" + full(key) + "' is a list of tables: write [[" + full(key) + "]]");
    return out;
  }
  for (const TomlValue &element : entry->value.elements)
    out.push_back(&element);
  return out;
}

int TableReader::indexOf(std::string_view key, const Field<std::string> &text,
                         std::span<const std::string> words) {
  auto it = std::find(words.begin(), words.end(), text.value);
  if (it != words.end())
    return static_cast<int>(it - words.begin());
  if (isLaterValue(full(key), text.value)) {
    context.diags.error(text.range,
                        full(key) + " = \"" + text.value + "\" is known, not in this version");
    return -1;
  }
  std::string list;
  for (const std::string &word : words)
    list += (list.empty() ? "" : ", ") + word;
  const std::string ours = ourValue(full(key), text.value);
  context.diags
      .error(text.range, "'" + full(key) + "' must be one of " + list + "; got \"" +
                             printable(text.value) + "\"")
      .suggest(ours.empty() ? nearest(text.value, words) : ours);
  return -1;
}

// A key of ours that stands in another table.
std::string TableReader::elsewhere(const std::string &key) const {
  for (const std::string &candidate : context.allKeys)
    if (candidate.ends_with("." + key))
      return candidate;
  return {};
}

void TableReader::finish() {
  if (!source)
    return;
  for (const TomlEntry &entry : source->entries) {
    if (std::find(asked.begin(), asked.end(), entry.key) != asked.end())
      continue;
    bool isTable = entry.value.isTable() || entry.value.isTableArray();
    std::string where = name.empty() ? " of " + context.what : " in [" + name + "]";
    std::string shown = "'" + printable(entry.key) + "'";
    const ForeignWord *foreign = context.allKeys.empty() ? nullptr : foreignKey(entry.key);
    if (foreign && foreign->ours.empty()) {
      context.diags.error(entry.keyRange, shown + " is known, not in this version");
      continue;
    }
    Diagnostic &error = context.diags.error(
        entry.keyRange, std::string(isTable ? "unknown table " : "unknown key ") + shown + where);
    std::string near = nearest(entry.key, asked);
    std::string ours = foreign ? std::string(foreign->ours) : elsewhere(entry.key);
    if (!ours.empty()) // within the table its own key is enough
      near = ours.starts_with(name + ".") ? ours.substr(name.size() + 1) : ours;
    error.suggest(near);
    if (near.empty()) {
      std::string list;
      for (const std::string &key : asked)
        list += (list.empty() ? "" : ", ") + key;
      error.note((name.empty() ? "keys of " + context.what + ": " : "keys of [" + name + "]: ") +
                 list);
    }
  }
}

} // namespace lorac::dsl
