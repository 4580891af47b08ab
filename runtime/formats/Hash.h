#pragma once
// XXH3-128: finds accidents (a byte that flipped, a file of another run), not attackers.

#include "runtime/Result.h"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace lorac::formats {

class Hasher {
public:
  Hasher();
  void add(const void *data, size_t size);
  void add(std::string_view text) { add(text.data(), text.size()); }
  /// 32 hexadecimal digits, most significant first.
  std::string hex() const;

private:
  std::shared_ptr<void> state;
};

std::string hashHex(std::string_view bytes);

/// Of a regular file, read in pieces. Error: it cannot be opened or read, or is no regular file.
Result<std::string> hashFile(const std::string &path);

} // namespace lorac::formats
