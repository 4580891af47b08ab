#include "runtime/train/Hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <vector>

namespace lorac::train {

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

std::string hashFile(const std::string &path) {
  if (std::error_code error; !std::filesystem::is_regular_file(path, error))
    return ""; // a pipe would never end
  std::ifstream in(path, std::ios::binary);
  std::vector<char> buffer(1 << 16);
  Hasher hasher;
  while (in.read(buffer.data(), std::streamsize(buffer.size())) || in.gcount() > 0)
    hasher.add(buffer.data(), size_t(in.gcount()));
  return in.eof() ? hasher.hex() : "";
}

} // namespace lorac::train
