#pragma once
// Foreign files, mapped read-only.

#include "runtime/Result.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lorac::formats {

/// A regular file mapped read-only for as long as somebody holds it. Anything else (directory,
/// FIFO, device) is refused before it is opened for reading, so nothing can hang.
class MappedFile {
public:
  /// Error: missing, not a regular file, unreadable (Exit::Failed).
  static Result<std::shared_ptr<const MappedFile>> open(const std::string &path);
  /// The file `name` inside `folder`: a plain name, and no link but one of the Hugging Face cache
  /// (from `models--X/snapshots/COMMIT` to `models--X/blobs`). Error: Exit::ForeignFile when `name`
  /// is something else, else as `open`.
  static Result<std::shared_ptr<const MappedFile>> openBeneath(const std::string &folder,
                                                               const std::string &name);
  /// Bytes in memory that stand for a file called `name` in messages.
  static std::shared_ptr<const MappedFile> ofBytes(std::string name, std::vector<uint8_t> bytes);

  ~MappedFile();
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;

  const std::string &path() const { return name; }
  std::span<const uint8_t> bytes() const { return view; }

  /// Lets go of the pages of these bytes: they count no more as resident (they come back from disk
  /// when read).
  void release(uint64_t offset, uint64_t size) const;

private:
  MappedFile() = default;
  /// The descriptor stays the caller's.
  static Result<std::shared_ptr<const MappedFile>> mapDescriptor(int descriptor, std::string path);

  std::string name;
  std::span<const uint8_t> view;
  std::vector<uint8_t> owned;
  int guardSlot = -1;
};

/// Once called, reading a mapped file that another process has cut short ends this process with one
/// line that names the file and exit code 5, not with SIGBUS. Faults elsewhere keep their default
/// action. Idempotent.
void installSigbusGuard();

/// A whole text or JSON file of at most `limit` bytes.
Result<std::string> readSmallFile(const std::string &path, uint64_t limit);

} // namespace lorac::formats
