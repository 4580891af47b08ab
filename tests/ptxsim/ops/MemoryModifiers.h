// What the instructions on memory have in common: their modifiers, and the check of what they
// store.
#ifndef PTXSIM_OPS_MEMORYMODIFIERS_H
#define PTXSIM_OPS_MEMORYMODIFIERS_H

#include "tests/ptxsim/decode/Modifiers.h"
#include "tests/ptxsim/machine/Access.h"
#include "tests/ptxsim/machine/Counters.h"
#include "tests/ptxsim/machine/Report.h"

namespace ptxsim {

Space takeSpace(Modifiers &modifiers);
/// .volatile, .relaxed.gpu …; true for an access that is no race by itself.
bool takeOrder(Modifiers &modifiers);
/// .ca, .L1::no_allocate, .L2::128B …: they change nothing here.
void takeCacheHints(Modifiers &modifiers);

/// The shadows of memories are as fine as the kernel's smallest access.
void noteGranule(Kernel &kernel, Space space, uint32_t bytes);

/// Lanes of one instruction that write different values to one place.
void checkStoreConflict(Warp &warp, const Inst &inst, const Access &access, Mask mask);

} // namespace ptxsim

#endif
