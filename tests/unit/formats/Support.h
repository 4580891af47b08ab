#pragma once
// What the tests of readers share.

#include "runtime/formats/MappedFile.h"
#include "runtime/formats/Safetensors.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

namespace lorac::formats {

inline const std::string golden = std::string(LORAC_SOURCE_DIR) + "/tests/golden";
/// Data that comes from elsewhere and is not in the repository: may be absent.
inline const std::string outside = std::string(LORAC_SOURCE_DIR) + "/../shared";

/// A folder that goes away with the test.
class TempFolder {
public:
  TempFolder() {
    std::string pattern = std::filesystem::temp_directory_path() / "lorac-formats-XXXXXX";
    path = mkdtemp(pattern.data());
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string operator/(const std::string &name) const { return path + "/" + name; }
  std::string path;
};

inline std::shared_ptr<const MappedFile> bytesFile(std::string_view bytes,
                                                   std::string name = "test.bin") {
  return MappedFile::ofBytes(std::move(name), {bytes.begin(), bytes.end()});
}

/// The value, or a failed test with the error's words.
template <typename T>
T take(Result<T> result) {
  if (!result)
    throw std::runtime_error(result.error().message);
  return std::move(*result);
}

inline void take(Result<void> result) {
  if (!result)
    throw std::runtime_error(result.error().message);
}

inline std::vector<uint8_t> byteValues(const Safetensors &file, const std::string &name) {
  const TensorInfo *tensor = file.find(name);
  if (!tensor)
    throw std::runtime_error("no tensor " + name);
  const auto bytes = file.bytes(*tensor);
  return {bytes.begin(), bytes.end()};
}

} // namespace lorac::formats
