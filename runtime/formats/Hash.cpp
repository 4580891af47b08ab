#include "runtime/formats/Hash.h"

#include "runtime/UniqueFd.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <vector>

namespace lorac::formats {

namespace {

std::string canonical(XXH128_hash_t hash) {
  XXH128_canonical_t bytes;
  XXH128_canonicalFromHash(&bytes, hash);
  return std::string(reinterpret_cast<const char *>(bytes.digest), sizeof bytes.digest);
}

} // namespace

std::string hexOf(std::string_view bytes) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += digits[uint8_t(c) >> 4];
    out += digits[uint8_t(c) & 15];
  }
  return out;
}

Hasher::Hasher()
    : state(XXH3_createState(), [](void *s) { XXH3_freeState(static_cast<XXH3_state_t *>(s)); }) {
  XXH3_128bits_reset(static_cast<XXH3_state_t *>(state.get()));
}

void Hasher::add(const void *data, size_t size) {
  XXH3_128bits_update(static_cast<XXH3_state_t *>(state.get()), data, size);
}

std::string Hasher::digest() const {
  return canonical(XXH3_128bits_digest(static_cast<XXH3_state_t *>(state.get())));
}

std::string hashDigest(std::string_view bytes) {
  return canonical(XXH3_128bits(bytes.data(), bytes.size()));
}

uint64_t hash64(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

Result<std::string> hashFile(const std::string &path) {
  const auto failed = [&](const char *why) { return Error{"cannot read '" + path + "': " + why}; };
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status;
  if (!file || ::fstat(*file, &status) != 0)
    return failed(std::strerror(errno));
  if (!S_ISREG(status.st_mode))
    return failed("it is no regular file"); // a pipe would never end
  std::vector<char> buffer(1 << 16);
  Hasher hasher;
  for (uint64_t at = 0;;) {
    const size_t got = readAt(*file, at, buffer.data(), buffer.size());
    hasher.add(buffer.data(), got);
    if (got < buffer.size())
      return errno ? Result<std::string>(failed(std::strerror(errno))) : hasher.hex();
    at += got;
  }
}

} // namespace lorac::formats
