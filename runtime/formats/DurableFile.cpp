#include "runtime/formats/DurableFile.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

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
  const UniqueFd descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags));
  if (!descriptor)
    return pathError("open", path, errno);
  const int failed = ::fsync(*descriptor) != 0 ? errno : 0;
  // Some file systems cannot sync a folder: EINVAL, and nothing is lost that they promise.
  if (failed && !(failed == EINVAL && (flags & O_DIRECTORY)))
    return pathError("sync", path, failed);
  return {};
}

/// Whether `name` is `stem`.tmp-<pid>-<n>, as asideName makes it.
bool splitAside(const std::string &name, std::string &stem, pid_t &process) {
  const size_t mark = name.rfind(".tmp-");
  if (mark == std::string::npos || mark == 0)
    return false;
  std::string_view rest = std::string_view(name).substr(mark + 5);
  if (rest.ends_with(".old"))
    rest.remove_suffix(4);
  const size_t dash = rest.find('-');
  if (dash == std::string_view::npos || dash == 0 || dash > 9 || dash + 1 == rest.size() ||
      rest.find_first_not_of("0123456789-") != std::string_view::npos ||
      rest.find('-', dash + 1) != std::string_view::npos)
    return false;
  stem = name.substr(0, mark);
  process = pid_t(std::atol(std::string(rest.substr(0, dash)).c_str()));
  return true;
}

/// Whether nobody writes into it: its process is gone, and nobody holds its lock. A process of this
/// number may be another one (each container counts from 1): then the lock alone tells.
bool isLeft(const std::string &path, pid_t process, bool alone) {
  struct stat status;
  if (::lstat(path.c_str(), &status) != 0 || (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)))
    return false;
  const bool gone = ::kill(process, 0) != 0 && errno == ESRCH;
  if (!gone && !alone && process != ::getpid())
    return false;
  const UniqueFd descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!descriptor)
    return gone || alone;
  const bool held = ::flock(*descriptor, LOCK_EX | LOCK_NB) != 0;
  const bool noLocks = held && errno != EWOULDBLOCK;
  return !held || (noLocks && (gone || alone));
}

} // namespace

Result<void> syncFolder(const std::string &path) { return syncPath(path, O_DIRECTORY); }

Result<void> makeFolder(const std::string &path) {
  namespace fs = std::filesystem;
  std::vector<std::string> missing;
  std::string at = path;
  while (at.size() > 1 && at.ends_with('/'))
    at.pop_back();
  std::error_code failed, ignored;
  while (!fs::exists(at, failed)) {
    const std::string above = folderOf(at);
    if (failed || above == at) // a file system that answers nothing any more
      return pathError("make", path, failed ? failed.value() : ENOENT);
    missing.push_back(at);
    at = above;
  }
  for (auto name = missing.rbegin(); name != missing.rend(); ++name) {
    if (::mkdir(name->c_str(), 0777) != 0 && errno != EEXIST)
      return pathError("make", *name, errno);
    LORAC_TRY(syncFolder(folderOf(*name)));
  }
  if (!fs::is_directory(path, ignored))
    return pathError("make", path, ENOTDIR);
  return {};
}

void removeLeftovers(const std::string &folder,
                     const std::function<bool(const std::string &name)> &isOurs, bool alone) {
  std::error_code error;
  std::vector<std::string> found;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    const std::string name = at->path().filename().string();
    std::string stem;
    pid_t process = 0;
    if (splitAside(name, stem, process) && isOurs(stem) &&
        isLeft(at->path().string(), process, alone))
      found.push_back(at->path().string());
  }
  for (const std::string &path : found)
    std::filesystem::remove_all(path, error);
}

void removeLeftoversOf(const std::string &path) {
  std::string whole = path;
  while (whole.size() > 1 && whole.ends_with('/'))
    whole.pop_back();
  const std::string base = std::filesystem::path(whole).filename().string();
  removeLeftovers(folderOf(whole), [&](const std::string &name) { return name == base; }, false);
}

Result<DurableFile> DurableFile::create(const std::string &path, mode_t mode) {
  DurableFile file;
  file.path = path;
  for (int attempt = 0; attempt < 100; ++attempt) {
    file.aside = asideName(path);
    file.descriptor =
        UniqueFd(::open(file.aside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (file.descriptor || errno != EEXIST)
      break;
  }
  if (!file.descriptor) {
    const int error = errno;
    file.aside.clear();
    return pathError("write", path, error);
  }
  (void)::flock(*file.descriptor, LOCK_EX | LOCK_NB); // "somebody is at work"
  return file;
}

DurableFile::DurableFile(DurableFile &&other) noexcept { *this = std::move(other); }

DurableFile &DurableFile::operator=(DurableFile &&other) noexcept {
  std::swap(path, other.path);
  std::swap(aside, other.aside);
  std::swap(buffer, other.buffer);
  std::swap(hasher, other.hasher);
  std::swap(descriptor, other.descriptor);
  return *this;
}

DurableFile::~DurableFile() {
  if (!aside.empty())
    ::unlink(aside.c_str());
}

Error DurableFile::failure(const char *what, int error) const {
  return pathError(what, path, error);
}

Result<void> DurableFile::flush() {
  if (writeAll(*descriptor, buffer) < buffer.size())
    return failure("write", errno);
  buffer.clear();
  return {};
}

Result<void> DurableFile::write(const void *data, size_t size) {
  hasher.add(data, size);
  auto bytes = static_cast<const char *>(data);
  while (size > 0) {
    const size_t part = std::min(size, bufferSize - buffer.size());
    buffer.append(bytes, part);
    bytes += part;
    size -= part;
    if (buffer.size() == bufferSize)
      LORAC_TRY(flush());
  }
  return {};
}

Result<void> DurableFile::commit() {
  LORAC_TRY(flush());
  if (::fsync(*descriptor) != 0)
    return failure("sync", errno);
  if (::close(descriptor.release()) != 0)
    return failure("write", errno);
  if (::rename(aside.c_str(), path.c_str()) != 0)
    return failure("write", errno);
  aside.clear();
  return syncPath(folderOf(path), O_DIRECTORY);
}

Result<void> writeDurably(const std::string &path, std::string_view contents, mode_t mode) {
  LORAC_TRY_ASSIGN(DurableFile file, DurableFile::create(path, mode));
  LORAC_TRY(file.write(contents));
  return file.commit();
}

Result<DurableDirectory> DurableDirectory::create(const std::string &path) {
  DurableDirectory folder;
  folder.path = path;
  while (folder.path.size() > 1 && folder.path.ends_with('/'))
    folder.path.pop_back();
  LORAC_TRY(makeFolder(folderOf(folder.path)));
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
  folder.lock = UniqueFd(::open(folder.aside.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.lock)
    (void)::flock(*folder.lock, LOCK_EX | LOCK_NB);
  return folder;
}

DurableDirectory::DurableDirectory(DurableDirectory &&other) noexcept { *this = std::move(other); }

DurableDirectory &DurableDirectory::operator=(DurableDirectory &&other) noexcept {
  std::swap(path, other.path);
  std::swap(aside, other.aside);
  std::swap(lock, other.lock);
  return *this;
}

DurableDirectory::~DurableDirectory() {
  std::error_code ignored;
  if (!aside.empty())
    std::filesystem::remove_all(aside, ignored);
}

Result<void> DurableDirectory::sync() {
  namespace fs = std::filesystem;
  std::error_code error;
  for (fs::recursive_directory_iterator at(aside, error), end; !error && at != end;
       at.increment(error)) {
    std::error_code ignored;
    if (at->is_symlink(ignored))
      continue;
    const int flags = at->is_directory(ignored) ? O_DIRECTORY : 0;
    LORAC_TRY(syncPath(at->path().string(), flags));
  }
  if (error)
    return pathError("read", aside, error.value());
  return syncPath(aside, O_DIRECTORY);
}

Result<void> DurableDirectory::discard() {
  std::error_code error;
  for (int attempt = 0; attempt < 2; ++attempt) {
    std::filesystem::remove_all(aside, error);
    if (!error)
      break;
  }
  const std::string left = std::exchange(aside, "");
  if (error)
    return pathError("remove", left, error.value());
  return {};
}

Result<void> DurableDirectory::commit() {
  namespace fs = std::filesystem;
  std::error_code error;
  LORAC_TRY(sync());
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
