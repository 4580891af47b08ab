#include "compiler/tools/Resources.h"

#include "runtime/train/CacheFolder.h"

#include <cstdlib>
#include <filesystem>
#include <unistd.h>

namespace fs = std::filesystem;

namespace lorac::tools {
namespace {

std::string environment(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

bool isExecutable(const std::string &path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored) && access(path.c_str(), X_OK) == 0;
}

} // namespace

std::string executableFolder() {
  std::error_code ignored;
  return fs::read_symlink("/proc/self/exe", ignored).parent_path().string();
}

std::string onPath(const std::string &name) {
  std::string path = environment("PATH");
  for (size_t begin = 0; begin < path.size();) {
    size_t end = std::min(path.find(':', begin), path.size());
    if (end > begin) {
      std::string candidate = path.substr(begin, end - begin) + "/" + name;
      if (isExecutable(candidate))
        return candidate;
    }
    begin = end + 1;
  }
  return "";
}

Result<std::string> trainRuntime() {
  if (std::string named = environment("LORAC_TRAIN"); !named.empty()) {
    if (isExecutable(named))
      return named;
    return Error{"$LORAC_TRAIN names '" + named + "', which is no executable file"};
  }
  const std::string folder = executableFolder();
  for (const char *place : {"/lorac-train", "/../libexec/lorac/lorac-train"})
    if (isExecutable(folder + place))
      return folder + place;
  return Error{"the training executable 'lorac-train' is not beside lorac in '" + folder +
               "'; build it, or name it in $LORAC_TRAIN"};
}

Result<std::string> linker() {
  if (std::string named = environment("LORAC_LLD"); !named.empty()) {
    if (isExecutable(named))
      return named;
    return Error{"$LORAC_LLD names '" + named + "', which is no executable file"};
  }
  for (const std::string &place : {executableFolder() + "/ld.lld", std::string(LORAC_BUILD_LLD)})
    if (isExecutable(place))
      return place;
  for (const char *name : {"ld.lld-22", "ld.lld"})
    if (std::string found = onPath(name); !found.empty())
      return found;
  return Error{"no ld.lld was found, which links the kernels; install the Debian package lld-22, "
               "or name it in $LORAC_LLD"};
}

std::vector<std::string> architectureFolders(const std::string &specPath) {
  const std::string folder = executableFolder();
  std::vector<std::string> found;
  for (const fs::path &place :
       {fs::path(specPath).parent_path() / "architectures", fs::path("specs/architectures"),
        fs::path(folder) / ".." / "specs" / "architectures",
        fs::path(folder) / ".." / "share" / "lorac" / "architectures"}) {
    std::error_code ignored;
    bool known = false;
    for (const std::string &other : found)
      known |= fs::equivalent(other, place, ignored);
    if (!known && fs::is_directory(place, ignored))
      found.push_back(place.lexically_normal().string());
  }
  return found;
}

std::string cacheFolder() { return train::cacheFolder(); }

} // namespace lorac::tools
