// Products of warpgroups (wgmma) between their issue and the wait that ends them.
#ifndef PTXSIM_MACHINE_WARPGROUP_H
#define PTXSIM_MACHINE_WARPGROUP_H

#include "tests/ptxsim/decode/Kernel.h"
#include <array>
#include <vector>

namespace ptxsim {

struct Warp;
struct Block;

/// One wgmma, as issued.
struct ProductIssue {
  const Inst *inst = nullptr;
  uint64_t a = 0, b = 0; // descriptors
  bool adds = false;     // scale-d: to what the registers hold
  uint32_t group = 0;

  bool sameAs(const ProductIssue &other) const {
    return inst == other.inst && a == other.a && b == other.b && adds == other.adds;
  }
};

/// A warp's part of the products of its warpgroup. Accumulators of a pending one are poison; their
/// values are kept aside.
struct WarpProducts {
  std::vector<ProductIssue> pending; // in the order of their issue
  uint32_t group = 0;                // committed
  size_t issued = 0;
  std::vector<uint16_t> uses;                    // by register: pending products that add to it
  std::vector<std::array<uint32_t, lanes>> kept; // by register
  std::vector<uint32_t> touched;                 // by register: `fences` when last used
  uint32_t fences = 0;                           // wgmma.fence

  void begin(const Kernel &kernel);
};

/// Notes what an instruction other than a product does to registers, and reports those of pending
/// products.
void noteRegisters(Warp &warp, const Inst &inst);
/// At a block's end: warps of a group must have issued the same, and waited for it.
void checkProductsAtEnd(Block &block);

} // namespace ptxsim

#endif
