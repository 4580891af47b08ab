#pragma once
// The effective spec, written out: run.json for the runtime, and TOML for people.

#include "dsl/Spec.h"

#include <string>

namespace lorac::dsl {

/// run.json: the TOML's keys, defaults filled in, `source`, `init_from` and data paths absolute
/// (`path` is always a list), `spec`, `spec_dir`. Optional values that nobody set are left out;
/// `adapter.loraplus` is there only if the spec has it.
std::string toJson(const Spec &spec);

/// The effective spec as TOML, each value that is not a default with a comment on where it came
/// from.
std::string toToml(const Spec &spec);

} // namespace lorac::dsl
