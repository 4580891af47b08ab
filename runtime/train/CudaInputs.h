#pragma once
// What changes from one micro-batch to the next, on its way to a GPU: an image of the io regions in
// pinned memory, copied in as few pieces as their places in the arena allow.

#include "runtime/abi.h"
#include "runtime/gpu/Memory.h"
#include "runtime/gpu/Stream.h"
#include "runtime/train/Batches.h"
#include "runtime/train/Plan.h"

#include <array>
#include <memory>

namespace lorac::train {

/// Pinned memory that is filled again only when its last copy is done.
class PinnedSlots {
public:
  static Result<PinnedSlots> create(std::shared_ptr<const gpu::Context> context, int64_t bytes);

  /// The next slot, free to be filled.
  Result<std::byte *> next();
  /// Behind the copies of the slot that `next` gave.
  Result<void> copied(const gpu::Stream &stream);

private:
  struct Slot {
    gpu::PinnedMemory memory;
    gpu::Event done;
    bool used = false;
  };
  std::array<Slot, 2> slots;
  size_t at = 0;
};

class CudaInputs {
public:
  static Result<CudaInputs> create(const Plan &plan, std::shared_ptr<const gpu::Context> context,
                                   gpu::DevicePtr arena);

  /// ids, positions, labels, segment_starts and row_ends of a micro-batch.
  Result<void> feed(const MicroBatch &batch, const gpu::Stream &stream);
  /// The step, unless it stands there already.
  Result<void> step(const LoracStep &step, const gpu::Stream &stream);

private:
  /// Regions that stand one behind another in the arena.
  struct Run {
    int64_t offset, bytes, at; ///< at: in the image
  };
  void put(std::byte *image, int64_t offset, const std::vector<int32_t> &values) const;

  PlanIo io;
  gpu::DevicePtr arena = 0;
  std::vector<Run> runs;
  PinnedSlots images, steps;
  LoracStep last{-1, 0, 0, 0, 0, 0};
};

/// For each row the end of its sample.
std::vector<int32_t> rowEnds(const MicroBatch &batch);

} // namespace lorac::train
