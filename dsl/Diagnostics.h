#pragma once
// All messages about a text that a user wrote: collected, ordered, and rendered once.

#include "dsl/Source.h"

#include <span>
#include <string>
#include <vector>

namespace lorac::dsl {

enum class Severity { Error, Warning };

/// A second place that explains an error; the range may be empty.
struct Note {
  SourceRange range;
  std::string message;
};

struct Diagnostic {
  Severity severity = Severity::Error;
  SourceRange range;
  std::string message;
  std::string suggestion; ///< what to write instead of the range; empty when there is none
  std::vector<Note> notes;

  Diagnostic &note(SourceRange range, std::string message);
  Diagnostic &note(std::string message) { return note({}, std::move(message)); }
  /// Appends `; did you mean 'word'?` and keeps the word for tools. Does nothing for an empty word.
  Diagnostic &suggest(std::string word);
};

/// Collects many; nothing is printed before the end.
class Diagnostics {
public:
  Diagnostic &error(SourceRange range, std::string message);
  Diagnostic &warning(SourceRange range, std::string message);

  bool hasErrors() const { return errorCount != 0; }
  size_t errors() const { return errorCount; }
  const std::vector<Diagnostic> &all() const { return list; }

  /// `file:line:col: error: message`, the line, caret and tildes, notes; in order of file and line.
  std::string text() const;
  /// A JSON array of {severity, file, line, column, end_line, end_column, message, suggestion?,
  /// notes}.
  std::string json() const;

private:
  std::vector<const Diagnostic *> ordered() const;
  std::vector<Diagnostic> list;
  size_t errorCount = 0;
};

/// The candidate nearest to `word` (edit distance at most a third of its length, rounded up, and
/// 4), or "".
std::string nearest(std::string_view word, std::span<const std::string> candidates);

/// `text` fit for one line of a message: control characters and invalid UTF-8 escaped, cut at
/// `limit` characters.
std::string printable(std::string_view text, size_t limit = 60);

} // namespace lorac::dsl
