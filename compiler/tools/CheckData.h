#pragma once
// `lorac check` of what `train` opens behind the model: tokenizer, data, output folder.

#include "compiler/tools/Driver.h"
#include "dsl/Diagnostics.h"
#include "runtime/train/Data.h"

namespace lorac::tools {

struct CheckedData {
  std::vector<train::TableFacts> tables;
  std::vector<std::string> notes;
  std::string outputFolder;
  bool holdsRun = false;
};

/// Opens all of it as the training binary does. What is wrong is in `diags`, at the key that names
/// it.
Exit checkData(const Project &project, CheckedData &out, dsl::Diagnostics &diags);

} // namespace lorac::tools
