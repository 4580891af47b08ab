#pragma once
// Reads one TOML table key by key: types, words and keys that nobody asked for.

#include "dsl/Spec.h"
#include "dsl/Toml.h"

#include <span>
#include <utility>

namespace lorac::dsl {

/// What every reader of one spec shares.
struct ReadContext {
  Diagnostics &diags;
  std::string what = "a spec";
  /// Full names of every key of a spec, for suggestions; empty: no spec is read.
  std::vector<std::string> allKeys{};
};

class TableReader {
public:
  /// `table` may be null: every field keeps its default. `name` is "adapter" or "adapter.loraplus".
  TableReader(const TomlValue *table, std::string name, ReadContext &context);

  void boolean(std::string_view key, Field<bool> &field);
  void integer(std::string_view key, Field<int64_t> &field);
  void number(std::string_view key, Field<double> &field);
  void string(std::string_view key, Field<std::string> &field);
  /// A string or an array of strings.
  void strings(std::string_view key, Field<std::vector<Field<std::string>>> &field);
  /// An integer or an array of integers.
  void integers(std::string_view key, Field<std::vector<Field<int64_t>>> &field);

  /// One of the words that `toString` knows.
  template <class E>
  void word(std::string_view key, Field<E> &field, std::span<const E> values) {
    std::vector<std::string> words;
    for (E value : values)
      words.emplace_back(toString(value));
    Field<std::string> text;
    string(key, text);
    if (!text.given())
      return;
    int index = text.refused ? -1 : indexOf(key, text, words);
    field = {index >= 0 ? values[size_t(index)] : field.value, text.range, index < 0};
  }
  template <class E>
  void word(std::string_view key, Field<E> &field, std::initializer_list<E> values) {
    word(key, field, std::span<const E>(values.begin(), values.size()));
  }

  /// The value whatever its type; null when absent.
  const TomlEntry *any(std::string_view key);
  /// A table; null when absent or something else (then reported).
  const TomlValue *table(std::string_view key);
  /// The tables of `[[name.key]]`; a value of another kind is reported.
  std::vector<const TomlValue *> tables(std::string_view key);

  /// Reports keys that nobody asked for.
  void finish();

  std::string full(std::string_view key) const;
  SourceRange range() const { return source ? source->range : SourceRange{}; }

private:
  template <class T>
  void list(std::string_view key, Field<std::vector<Field<T>>> &field, TomlValue::Kind kind,
            T TomlValue::*member, std::string_view expected);
  int indexOf(std::string_view key, const Field<std::string> &text,
              std::span<const std::string> words);
  std::string elsewhere(const std::string &key) const;
  void wrongType(std::string_view key, const TomlValue &value, std::string_view expected);
  template <class T>
  void refuse(std::string_view key, const TomlValue &value, std::string_view expected,
              Field<T> &field) {
    field.range = value.range;
    field.refused = true;
    wrongType(key, value, expected);
  }

  const TomlValue *source;
  std::string name;
  ReadContext &context;
  std::vector<std::string> asked;
};

} // namespace lorac::dsl
