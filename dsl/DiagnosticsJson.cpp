// Diagnostics for scripts: `lorac check --json`.

#include "dsl/Diagnostics.h"

#include <nlohmann/json.hpp>

namespace lorac::dsl {

using Json = nlohmann::ordered_json;

static void addRange(Json &out, const SourceRange &range) {
  out["file"] = range.file ? Json(range.file->path) : Json(nullptr);
  out["line"] = range.beginLine;
  out["column"] = range.beginColumn;
  out["end_line"] = range.endLine;
  out["end_column"] = range.endColumn;
}

std::string Diagnostics::json() const {
  Json list = Json::array();
  for (const Diagnostic *d : ordered()) {
    Json entry;
    entry["severity"] = d->severity == Severity::Error ? "error" : "warning";
    addRange(entry, d->range);
    entry["message"] = d->message;
    if (!d->suggestion.empty())
      entry["suggestion"] = d->suggestion;
    entry["notes"] = Json::array();
    for (const Note &note : d->notes) {
      Json n;
      addRange(n, note.range ? note.range : d->range);
      n["message"] = note.message;
      entry["notes"].push_back(std::move(n));
    }
    list.push_back(std::move(entry));
  }
  // Bytes that are no UTF-8 become U+FFFD instead of an exception.
  return list.dump(2, ' ', false, Json::error_handler_t::replace);
}

} // namespace lorac::dsl
