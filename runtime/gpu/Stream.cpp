#include "runtime/gpu/Stream.h"

#include <utility>

namespace lorac::gpu {

namespace {

std::string copying(uint64_t bytes, const char *where) {
  return "copying " + std::to_string(bytes) + " bytes " + where;
}

} // namespace

Result<Event> Event::create(std::shared_ptr<const Context> context, bool timed) {
  Event event;
  Status status = context->call().eventCreate(&event.handle, timed ? eventDefault : eventNoTiming);
  if (status != status::success)
    return context->driver().error(status, "making an event");
  event.context = std::move(context);
  return event;
}

Event::~Event() {
  if (handle)
    context->call().eventDestroy(handle);
}
Event::Event(Event &&other) noexcept { *this = std::move(other); }
Event &Event::operator=(Event &&other) noexcept {
  std::swap(context, other.context);
  std::swap(handle, other.handle);
  return *this;
}

Result<void> Event::wait() const {
  return context->driver().check(context->call().eventSynchronize(handle), "waiting for the GPU");
}

Result<double> Event::secondsSince(const Event &begin) const {
  float milliseconds = 0;
  Status status = context->call().eventElapsedTime(&milliseconds, begin.handle, handle);
  if (status != status::success)
    return context->driver().error(status, "timing a launch");
  return double(milliseconds) / 1000;
}

Result<Stream> Stream::create(std::shared_ptr<const Context> context) {
  Stream stream;
  Status status = context->call().streamCreate(&stream.handle, streamNonBlocking);
  if (status != status::success)
    return context->driver().error(status, "making a stream");
  stream.context = std::move(context);
  return stream;
}

Stream::~Stream() {
  if (handle)
    context->call().streamDestroy(handle);
}
Stream::Stream(Stream &&other) noexcept { *this = std::move(other); }
Stream &Stream::operator=(Stream &&other) noexcept {
  std::swap(context, other.context);
  std::swap(handle, other.handle);
  return *this;
}

Result<void> Stream::upload(DevicePtr to, const void *from, uint64_t bytes) const {
  if (bytes == 0)
    return {};
  return context->driver().check(context->call().memcpyHtoDAsync(to, from, bytes, handle),
                                 copying(bytes, "to the GPU"));
}
Result<void> Stream::download(void *to, DevicePtr from, uint64_t bytes) const {
  if (bytes == 0)
    return {};
  return context->driver().check(context->call().memcpyDtoHAsync(to, from, bytes, handle),
                                 copying(bytes, "from the GPU"));
}
Result<void> Stream::copy(DevicePtr to, DevicePtr from, uint64_t bytes) const {
  if (bytes == 0)
    return {};
  return context->driver().check(context->call().memcpyDtoDAsync(to, from, bytes, handle),
                                 copying(bytes, "within the GPU"));
}
Result<void> Stream::zero(DevicePtr to, uint64_t bytes) const {
  if (bytes == 0)
    return {};
  return context->driver().check(context->call().memsetD8Async(to, 0, bytes, handle),
                                 "zeroing " + std::to_string(bytes) + " bytes of the GPU");
}
Result<void> Stream::mark(const Event &event) const {
  return context->driver().check(context->call().eventRecord(event.get(), handle),
                                 "marking a place in the stream");
}
Result<void> Stream::wait() const {
  return context->driver().check(context->call().streamSynchronize(handle), "the GPU's work");
}

} // namespace lorac::gpu
