#pragma once
// XXH3-128: finds accidents (a byte that flipped, a file of another run), not attackers.

#include "runtime/Result.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace lorac::formats {

/// Two hexadecimal digits a byte.
std::string hexOf(std::string_view bytes);

class Hasher {
public:
  Hasher();
  void add(const void *data, size_t size);
  void add(std::string_view text) { add(text.data(), text.size()); }
  /// 16 bytes, most significant first.
  std::string digest() const;
  /// The same as 32 hexadecimal digits.
  std::string hex() const { return hexOf(digest()); }

private:
  std::shared_ptr<void> state;
};

/// Hasher's digest of bytes that lie together.
std::string hashDigest(std::string_view bytes);
inline std::string hashHex(std::string_view bytes) { return hexOf(hashDigest(bytes)); }
/// XXH3-64: a number to draw by, from a name.
uint64_t hash64(std::string_view bytes);

/// Of a regular file, read in pieces. Error: it cannot be opened or read, or is no regular file.
Result<std::string> hashFile(const std::string &path);

} // namespace lorac::formats
