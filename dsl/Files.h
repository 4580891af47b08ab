#pragma once
// The names of a spec's data files.

#include "dsl/Spec.h"

#include <string>

namespace lorac::dsl {

/// An absolute path for one of `data.path`, which may be a pattern: where no file has this very
/// name, only what was written is a pattern, not the spec's folder (glob's `\` stands before its
/// brackets). A format that is not given follows from this name (runtime/formats/DataName.h).
std::string dataPattern(const Spec &spec, const std::string &path);

} // namespace lorac::dsl
