// A block's shared memory and, for each granule of it, who wrote and who read it when.
#ifndef PTXSIM_MACHINE_SHAREDMEMORY_H
#define PTXSIM_MACHINE_SHAREDMEMORY_H

#include "tests/ptxsim/machine/Access.h"
#include "tests/ptxsim/machine/Clocks.h"

namespace ptxsim {

/// The shadow of one granule, the smallest piece that the kernel ever accesses.
struct SharedCell {
  uint32_t writeClock = 0, readClock = 0;
  // Warps that have read since the last write, those with this readClock at least.
  uint32_t readers = 0;
  uint32_t writeInst = 0, readInst = 0;
  uint16_t asyncReads = 0; // of products that nobody has waited for
  uint8_t writer = 0;
  enum State : uint8_t { Written, WrittenAtomically, Pending } state = Written;
};

class SharedMemory {
public:
  /// Fresh memory: poisoned, and nothing of it written.
  void begin(const Kernel &kernel, uint32_t dynamicBytes, uint32_t warps);

  /// Lanes whose bytes lie in the kernel's own variables, or in the dynamic memory.
  Mask lanesInside(const Access &access) const {
    return lanesWithin(access, 0, fixed) | lanesWithin(access, dynamic, dynamicBytes);
  }
  bool isInside(uint64_t address, uint64_t size) const {
    auto within = [&](uint64_t begin, uint64_t all) {
      return size <= all && address >= begin && address - begin <= all - size;
    };
    return within(0, fixed) || within(dynamic, dynamicBytes);
  }
  uint8_t *data() { return bytes.data(); }

  /// Checks for races and for reads of what was never written, or is being copied.
  void touch(Warp &warp, const Inst &inst, uint64_t begin, uint64_t end, AccessKind kind, int lane);
  /// cp.async: from issue on nobody may touch the bytes; from the wait on they are the warp's
  /// write.
  void beginCopy(Warp &warp, const Inst &inst, uint64_t begin, uint64_t end, int lane);
  void endCopy(Warp &warp, uint64_t begin, uint64_t end);

  /// wgmma: from issue to wait nobody may write the bytes, which must be there for the asynchronous
  /// proxy.
  void beginAsyncRead(Warp &warp, const Inst &inst, uint64_t begin, uint64_t end);
  void endAsyncRead(Warp &warp, const Inst &inst, uint64_t begin, uint64_t end);

  Clocks clocks;

private:
  void readAll(Warp &warp, const Inst &inst, uint64_t begin, uint64_t end, int lane);
  void writeAll(Warp &warp, const Inst &inst, uint64_t begin, uint64_t end, int lane,
                SharedCell::State state);
  void noteReader(SharedCell &cell, uint32_t warp, const Inst &inst);
  void reportRead(Warp &warp, const Inst &inst, const SharedCell &cell, uint64_t address, int lane);
  void reportWrite(Warp &warp, const Inst &inst, const SharedCell &cell, uint64_t address, int lane,
                   bool atomic);

  std::vector<uint8_t> bytes;
  std::vector<SharedCell> cells;
  uint32_t granule = 4;
  uint64_t fixed = 0, dynamic = 0, dynamicBytes = 0;
};

} // namespace ptxsim

#endif
