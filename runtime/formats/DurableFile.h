#pragma once
// Files and folders that appear whole or not at all, also when the machine stops: written aside,
// synced, renamed.

#include "runtime/Result.h"
#include "runtime/UniqueFd.h"
#include "runtime/formats/Hash.h"

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <sys/types.h>

namespace lorac::formats {

/// A file that takes its name only at `commit`. Left uncommitted it disappears. Errors name the
/// path and the cause.
class DurableFile {
public:
  /// Opens `path.tmp-<pid>-<n>` beside the file to be; `mode` as the umask cuts it.
  static Result<DurableFile> create(const std::string &path, mode_t mode = 0666);
  DurableFile(DurableFile &&other) noexcept;
  DurableFile &operator=(DurableFile &&other) noexcept;
  ~DurableFile();

  Result<void> write(const void *data, size_t size);
  Result<void> write(std::string_view text) { return write(text.data(), text.size()); }
  /// XXH3-128 of all that was given to `write`.
  std::string hash() const { return hasher.hex(); }
  /// Flush, fsync, rename over `path`, fsync the folder.
  Result<void> commit();

private:
  DurableFile() = default;
  Result<void> flush();
  Error failure(const char *what, int error) const;

  std::string path, aside, buffer;
  Hasher hasher;
  UniqueFd descriptor;
};

/// `path` holds exactly `contents`, durably.
Result<void> writeDurably(const std::string &path, std::string_view contents, mode_t mode = 0666);

/// A folder that takes its name only at `commit`. Left uncommitted it disappears with all that was
/// written into it.
class DurableDirectory {
public:
  /// Makes `path.tmp-<pid>-<n>`; parents of `path` are made where missing.
  static Result<DurableDirectory> create(const std::string &path);
  DurableDirectory(DurableDirectory &&other) noexcept;
  DurableDirectory &operator=(DurableDirectory &&other) noexcept;
  ~DurableDirectory();

  /// Where to write meanwhile.
  const std::string &workPath() const { return aside; }
  /// Fsync of all files and folders inside.
  Result<void> sync();
  /// `sync`, then rename. A folder that has the name already is replaced in one step.
  Result<void> commit();
  /// Removes what was written, at the second try too. Error: something is left; a later run of
  /// removeLeftovers takes it.
  Result<void> discard();

private:
  DurableDirectory() = default;
  std::string path, aside;
  UniqueFd lock; ///< held on `aside`, so that others see that somebody is at work
};

/// Makes a folder and its missing parents, each synced into the one above it.
Result<void> makeFolder(const std::string &path);

/// A folder's list of names on disk is what it will be after a power cut.
Result<void> syncFolder(const std::string &path);

/// Removes what DurableFile and DurableDirectory of processes that are gone left in `folder`, of
/// names that `isOurs` knows. `alone`: no other process works in the folder.
void removeLeftovers(const std::string &folder,
                     const std::function<bool(const std::string &name)> &isOurs, bool alone);
/// The same, of one file or folder that is about to be written.
void removeLeftoversOf(const std::string &path);

} // namespace lorac::formats
