#include "runtime/formats/MappedFile.h"
#include "runtime/Say.h"
#include "runtime/UniqueFd.h"
#include "runtime/formats/Checked.h"

#include <fmt/format.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace lorac::formats {
namespace {

/// Mapped ranges that the SIGBUS handler may look at: plain atomics, no locks.
struct GuardSlot {
  std::atomic<uintptr_t> begin{0}, end{0};
  std::atomic<const char *> name{nullptr};
};
constexpr int guardSlots = 1024;
GuardSlot guarded[guardSlots];

int guard(std::span<const uint8_t> view, const char *name) {
  for (int i = 0; i < guardSlots; ++i) {
    const char *expected = nullptr;
    if (!guarded[i].name.compare_exchange_strong(expected, name))
      continue;
    guarded[i].end = uintptr_t(view.data()) + view.size();
    guarded[i].begin = uintptr_t(view.data());
    return i;
  }
  return -1; // more files than slots: a fault in this one keeps its default action
}

void unguard(int slot) {
  if (slot < 0)
    return;
  guarded[slot].begin = 0;
  guarded[slot].end = 0;
  guarded[slot].name = nullptr;
}

void onSigbus(int, siginfo_t *info, void *) {
  const auto address = uintptr_t(info->si_addr);
  for (const GuardSlot &slot : guarded) {
    const uintptr_t begin = slot.begin, end = slot.end;
    // The last page may be read past the file's end.
    if (begin == 0 || address < begin || address >= ((end + 4095) / 4096) * 4096)
      continue;
    const char *name = slot.name;
    sayText("error: '");
    sayText(name ? name : "a mapped file");
    sayText(
        "' was cut short (or its disk failed) while it was in use; bring the file back and go on "
        "with --resume\n");
    _exit(int(Exit::ForeignFile));
  }
  // Not ours: the default action, when the instruction runs again.
  ::signal(SIGBUS, SIG_DFL);
}

Error openError(const std::string &path, int error) {
  return {fmt::format("cannot open '{}': {}", path, strerror(error)), Exit::Failed};
}

Error notRegular(const std::string &path, const struct stat &status) {
  const char *what = S_ISDIR(status.st_mode)    ? "a folder"
                     : S_ISFIFO(status.st_mode) ? "a pipe"
                     : S_ISSOCK(status.st_mode) ? "a socket"
                                                : "a device";
  return {fmt::format("'{}' is {}, not a regular file", path, what), Exit::Failed};
}

/// O_NONBLOCK: a FIFO without a writer must not hang us; it is refused after fstat.
constexpr int readOnly = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

Result<void> checkRegular(const UniqueFd &descriptor, const std::string &path) {
  struct stat status;
  if (::fstat(*descriptor, &status) != 0)
    return openError(path, errno);
  if (!S_ISREG(status.st_mode))
    return notRegular(path, status);
  return {};
}

Result<UniqueFd> openRegular(const std::string &path) {
  UniqueFd descriptor(::open(path.c_str(), readOnly));
  if (!descriptor)
    return openError(path, errno);
  LORAC_TRY(checkRegular(descriptor, path));
  return descriptor;
}

/// Without links; empty: no such file.
std::string resolved(const std::string &path) {
  char *real = ::realpath(path.c_str(), nullptr);
  std::string out = real ? real : "";
  ::free(real);
  return out;
}

/// Where a link of the Hugging Face cache leads: a folder `models--X/snapshots/COMMIT` has links
/// into `models--X/blobs`. Empty: it is none of those.
std::string blobOf(const std::string &folder, const std::string &name) {
  const std::string snapshot = resolved(folder), file = resolved(folder + "/" + name);
  const size_t commit = snapshot.rfind('/');
  if (commit == std::string::npos || commit == 0)
    return "";
  const size_t snapshots = snapshot.rfind('/', commit - 1);
  if (snapshots == std::string::npos || snapshots == 0 ||
      snapshot.substr(snapshots, commit - snapshots) != "/snapshots")
    return "";
  const size_t model = snapshot.rfind('/', snapshots - 1);
  const std::string blobs = snapshot.substr(0, snapshots) + "/blobs/";
  const bool isCache =
      model != std::string::npos && snapshot.compare(model + 1, 8, "models--") == 0;
  return isCache && file.starts_with(blobs) && file.find('/', blobs.size()) == std::string::npos
             ? file
             : "";
}

} // namespace

Result<std::shared_ptr<const MappedFile>> MappedFile::mapDescriptor(int descriptor,
                                                                    std::string path) {
  struct stat status;
  if (::fstat(descriptor, &status) != 0)
    return openError(path, errno);
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->name = std::move(path);
  const auto size = size_t(status.st_size);
  if (size > 0) {
    void *address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (address == MAP_FAILED)
      return Error{fmt::format("cannot map '{}' ({} bytes): {}", file->name, size, strerror(errno)),
                   Exit::Failed};
    file->view = {static_cast<const uint8_t *>(address), size};
    file->guardSlot = guard(file->view, file->name.c_str());
  }
  return std::shared_ptr<const MappedFile>(std::move(file));
}

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::string &path) {
  LORAC_TRY_ASSIGN(UniqueFd descriptor, openRegular(path));
  return mapDescriptor(*descriptor, path);
}

Result<std::shared_ptr<const MappedFile>> MappedFile::openBeneath(const std::string &folder,
                                                                  const std::string &name) {
  const std::string path = folder + "/" + shown(name);
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
      name.find('\0') != std::string::npos)
    return Error{
        fmt::format("'{}' names the file '{}', which is not a plain name inside the folder", folder,
                    shown(name)),
        Exit::ForeignFile};
  const UniqueFd inside(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!inside)
    return openError(folder, errno);
  UniqueFd descriptor(::openat(*inside, name.c_str(), readOnly | O_NOFOLLOW));
  if (!descriptor && errno == ELOOP) {
    const std::string blob = blobOf(folder, name);
    if (blob.empty())
      return Error{
          fmt::format("'{}' is a link; a file that another file names must stand in the folder "
                      "itself, or in the blobs of the same model in the Hugging Face cache",
                      path),
          Exit::ForeignFile};
    descriptor = UniqueFd(::open(blob.c_str(), readOnly | O_NOFOLLOW));
  }
  if (!descriptor)
    return openError(path, errno);
  if (Result<void> regular = checkRegular(descriptor, path); !regular)
    return Error{regular.error().message, Exit::ForeignFile};
  return mapDescriptor(*descriptor, path);
}

std::shared_ptr<const MappedFile> MappedFile::ofBytes(std::string name,
                                                      std::vector<uint8_t> bytes) {
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->name = std::move(name);
  file->owned = std::move(bytes);
  file->view = file->owned;
  return file;
}

MappedFile::~MappedFile() {
  unguard(guardSlot);
  if (owned.empty() && !view.empty())
    ::munmap(const_cast<uint8_t *>(view.data()), view.size());
}

void MappedFile::release(uint64_t offset, uint64_t size) const {
  if (!owned.empty())
    return;
  // The pages at both ends too: what of them is a neighbour's comes back when it is read.
  const uint64_t begin = offset / 4096 * 4096;
  const uint64_t end = std::min<uint64_t>(view.size(), offset + size);
  if (begin < end)
    ::madvise(const_cast<uint8_t *>(view.data()) + begin, end - begin, MADV_DONTNEED);
}

void installSigbusGuard() {
  struct sigaction action = {};
  action.sa_sigaction = onSigbus;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, nullptr);
}

Result<std::string> readSmallFile(const std::string &path, uint64_t limit) {
  LORAC_TRY_ASSIGN(UniqueFd descriptor, openRegular(path));
  std::string text;
  char chunk[1 << 16];
  for (size_t got = sizeof chunk; got == sizeof chunk && text.size() <= limit;) {
    got = readAt(*descriptor, text.size(), chunk, sizeof chunk);
    if (got < sizeof chunk && errno != 0)
      return Error{fmt::format("cannot read '{}': {}", path, strerror(errno)), Exit::Failed};
    text.append(chunk, got);
  }
  if (text.size() > limit)
    return Error{fmt::format("'{}' is longer than {} bytes", path, limit), Exit::ForeignFile};
  return text;
}

} // namespace lorac::formats
