// One warp with registers that the test fills and reads: operands of instructions that work on the
// warp as a whole.
#ifndef PTXSIM_UNIT_ONEWARP_H
#define PTXSIM_UNIT_ONEWARP_H

#include "tests/ptxsim/unit/Gpu.h"
#include <array>

namespace ptxsim {

/// A 32-bit register of each lane.
using Register = std::array<uint32_t, 32>;

/// Runs `code` on one warp. %i0, %i1 … hold `inputs`, %o0, %o1 … are returned; %s is the address of
/// a shared array that holds `shared` (at most 4096 bytes), %in and %out are the addresses of 4 KiB
/// of memory: `global`, and what the code may write. %t, %u, %p, %q and %x are for use.
class OneWarp {
public:
  Gpu gpu;
  std::vector<uint32_t> shared, global, written;
  std::string name; // of the last kernel

  std::vector<Register> run(const std::string &code, const std::vector<Register> &inputs,
                            size_t results);

private:
  size_t runs = 0;
};

} // namespace ptxsim

#endif
