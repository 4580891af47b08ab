#include "runtime/formats/Trust.h"

#include "runtime/UniqueFd.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>

namespace lorac::formats {

std::string notOurs(const struct stat &info) {
  const uid_t self = geteuid();
  if (info.st_uid != self && info.st_uid != 0)
    return "belongs to user " + std::to_string(info.st_uid);
  const bool eachHisOwn = S_ISDIR(info.st_mode) && (info.st_mode & S_ISVTX);
  if ((info.st_mode & S_IWOTH) && !eachHisOwn)
    return "can be written by all users";
  if ((info.st_mode & S_IWGRP) && !eachHisOwn && info.st_gid != self && info.st_gid != 0)
    return "can be written by group " + std::to_string(info.st_gid);
  return "";
}

std::string notOurs(const std::string &path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 ? notOurs(info) : "";
}

Result<void> checkOwnFolder(const std::string &path) {
  for (const std::string &folder : {std::filesystem::path(path).parent_path().string(), path})
    if (const std::string why = notOurs(folder); !why.empty())
      return Error{"'" + folder + "' " + why + ", who could put programs there"};
  return {};
}

Result<void> makeOwnFolder(const std::string &path) {
  std::error_code code;
  if (const std::filesystem::path parent = std::filesystem::path(path).parent_path();
      !parent.empty())
    std::filesystem::create_directories(parent, code);
  if (code || (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST))
    return Error{"cannot make '" + path + "': " + (code ? code.message() : std::strerror(errno))};
  return checkOwnFolder(path);
}

Result<std::string> readOwnFile(const std::string &path, uint64_t mostBytes) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat info;
  if (!file || fstat(*file, &info) != 0)
    return Error{"cannot open '" + path + "': " + std::strerror(errno)};
  if (!S_ISREG(info.st_mode) || uint64_t(info.st_size) > mostBytes)
    return Error{"'" + path + "' is no plain file, or too large"};
  if (const std::string why = notOurs(info); !why.empty())
    return Error{"'" + path + "' " + why};
  std::string bytes(size_t(info.st_size), '\0');
  if (readAt(*file, 0, bytes.data(), bytes.size()) < bytes.size())
    return Error{"cannot read '" + path +
                 "': " + (errno ? std::strerror(errno) : "it was cut while it was read")};
  return bytes;
}

} // namespace lorac::formats
