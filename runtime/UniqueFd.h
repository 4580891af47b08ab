#pragma once
// A file descriptor that closes itself, and reading and writing that go on until all is done.

#include <cerrno>
#include <cstdint>
#include <string_view>
#include <unistd.h>
#include <utility>

namespace lorac {

class UniqueFd {
public:
  explicit UniqueFd(int number = -1) : number(number) {}
  UniqueFd(UniqueFd &&other) noexcept : number(other.release()) {}
  UniqueFd &operator=(UniqueFd &&other) noexcept {
    std::swap(number, other.number);
    return *this;
  }
  ~UniqueFd() { reset(); }

  explicit operator bool() const { return number >= 0; }
  int operator*() const { return number; }
  /// The caller closes it.
  int release() { return std::exchange(number, -1); }
  void reset() {
    if (number >= 0)
      ::close(release());
  }

private:
  int number;
};

/// How many bytes were written. Fewer than all: errno says why.
inline size_t writeAll(int fd, std::string_view bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t put = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (put < 0 && errno == EINTR)
      continue;
    if (put == 0)
      errno = EIO;
    if (put <= 0)
      break;
    done += size_t(put);
  }
  return done;
}

/// How many bytes from `offset` on were read. Fewer than `size`: errno says why, 0 where the file
/// ends.
inline size_t readAt(int fd, uint64_t offset, char *out, size_t size) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(fd, out + done, size - done, off_t(offset + done));
    if (got < 0 && errno == EINTR)
      continue;
    if (got == 0)
      errno = 0;
    if (got <= 0)
      break;
    done += size_t(got);
  }
  return done;
}

} // namespace lorac
