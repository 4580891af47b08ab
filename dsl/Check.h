#pragma once
// What a spec means: ranges, combinations, what this version has; and which modules get adapters.

#include "dsl/Diagnostics.h"
#include "dsl/Graph.h"
#include "dsl/Spec.h"

namespace lorac::dsl {

/// Checks values and combinations and fills in the defaults that depend on other keys (Spec.h lists
/// them).
void checkSpec(Spec &spec, Diagnostics &diags);

/// The part of checkSpec that is about AdaLoRA: [adapter.adalora], its bounds in rules, and its
/// schedule against the steps of the run (docs/adalora.md).
void checkAdaLora(const Spec &spec, Diagnostics &diags);

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
  int64_t r = 0;      ///< AdaLoRA: the initial rank
  double alpha = 0;
  double dropout = 0;
  double scale = 0;  ///< alpha/r, alpha/sqrt(r) with use_rslora, alpha/(r + 1e-5) of AdaLoRA
  SourceRange range; ///< what chose it: target_modules, or what refined it last
  Field<int64_t> minR, maxR; ///< AdaLoRA: bounds of the live rank; maxR not given: r
  int64_t most() const { return maxR.given() ? *maxR : r; }
};

/// Which of `modules` (BoundModel::adaptableModules) get an adapter, in their order: as PEFT has it
/// (runtime/formats/ModulePattern.h), and then by the rules. A name, a pattern or a layer that
/// chooses nothing is an error; what refines nothing is a warning. Modules with r = 0 are left out.
std::vector<AdapterChoice>
resolveAdapters(const Spec &spec, const std::vector<std::string> &modules, Diagnostics &diags);

/// AdaLoRA's budgets: ranks of all modules together.
struct RankBudget {
  int64_t initial = 0, target = 0;
  int64_t initialParameters = 0; ///< of A, B and E at the initial ranks
};

/// What `target_r` or `budget` means for these modules, and whether the bounds allow it; nothing
/// without AdaLoRA or with an error.
std::optional<RankBudget> resolveRankBudget(const Spec &spec, const BoundModel &model,
                                            const std::vector<AdapterChoice> &choices,
                                            Diagnostics &diags);

} // namespace lorac::dsl
