#pragma once
// `lorac check` of what `train` opens behind the model: tokenizer, data, output folder.

#include "compiler/tools/Project.h"
#include "dsl/Diagnostics.h"
#include "runtime/train/Data.h"

namespace lorac::tools {

/// A sample as it is trained on.
struct CheckedSample {
  train::ShownSample sample;
  std::vector<int32_t> ids, labels; ///< label -100: not trained
};

struct CheckedData {
  std::vector<std::vector<CheckedSample>> samples; ///< the first of each table
  std::vector<train::TableFacts> tables;
  std::vector<std::string> notes;
  std::string outputFolder;
  bool holdsRun = false;
};

/// Opens all of it as the training binary does. What is wrong is in `diags`, at the key that names
/// it. `samples`: so many of each table are kept to be shown.
Exit checkData(const Project &project, int64_t samples, CheckedData &out, dsl::Diagnostics &diags);

} // namespace lorac::tools
