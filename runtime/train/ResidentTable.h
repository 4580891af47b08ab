#pragma once
// After a run: what was planned and what was resident, line by line as far as it can be told apart.

#include "runtime/train/Session.h"

#include <string>
#include <vector>

namespace lorac::train {

struct ResidentLine {
  std::string key, words;
  uint64_t planned = 0, resident = 0;
};

struct ResidentTable {
  std::vector<ResidentLine> lines;
  uint64_t planned = 0; ///< the whole, at its most
  uint64_t most = 0;    ///< resident at most (VmHWM)

  /// As a few lines of text.
  std::string text() const;
};

/// Of the host's memory, as it lies now. Regions of the program, tokens; all else is the program's
/// own: code, heap, stacks.
ResidentTable residentTable(const Session &session, const Corpus &corpus);

} // namespace lorac::train
