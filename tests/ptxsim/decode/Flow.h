// The order of a kernel's basic blocks, and its loops.
#ifndef PTXSIM_DECODE_FLOW_H
#define PTXSIM_DECODE_FLOW_H

#include "tests/ptxsim/decode/Kernel.h"

namespace ptxsim {

/// Puts basic blocks into an order in which every block stands behind all that lead to it, but for
/// the ways back of loops, and marks the innermost loops around an mma. A warp runs its least
/// instruction first, so that lanes meet again at the first place where they can.
void orderBlocks(Kernel &kernel);

} // namespace ptxsim

#endif
