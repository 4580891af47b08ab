#pragma once
// `lorac verify`: whether the files of a folder are what lorac wrote there.

#include "runtime/Result.h"

#include <string>
#include <vector>

namespace lorac::train {

struct VerifiedFile {
  std::string name;   ///< below the folder
  std::string damage; ///< "": as lorac wrote it
};

/// All that manifest.json lists, the checkpoints, and what trainer_state.json lists. Error: there
/// is nothing that could be verified (Exit::Refused), or the list itself is damaged
/// (Exit::ForeignFile).
Result<std::vector<VerifiedFile>> verifyFolder(const std::string &folder);

} // namespace lorac::train
