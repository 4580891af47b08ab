#pragma once
// From a path on the command line to everything that compiling needs: the spec checked, the model
// bound, adapters chosen.

#include "dsl/Check.h"
#include "dsl/Graph.h"
#include "dsl/Spec.h"
#include "runtime/formats/ModelIdentity.h"
#include "runtime/formats/WeightFormat.h"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lorac::tools {

/// A spec and what the command line changes in it.
struct SpecInput {
  std::string path;
  std::vector<std::string> sets; ///< "adapter.r=8"
};

struct Project {
  dsl::Spec spec;
  dsl::BoundModel model;
  formats::ModelIdentity identity; ///< which model this is
  std::vector<dsl::AdapterChoice> adapters;
  std::optional<dsl::RankBudget> ranks; ///< AdaLoRA
  /// Hugging Face tensor name -> the format of its weight as the model's file stores it; empty
  /// without a source.
  std::map<std::string, formats::WeightFormat> sourceFormats;
};

/// Reads and checks the spec, its files and its model. Every message is in `diags`; Exit::Done only
/// if `out` is usable.
Exit loadProject(const SpecInput &input, Project &out, dsl::Diagnostics &diags);

/// The same, with the messages said on stderr.
Exit loadProject(const SpecInput &input, Project &out);

/// A base model as its own files say it.
struct BaseModel {
  dsl::BoundModel model;
  formats::ModelIdentity identity;
  std::string ggufArchitecture; ///< general.architecture
  /// Its files; null: the spec draws its weights.
  std::shared_ptr<const formats::ModelSource> source;
};

/// A model alone, from its files.
Exit loadModel(const std::string &path, BaseModel &out, dsl::Diagnostics &diags);
/// The model of a spec, without its data.
Exit loadSpecModel(const std::string &specPath, BaseModel &out, dsl::Diagnostics &diags);

} // namespace lorac::tools
