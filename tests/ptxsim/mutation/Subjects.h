// The kernels that are made wrong: what each is given, and what it must answer.
#ifndef PTXSIM_MUTATION_SUBJECTS_H
#define PTXSIM_MUTATION_SUBJECTS_H

#include "tests/ptxsim/unit/Gpu.h"

namespace ptxsim {

struct Answer {
  std::vector<float> values, expected;
  double tolerance = 0; // of the largest expected value

  bool isRight() const;
};

struct Subject {
  const char *file; // in mutation/kernels
  /// Runs the PTX on fresh memory.
  Answer (*run)(Gpu &gpu, const std::string &ptx);
};

const Subject &subject(const std::string &file);
/// The CUDA C++ of a subject.
std::string sourceOf(const std::string &file);

} // namespace ptxsim

#endif
