#include "compiler/tools/GeneratedFolder.h"

#include "runtime/UniqueFd.h"
#include "runtime/formats/DurableFile.h"
#include "runtime/formats/FolderManifest.h"
#include "runtime/formats/Hash.h"

#include <algorithm>
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

using formats::FolderManifest;

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
  UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!file || writeAll(*file, bytes) < bytes.size() || fsync(*file) != 0 ||
      close(file.release()) != 0)
    return cannot("write", path, std::strerror(errno));
  return {};
}

/// Paths below `folder` of all that is there, files and folders, in order.
std::vector<std::string> namesBelow(const std::string &folder) {
  std::vector<std::string> names;
  std::error_code code;
  for (fs::recursive_directory_iterator at(folder, code), end; !code && at != end;
       at.increment(code))
    names.push_back(at->path().lexically_relative(folder).string());
  std::sort(names.begin(), names.end());
  return names;
}

bool isFileOfProgram(const std::string &name) {
  return isGeneratedName(name.substr(0, name.find('/'))) || name == FolderManifest::fileName;
}

/// Whatever is in `folder` will be replaced: its manifest must list it, with this content, as a
/// part of a compiled program.
Result<void> checkReplaceable(const std::string &folder) {
  std::error_code code;
  fs::file_status status = fs::status(folder, code);
  if (!fs::exists(status))
    return {};
  if (!fs::is_directory(status))
    return Error{"'" + folder + "' is there and is no folder"};
  Result<std::optional<FolderManifest>> manifest = FolderManifest::read(folder);
  if (!manifest)
    return Error{manifest.error().message + "; give the program a folder of its own with -o",
                 manifest.error().code, manifest.error().corrupt};
  for (const std::string &name : namesBelow(folder)) {
    const fs::path path = fs::path(folder) / name;
    const auto held = [&](const std::string &which) {
      return Error{"'" + folder + "' holds '" + name + "', " + which +
                       "; give the program a folder of its own with -o, or remove '" + folder + "'",
                   Exit::Refused};
    };
    if (!isFileOfProgram(name))
      return held("which lorac did not write");
    if (name == FolderManifest::fileName || (name == "kernels" && fs::is_directory(path)))
      continue;
    if (!*manifest)
      return held("which no manifest.json lists: it is none of lorac's, or of a version before "
                  "there were manifests");
    Result<std::string> hash = fs::is_regular_file(fs::symlink_status(path))
                                   ? formats::hashFile(path.string())
                                   : Error{"no file"};
    if (!hash || !(*manifest)->lists(name, *hash))
      return held((*manifest)->knows(name) ? "which was changed since lorac wrote it"
                                           : "which lorac did not write");
  }
  return {};
}

/// A folder that a compile was writing: its manifest came first, and lists nothing yet.
bool isLeftover(const std::string &folder) {
  const std::vector<std::string> names = namesBelow(folder);
  if (names.empty())
    return true;
  Result<std::optional<FolderManifest>> manifest = FolderManifest::read(folder);
  return manifest && *manifest && std::all_of(names.begin(), names.end(), isFileOfProgram);
}

/// The hash of each file below `folder`.
Result<FolderManifest> manifestOf(const std::string &folder) {
  FolderManifest manifest;
  for (const std::string &name : namesBelow(folder)) {
    const std::string path = folder + "/" + name;
    if (name == FolderManifest::fileName || !fs::is_regular_file(path))
      continue;
    LORAC_TRY_ASSIGN(manifest.files[name], formats::hashFile(path));
  }
  return manifest;
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
    if (gone && isLeftover(at->path().string()))
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
      LORAC_TRY(formats::syncFolder(at->path().string()));
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
                            "plan.md", "run.json", "module.so", "train", "generate"})
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
  // A link stays: what it names is replaced.
  if (std::error_code code; fs::is_symlink(target, code)) {
    const fs::path named = fs::canonical(target, code);
    if (code)
      return Error{"'" + target + "' is a link to nothing", Exit::Refused};
    target = named.string();
  }
  LORAC_TRY(checkReplaceable(target));

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
  LORAC_TRY(FolderManifest().write(aside.path)); // whose folder it is, first of all
  for (const auto &[name, bytes] : files) {
    const fs::path path = fs::path(aside.path) / name;
    fs::create_directories(path.parent_path(), code);
    LORAC_TRY(writeFile(path.string(), bytes));
  }
  LORAC_TRY(finish(aside.path));
  LORAC_TRY_ASSIGN(FolderManifest manifest, manifestOf(aside.path));
  LORAC_TRY(manifest.write(aside.path));
  LORAC_TRY(syncTree(aside.path));
  LORAC_TRY(putInPlace(aside.path, target));
  const std::string parent = fs::path(target).parent_path().string();
  return formats::syncFolder(parent.empty() ? "." : parent);
}

} // namespace lorac::tools
