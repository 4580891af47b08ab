// Where the windows of shared and local memory lie among generic addresses, and the special
// registers' names.
#ifndef PTXSIM_MACHINE_ADDRESSSPACE_H
#define PTXSIM_MACHINE_ADDRESSSPACE_H

#include "tests/ptxsim/text/Ast.h"

namespace ptxsim {

/// Global addresses are the host's own; these two windows are where no host has memory.
constexpr uint64_t sharedWindow = uint64_t(0x51) << 56;
constexpr uint64_t localWindow = uint64_t(0x52) << 56;
constexpr uint64_t windowMask = uint64_t(0xff) << 56;

inline Space spaceOf(uint64_t generic) {
  uint64_t window = generic & windowMask;
  return window == sharedWindow  ? Space::Shared
         : window == localWindow ? Space::Local
                                 : Space::Global;
}

inline uint64_t windowOf(Space space) {
  return space == Space::Shared ? sharedWindow : space == Space::Local ? localWindow : 0;
}

bool isSpecial(const std::string &name);

} // namespace ptxsim

#endif
