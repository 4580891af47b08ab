#include "runtime/formats/Hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace lorac::formats {

namespace {

std::string toHex(XXH128_hash_t hash) {
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return text;
}

} // namespace

Hasher::Hasher()
    : state(XXH3_createState(), [](void *s) { XXH3_freeState(static_cast<XXH3_state_t *>(s)); }) {
  XXH3_128bits_reset(static_cast<XXH3_state_t *>(state.get()));
}

void Hasher::add(const void *data, size_t size) {
  XXH3_128bits_update(static_cast<XXH3_state_t *>(state.get()), data, size);
}

std::string Hasher::hex() const {
  return toHex(XXH3_128bits_digest(static_cast<XXH3_state_t *>(state.get())));
}

std::string hashHex(std::string_view bytes) {
  return toHex(XXH3_128bits(bytes.data(), bytes.size()));
}

Result<std::string> hashFile(const std::string &path) {
  const auto failed = [&](const char *why) { return Error{"cannot read '" + path + "': " + why}; };
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0)
    return failed(std::strerror(errno));
  struct stat status;
  std::string why;
  if (::fstat(descriptor, &status) != 0)
    why = std::strerror(errno);
  else if (!S_ISREG(status.st_mode))
    why = "it is no regular file"; // a pipe would never end
  std::vector<char> buffer(1 << 16);
  Hasher hasher;
  while (why.empty()) {
    const ssize_t got = ::read(descriptor, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      why = std::strerror(errno);
    if (got <= 0)
      break;
    hasher.add(buffer.data(), size_t(got));
  }
  ::close(descriptor);
  if (!why.empty())
    return failed(why.c_str());
  return hasher.hex();
}

} // namespace lorac::formats
