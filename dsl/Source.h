#pragma once
// Where a value came from: a file (or one --set flag), and a range of it.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lorac::dsl {

/// Who set a value; a later one wins over an earlier one. Model: a model's own file (config.json,
/// GGUF metadata).
enum class Origin { Default, Model, Spec, Environment, Flag };

/// One text that can be pointed at: a TOML file, a `--set` flag or an environment variable.
struct SourceFile {
  /// As shown to the user: "specs/a.toml", "--set adapter.r=8", "LORAC_ADAPTER_R".
  std::string path;
  std::string text;
  Origin origin = Origin::Spec;

  SourceFile(std::string shownPath, std::string content, Origin setBy = Origin::Spec)
      : path(std::move(shownPath)), text(std::move(content)), origin(setBy) {
    if (text.starts_with("\xEF\xBB\xBF")) // a byte order mark is no column
      text.erase(0, 3);
    starts.push_back(0);
    for (size_t i = 0; i < text.size(); ++i)
      if (text[i] == '\n')
        starts.push_back(i + 1);
  }
  /// The text of a line (1-based) without its end; empty beyond the last.
  std::string_view line(uint32_t number) const;
  uint32_t lines() const { return static_cast<uint32_t>(starts.size()); }

private:
  std::vector<size_t> starts;
};

/// Lines and columns count from 1; columns count code points; the end is one past the last
/// character.
struct SourceRange {
  std::shared_ptr<const SourceFile> file; ///< null: a default, no place
  uint32_t beginLine = 0, beginColumn = 0, endLine = 0, endColumn = 0;

  explicit operator bool() const { return file != nullptr; }
  /// "specs/a.toml:8:1", the flag itself, or "default".
  std::string str() const;
};

} // namespace lorac::dsl
