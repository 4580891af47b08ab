// The files that a spec names.

#include "dsl/Files.h"

#include "dsl/Check.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <glob.h>
#include <sys/stat.h>

namespace lorac::dsl {

std::string dataPattern(const Spec &spec, const std::string &path) {
  const std::string plain = spec.resolve(path);
  std::error_code ignored;
  if (path.find_first_of("*?[") == std::string::npos || std::filesystem::exists(plain, ignored) ||
      std::filesystem::path(path).is_absolute())
    return plain;
  std::string folder;
  for (char c : spec.directory) {
    if (c == '*' || c == '?' || c == '[' || c == ']' || c == '\\')
      folder += '\\';
    folder += c;
  }
  // Not made normal: a folder's name may hold what only looks like "..".
  return folder + "/" + path;
}

std::vector<std::string> dataFiles(const Spec &spec, const DataSpec &data) {
  std::vector<std::string> files;
  for (const Field<std::string> &path : *data.path) {
    const std::string plain = spec.resolve(*path);
    struct stat info;
    glob_t found{};
    // A file whose name holds a bracket is that file.
    const bool pattern =
        stat(plain.c_str(), &info) != 0 && path->find_first_of("*?[") != std::string::npos;
    if (pattern && glob(dataPattern(spec, *path).c_str(), 0, nullptr, &found) == 0)
      files.insert(files.end(), found.gl_pathv, found.gl_pathv + found.gl_pathc); // sorted by glob
    else
      files.push_back(plain);
    if (pattern)
      globfree(&found);
  }
  return files;
}

void checkFiles(const Spec &spec, Diagnostics &diags) {
  auto check = [&](const Field<std::string> &field, const std::string &path, bool folderToo) {
    struct stat info;
    if (!folderToo && field->find_first_of("*?[") != std::string::npos &&
        stat(path.c_str(), &info) != 0)
      diags.error(field.range, "no file matches '" + printable(path, 300) + "'");
    else if (stat(path.c_str(), &info) != 0)
      diags.error(field.range,
                  "cannot read '" + printable(path, 300) + "': " + std::strerror(errno));
    else if (S_ISDIR(info.st_mode) && !folderToo)
      diags.error(field.range, "'" + printable(path, 300) +
                                   "' is a folder: name a file or a pattern, as in \"" +
                                   printable(*field) + "/*.txt\"");
  };
  if (spec.model.source.given())
    check(spec.model.source, spec.resolve(*spec.model.source), true);
  if (spec.adapter.initFrom.given())
    check(spec.adapter.initFrom, spec.resolve(*spec.adapter.initFrom), true);
  for (const DataSpec &data : spec.data)
    for (const Field<std::string> &path : *data.path) {
      DataSpec one;
      one.path.value = {path};
      for (const std::string &file : dataFiles(spec, one))
        check(path, file, false);
    }
}

} // namespace lorac::dsl
