#pragma once
// What a file is, by its first bytes: so that a wrong one is called by its name.

#include <cstdint>
#include <span>
#include <string>

namespace lorac::formats {

enum class FileKind {
  Empty,
  LfsPointer,
  Html,
  Gguf,
  Safetensors,
  Zip, ///< torch.save writes one
  Pickle,
  Gzip,
  Xz,
  Bzip2,
  Zstd,
  SevenZip,
  Tar,
  Hdf5,
  Onnx,
  Utf16,
  Json,
  Text, ///< plain, of no kind above
  Other
};

FileKind fileKind(std::span<const uint8_t> bytes);

/// What to say where another kind was expected: what the file is, and the mend ("is a git-lfs
/// pointer and not the file itself: …"). Empty for `Other`.
std::string describe(FileKind kind);

} // namespace lorac::formats
