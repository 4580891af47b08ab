#pragma once
// Work in order on the GPU, and marks in it.

#include "runtime/gpu/Context.h"

namespace lorac::gpu {

class Event {
public:
  static Result<Event> create(std::shared_ptr<const Context> context, bool timed);
  Event() = default;
  ~Event();
  Event(Event &&other) noexcept;
  Event &operator=(Event &&other) noexcept;

  EventHandle get() const { return handle; }
  /// Returns when the GPU has passed the mark.
  Result<void> wait() const;
  /// From `begin` to this one, both passed.
  Result<double> secondsSince(const Event &begin) const;

private:
  std::shared_ptr<const Context> context;
  EventHandle handle = nullptr;
};

/// Host memory of copies must be pinned to be copied meanwhile, and must stay until then.
class Stream {
public:
  static Result<Stream> create(std::shared_ptr<const Context> context);
  Stream() = default;
  ~Stream();
  Stream(Stream &&other) noexcept;
  Stream &operator=(Stream &&other) noexcept;

  StreamHandle get() const { return handle; }
  Result<void> upload(DevicePtr to, const void *from, uint64_t bytes) const;
  Result<void> download(void *to, DevicePtr from, uint64_t bytes) const;
  Result<void> copy(DevicePtr to, DevicePtr from, uint64_t bytes) const;
  Result<void> zero(DevicePtr to, uint64_t bytes) const;
  Result<void> mark(const Event &event) const;
  /// Returns when all is done; what kernels did wrong is told here.
  Result<void> wait() const;

private:
  std::shared_ptr<const Context> context;
  StreamHandle handle = nullptr;
};

} // namespace lorac::gpu
