#pragma once
// What merging has cost on a text: losses by `lorac eval`, each in a process of its own.

#include "compiler/tools/MergedModel.h"

#include <string>

namespace lorac::tools {

struct MergeLosses {
  double base = 0;    ///< as the spec holds it
  double adapted = 0; ///< with the adapters beside it
  double merged = 0;  ///< of what was written
};

/// `text`: a data file, of the format that its name says. `out`: the merged model. Programs and
/// what they read are written beside it meanwhile.
Result<MergeLosses> mergeLosses(const std::string &text, const std::string &out,
                                const dsl::Spec &spec, MergedModel &model,
                                const MergeTarget &target);

} // namespace lorac::tools
