#include "runtime/formats/DurableFile.h"

#include <fmt/format.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

namespace lorac::formats {
namespace {

constexpr size_t bufferSize = 1 << 20;

std::string asideName(const std::string &path) {
  static std::atomic<unsigned> counter{0};
  std::string_view base = path;
  while (base.size() > 1 && base.ends_with('/'))
    base.remove_suffix(1);
  return fmt::format("{}.tmp-{}-{}", base, ::getpid(), counter++);
}

std::string folderOf(const std::string &path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

Error pathError(const char *what, const std::string &path, int error) {
  return {fmt::format("cannot {} '{}': {}", what, path, strerror(error)), Exit::Failed};
}

Result<void> syncPath(const std::string &path, int flags) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags);
  if (descriptor < 0)
    return pathError("open", path, errno);
  const int failed = ::fsync(descriptor) != 0 ? errno : 0;
  ::close(descriptor);
  // Some file systems cannot sync a folder: EINVAL, and nothing is lost that they promise.
  if (failed && !(failed == EINVAL && (flags & O_DIRECTORY)))
    return pathError("sync", path, failed);
  return {};
}

} // namespace

Result<DurableFile> DurableFile::create(const std::string &path, mode_t mode) {
  DurableFile file;
  file.path = path;
  for (int attempt = 0; attempt < 100; ++attempt) {
    file.aside = asideName(path);
    file.descriptor = ::open(file.aside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (file.descriptor >= 0 || errno != EEXIST)
      break;
  }
  if (file.descriptor < 0) {
    const int error = errno;
    file.aside.clear();
    return pathError("write", path, error);
  }
  return file;
}

DurableFile::DurableFile(DurableFile &&other) noexcept { *this = std::move(other); }

DurableFile &DurableFile::operator=(DurableFile &&other) noexcept {
  std::swap(path, other.path);
  std::swap(aside, other.aside);
  std::swap(buffer, other.buffer);
  std::swap(descriptor, other.descriptor);
  return *this;
}

DurableFile::~DurableFile() {
  if (descriptor >= 0)
    ::close(descriptor);
  if (!aside.empty())
    ::unlink(aside.c_str());
}

Error DurableFile::failure(const char *what, int error) const {
  return pathError(what, path, error);
}

Result<void> DurableFile::flush() {
  const char *data = buffer.data();
  size_t left = buffer.size();
  while (left > 0) {
    const ssize_t n = ::write(descriptor, data, left);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return failure("write", errno);
    data += n;
    left -= size_t(n);
  }
  buffer.clear();
  return {};
}

Result<void> DurableFile::write(const void *data, size_t size) {
  auto bytes = static_cast<const char *>(data);
  while (size > 0) {
    const size_t part = std::min(size, bufferSize - buffer.size());
    buffer.append(bytes, part);
    bytes += part;
    size -= part;
    if (buffer.size() == bufferSize)
      if (Result<void> flushed = flush(); !flushed)
        return flushed;
  }
  return {};
}

Result<void> DurableFile::commit() {
  if (Result<void> flushed = flush(); !flushed)
    return flushed;
  if (::fsync(descriptor) != 0)
    return failure("sync", errno);
  const int closed = ::close(descriptor);
  descriptor = -1;
  if (closed != 0)
    return failure("write", errno);
  if (::rename(aside.c_str(), path.c_str()) != 0)
    return failure("write", errno);
  aside.clear();
  return syncPath(folderOf(path), O_DIRECTORY);
}

Result<void> writeDurably(const std::string &path, std::string_view contents, mode_t mode) {
  Result<DurableFile> file = DurableFile::create(path, mode);
  if (!file)
    return file.error();
  if (Result<void> written = file->write(contents); !written)
    return written;
  return file->commit();
}

Result<DurableDirectory> DurableDirectory::create(const std::string &path) {
  DurableDirectory folder;
  folder.path = path;
  while (folder.path.size() > 1 && folder.path.ends_with('/'))
    folder.path.pop_back();
  std::error_code error;
  std::filesystem::create_directories(folderOf(folder.path), error);
  if (error)
    return pathError("make", folderOf(folder.path), error.value());
  int made = -1;
  for (int attempt = 0; attempt < 100; ++attempt) {
    folder.aside = asideName(folder.path);
    made = ::mkdir(folder.aside.c_str(), 0777);
    if (made == 0 || errno != EEXIST)
      break;
  }
  if (made != 0) {
    const int failed = errno;
    folder.aside.clear();
    return pathError("make", folder.path, failed);
  }
  return folder;
}

DurableDirectory::DurableDirectory(DurableDirectory &&other) noexcept { *this = std::move(other); }

DurableDirectory &DurableDirectory::operator=(DurableDirectory &&other) noexcept {
  std::swap(path, other.path);
  std::swap(aside, other.aside);
  return *this;
}

DurableDirectory::~DurableDirectory() {
  std::error_code ignored;
  if (!aside.empty())
    std::filesystem::remove_all(aside, ignored);
}

Result<void> DurableDirectory::commit() {
  namespace fs = std::filesystem;
  std::error_code error;
  for (fs::recursive_directory_iterator at(aside, error), end; !error && at != end;
       at.increment(error)) {
    std::error_code ignored;
    if (at->is_symlink(ignored))
      continue;
    const int flags = at->is_directory(ignored) ? O_DIRECTORY : 0;
    if (Result<void> synced = syncPath(at->path().string(), flags); !synced)
      return synced;
  }
  if (error)
    return pathError("read", aside, error.value());
  if (Result<void> synced = syncPath(aside, O_DIRECTORY); !synced)
    return synced;
  if (::rename(aside.c_str(), path.c_str()) == 0) {
    aside.clear();
    return syncPath(folderOf(path), O_DIRECTORY);
  }
  if (errno != ENOTEMPTY && errno != EEXIST)
    return pathError("write", path, errno);
  // The name is taken: both names change in one step, and what was there goes away with `aside`.
  if (::renameat2(AT_FDCWD, aside.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) != 0) {
    const std::string old = aside + ".old";
    if (::rename(path.c_str(), old.c_str()) != 0 || ::rename(aside.c_str(), path.c_str()) != 0)
      return pathError("write", path, errno);
    aside = old;
  }
  Result<void> synced = syncPath(folderOf(path), O_DIRECTORY);
  fs::remove_all(aside, error);
  aside.clear();
  return synced;
}

} // namespace lorac::formats
