#pragma once
// What a spec means: ranges, combinations, what this version has; and which modules get adapters.

#include "dsl/Diagnostics.h"
#include "dsl/Graph.h"
#include "dsl/Spec.h"

namespace lorac::dsl {

/// Checks values and combinations and fills in the defaults that depend on other keys (Spec.h lists
/// them).
void checkSpec(Spec &spec, Diagnostics &diags);

/// Checks the spec against the model that it is for: max_length within its positions.
void checkModel(const Spec &spec, const BoundModel &model, Diagnostics &diags);

/// Checks that the model's source and the data's files are there.
void checkFiles(const Spec &spec, Diagnostics &diags);

/// The files of a [[data]] table: absolute, patterns expanded and sorted; a pattern that matches
/// nothing is left as it is.
std::vector<std::string> dataFiles(const Spec &spec, const DataSpec &data);

/// An adapter on one module.
struct AdapterChoice {
  std::string module; ///< model.layers.0.self_attn.q_proj
  int64_t r = 0;
  double alpha = 0;
  double dropout = 0;
  double scale = 0;  ///< alpha/r, or alpha/sqrt(r) with use_rslora
  SourceRange range; ///< what chose it: the pattern of target_modules, or the rule's modules
};

/// Which of `modules` (BoundModel::adaptableModules) get an adapter, in their order. Patterns are
/// regular expressions that must match as `(.*\.)?(PATTERN)$` does; one that matches nothing is an
/// error. Modules with r = 0 are left out.
std::vector<AdapterChoice>
resolveAdapters(const Spec &spec, const std::vector<std::string> &modules, Diagnostics &diags);

} // namespace lorac::dsl
