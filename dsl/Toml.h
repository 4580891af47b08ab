#pragma once
// TOML as a tree that keeps ranges and the order of the text. Toml.cpp is the only file that
// includes toml++.

#include "dsl/Diagnostics.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lorac::dsl {

struct TomlEntry;

struct TomlValue {
  enum class Kind { Boolean, Integer, Float, String, Time, Array, Table };
  Kind kind = Kind::Table;
  SourceRange range; ///< of the value; of the header `[a.b]` for a table
  bool boolean = false;
  int64_t integer = 0;
  double number = 0;               ///< Float
  std::string text;                ///< String
  std::vector<TomlValue> elements; ///< Array
  std::vector<TomlEntry> entries;  ///< Table, in the order of the text

  const TomlEntry *find(std::string_view key) const;
  TomlEntry *find(std::string_view key);
  bool isTable() const { return kind == Kind::Table; }
  bool isString() const { return kind == Kind::String; }
  /// An array that holds nothing but tables, and at least one.
  bool isTableArray() const;
  /// The value for a message: `the string "8"`, `1.5`, `an array`.
  std::string describe() const;
};

struct TomlEntry {
  std::string key;
  SourceRange keyRange;
  TomlValue value;
};

/// The whole file as a table. A syntax error (only the first: a parser cannot know what was meant
/// after it) is in `diags`.
std::optional<TomlValue> parseToml(const std::shared_ptr<const SourceFile> &file,
                                   Diagnostics &diags);

/// One value as it may stand after `key =`; a bare word is a string. Nothing if it is neither.
/// Ranges are all of `file`.
std::optional<TomlValue> parseTomlValue(const std::string &text,
                                        const std::shared_ptr<const SourceFile> &file);

/// Reads a file as text; an error names it.
std::shared_ptr<const SourceFile> readSource(const std::string &path, Diagnostics &diags);

} // namespace lorac::dsl
