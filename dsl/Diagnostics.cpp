#include "dsl/Diagnostics.h"

#include "dsl/Text.h"

#include <algorithm>
#include <numeric>

namespace lorac::dsl {

Diagnostic &Diagnostic::note(SourceRange place, std::string text) {
  notes.push_back({std::move(place), std::move(text)});
  return *this;
}

Diagnostic &Diagnostic::suggest(std::string word) {
  if (word.empty())
    return *this;
  message += "; did you mean '" + word + "'?";
  suggestion = std::move(word);
  return *this;
}

Diagnostic &Diagnostics::error(SourceRange range, std::string message) {
  ++errorCount;
  list.push_back({Severity::Error, std::move(range), std::move(message), {}, {}});
  return list.back();
}

Diagnostic &Diagnostics::warning(SourceRange range, std::string message) {
  list.push_back({Severity::Warning, std::move(range), std::move(message), {}, {}});
  return list.back();
}

// Files in the order in which they were first named, each from top to bottom.
std::vector<const Diagnostic *> Diagnostics::ordered() const {
  std::vector<const SourceFile *> files;
  std::vector<const Diagnostic *> out;
  for (const Diagnostic &d : list) {
    out.push_back(&d);
    if (std::find(files.begin(), files.end(), d.range.file.get()) == files.end())
      files.push_back(d.range.file.get());
  }
  auto rank = [&](const Diagnostic *d) {
    return std::find(files.begin(), files.end(), d->range.file.get()) - files.begin();
  };
  std::stable_sort(out.begin(), out.end(), [&](const Diagnostic *a, const Diagnostic *b) {
    return std::make_tuple(rank(a), a->range.beginLine, a->range.beginColumn) <
           std::make_tuple(rank(b), b->range.beginLine, b->range.beginColumn);
  });
  return out;
}

namespace {

constexpr int MaxExcerpt = 160; // terminal columns; longer lines are cut around the caret
constexpr int Context = 60;     // columns kept before the caret in a cut line

// The line and its caret line; nothing for a range without a text.
std::string excerpt(const SourceRange &range) {
  if (!range.file || range.file->origin != Origin::Spec || range.beginLine == 0)
    return {};
  std::string_view line = range.file->line(range.beginLine);
  std::string shown, pad, marks;
  // Columns before the caret are dropped in a long line; counting characters is enough to choose
  // where.
  uint32_t first = range.beginColumn > MaxExcerpt ? range.beginColumn - Context : 1;
  if (first > 1) {
    shown = "…";
    pad = " ";
  }
  uint32_t end = range.endLine == range.beginLine ? range.endColumn : UINT32_MAX;
  uint32_t column = first;
  int used = 0;
  size_t at = byteOfColumn(line, first);
  for (; at < line.size() && used < MaxExcerpt; ++column) {
    CodePoint c = decode(line.substr(at));
    at += c.bytes;
    char32_t value = c.value < 0x20 && c.value != '\t' ? 0xFFFD : c.value;
    append(shown, value);
    int columns = value == '\t' ? 1 : width(value);
    used += columns;
    if (column < range.beginColumn)
      pad += value == '\t' ? "\t" : std::string(columns, ' ');
    else if (column < end)
      marks += std::string(columns, '~');
  }
  if (at < line.size())
    shown += "…";
  if (marks.empty())
    marks = "~";
  marks[0] = '^';
  return shown + "\n" + pad + marks + "\n";
}

std::string place(const SourceRange &range) { return range ? range.str() + ": " : ""; }

} // namespace

std::string Diagnostics::text() const {
  std::string out;
  for (const Diagnostic *d : ordered()) {
    out += place(d->range) + (d->severity == Severity::Error ? "error: " : "warning: ") +
           d->message + "\n";
    out += excerpt(d->range);
    for (const Note &note : d->notes)
      out += place(note.range ? note.range : d->range) + "note: " + note.message + "\n";
  }
  return out;
}

namespace {

// Insertions, deletions, replacements and swaps of neighbours.
size_t editDistance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i)
    d[i][0] = i;
  std::iota(d[0].begin(), d[0].end(), 0);
  for (size_t i = 1; i <= a.size(); ++i)
    for (size_t j = 1; j <= b.size(); ++j) {
      d[i][j] =
          std::min({d[i - 1][j - 1] + (a[i - 1] != b[j - 1]), d[i - 1][j] + 1, d[i][j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[a.size()][b.size()];
}

} // namespace

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  if (word.size() > 200)
    return {};
  std::string best;
  size_t bestDistance = std::min<size_t>(4, (word.size() + 2) / 3) + 1;
  for (const std::string &candidate : candidates) {
    size_t distance = editDistance(word, candidate);
    if (distance < bestDistance && distance < candidate.size()) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

std::string printable(std::string_view text, size_t limit) {
  static const char *hex = "0123456789abcdef";
  std::string out;
  size_t count = 0;
  for (size_t at = 0; at < text.size(); ++count) {
    if (count == limit)
      return out + "…";
    CodePoint c = decode(text.substr(at));
    unsigned char byte = static_cast<unsigned char>(text[at]);
    if (c.value == '\n')
      out += "\\n";
    else if (c.value == '\t')
      out += "\\t";
    else if (!c.valid || c.value < 0x20 || c.value == 0x7F)
      out += std::string("\\x") + hex[byte >> 4] + hex[byte & 15];
    else
      out += text.substr(at, c.bytes);
    at += c.bytes;
  }
  return out;
}

} // namespace lorac::dsl
