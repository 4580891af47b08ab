// CUDA C++ to PTX by NVRTC, found at run time.
#ifndef PTXSIM_MUTATION_NVRTC_H
#define PTXSIM_MUTATION_NVRTC_H

#include <string>

namespace ptxsim {

/// Whether NVRTC is here: $LORAC_NVRTC, $LORAC_CUDA_TOOLS, or the loader's search.
bool hasNvrtc();
/// The PTX of a header-free source. A failure is the test's, with NVRTC's log.
std::string compileCuda(const std::string &source);

} // namespace ptxsim

#endif
