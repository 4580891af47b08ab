#pragma once
// Files that the command line names as outputs: a wrong word there must not cost another file.

#include "runtime/Result.h"

#include <string>

namespace lorac::train {

enum class OutputKind {
  Metrics,    ///< of a run that begins: no line is there yet
  OwnMetrics, ///< of a run that goes on or is replaced: its lines, but not another run's
  Profile,
  Logits,
  Program
};

/// Takes what is absent, empty, or of the kind that is written there; metrics also go to a pipe or
/// a device. Error, Exit::Usage: something else, or a link to it. `flag` is named in it; an empty
/// path passes.
Result<void> checkOutputFile(const std::string &path, OutputKind kind, const char *flag);

} // namespace lorac::train
