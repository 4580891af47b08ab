// Bugs to seed into the kernels: a piece of text and what stands there instead.
#ifndef PTXSIM_MUTATION_MUTATIONS_H
#define PTXSIM_MUTATION_MUTATIONS_H

#include "tests/ptxsim/machine/Report.h"
#include <optional>
#include <vector>

namespace ptxsim {

struct Mutation {
  const char *name;
  const char *file;
  const char *find; // stands in the file exactly once
  const char *replace;
  /// The report that finds it; none: the numbers are wrong, and no rule of the machine is broken.
  std::optional<ReportKind> by;
};

const std::vector<Mutation> &mutations();

} // namespace ptxsim

#endif
