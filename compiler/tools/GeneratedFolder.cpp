#include "compiler/tools/GeneratedFolder.h"

#include "runtime/formats/DurableFile.h"

#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>
#include <vector>

namespace fs = std::filesystem;

namespace lorac::tools {
namespace {

/// Ctrl-C waits while files are being written: they are few and small.
class SignalsHeld {
public:
  SignalsHeld() {
    sigset_t held;
    sigemptyset(&held);
    for (int number : {SIGINT, SIGTERM, SIGHUP})
      sigaddset(&held, number);
    sigprocmask(SIG_BLOCK, &held, &before);
  }
  ~SignalsHeld() { sigprocmask(SIG_SETMASK, &before, nullptr); }

private:
  sigset_t before;
};

/// A folder that disappears unless it was put in place.
struct Aside {
  std::string path;
  ~Aside() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

Error cannot(const char *what, const std::string &path, const std::string &why) {
  return {std::string("cannot ") + what + " '" + path + "': " + why};
}

Result<void> writeFile(const std::string &path, const std::string &bytes) {
  FILE *file = std::fopen(path.c_str(), "wb");
  if (!file)
    return cannot("write", path, std::strerror(errno));
  bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  int code = errno;
  if (written && (std::fflush(file) != 0 || fsync(fileno(file)) != 0)) {
    written = false;
    code = errno;
  }
  if (std::fclose(file) != 0 && written) {
    written = false;
    code = errno;
  }
  if (!written)
    return cannot("write", path, std::strerror(code));
  return {};
}

/// Whatever is in `folder` must be ours: it will be replaced.
Result<void> checkReplaceable(const std::string &folder) {
  std::error_code code;
  fs::file_status status = fs::status(folder, code);
  if (!fs::exists(status))
    return {};
  if (!fs::is_directory(status))
    return Error{"'" + folder + "' is there and is no folder"};
  for (fs::directory_iterator entry(folder, code), end; !code && entry != end;
       entry.increment(code))
    if (!isGeneratedName(entry->path().filename().string()))
      return Error{"'" + folder + "' holds '" + entry->path().filename().string() +
                   "', which lorac did not write; give it a folder of its own with -o"};
  return {};
}

/// What compiles of processes that are gone left beside the folder: X.part.PID.
void removeLeftovers(const std::string &folder) {
  const fs::path path(folder), parent = path.parent_path().empty() ? "." : path.parent_path();
  const std::string prefix = path.filename().string() + ".part.";
  std::error_code code;
  std::vector<fs::path> left;
  for (fs::directory_iterator at(parent, code), end; !code && at != end; at.increment(code)) {
    const std::string name = at->path().filename().string();
    if (!name.starts_with(prefix) || name.size() > prefix.size() + 9 ||
        name.size() == prefix.size() ||
        name.find_first_not_of("0123456789", prefix.size()) != std::string::npos ||
        at->is_symlink(code) || !at->is_directory(code))
      continue;
    const pid_t process = pid_t(std::atol(name.c_str() + prefix.size()));
    const bool gone = process != getpid() && kill(process, 0) != 0 && errno == ESRCH;
    if (gone && checkReplaceable(at->path().string()))
      left.push_back(at->path());
  }
  for (const fs::path &old : left)
    fs::remove_all(old, code);
}

Result<void> syncTree(const std::string &folder) {
  std::error_code code;
  for (fs::recursive_directory_iterator at(folder, code), end; !code && at != end;
       at.increment(code))
    if (std::error_code ignored; at->is_directory(ignored))
      if (Result<void> synced = formats::syncFolder(at->path().string()); !synced)
        return synced;
  return formats::syncFolder(folder);
}

Result<void> putInPlace(const std::string &aside, const std::string &folder) {
  if (rename(aside.c_str(), folder.c_str()) == 0) // no folder there yet, or an empty one
    return {};
  if (renameat2(AT_FDCWD, aside.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) == 0)
    return {}; // what was there is aside now, and goes
  const std::string old = aside + ".old";
  if (rename(folder.c_str(), old.c_str()) != 0)
    return cannot("replace", folder, std::strerror(errno));
  if (rename(aside.c_str(), folder.c_str()) != 0) {
    int code = errno;
    if (rename(old.c_str(), folder.c_str()) != 0)
      return cannot("replace", folder,
                    std::string(std::strerror(code)) + "; its content is in '" + old + "'");
    return cannot("replace", folder, std::strerror(code));
  }
  std::error_code ignored;
  fs::remove_all(old, ignored);
  return {};
}

} // namespace

bool isGeneratedName(const std::string &name) {
  for (const char *known : {"kernels", "kernels.json", "kernels.md", "memory.json", "plan.json",
                            "plan.md", "run.json", "module.so", "train"})
    if (name == known)
      return true;
  return name.size() > 3 && std::isdigit(static_cast<unsigned char>(name[0])) &&
         std::isdigit(static_cast<unsigned char>(name[1])) && name[2] == '-';
}

Result<void> writeGenerated(const std::string &folder,
                            const std::map<std::string, std::string> &files,
                            const std::function<Result<void>(const std::string &aside)> &finish) {
  std::string target = fs::path(folder).lexically_normal().string();
  while (target.size() > 1 && target.back() == '/')
    target.pop_back();
  if (auto fine = checkReplaceable(target); !fine)
    return fine.error();

  SignalsHeld held;
  std::error_code code;
  if (fs::path parent = fs::path(target).parent_path(); !parent.empty()) {
    fs::create_directories(parent, code);
    if (code)
      return cannot("create", parent.string(), code.message());
  }
  removeLeftovers(target);
  Aside aside{target + ".part." + std::to_string(getpid())};
  fs::remove_all(aside.path, code);
  if (!fs::create_directory(aside.path, code))
    return cannot("create", aside.path, code.message());
  for (const auto &[name, bytes] : files) {
    const fs::path path = fs::path(aside.path) / name;
    fs::create_directories(path.parent_path(), code);
    if (auto written = writeFile(path.string(), bytes); !written)
      return written.error();
  }
  if (auto finished = finish(aside.path); !finished)
    return finished.error();
  if (auto synced = syncTree(aside.path); !synced)
    return synced;
  if (auto placed = putInPlace(aside.path, target); !placed)
    return placed;
  const std::string parent = fs::path(target).parent_path().string();
  return formats::syncFolder(parent.empty() ? "." : parent);
}

} // namespace lorac::tools
