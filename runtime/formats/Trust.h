#pragma once
// Files whose bytes are run, such as kernels in a cache and the compiler that a run asks, must come
// from this user or from root: nobody else may own or write them.

#include "runtime/Result.h"

#include <string>
#include <sys/stat.h>

namespace lorac::formats {

/// Why another user may have chosen what is there: "belongs to user 1000", "can be written by all
/// users"; "" where it is ours. The group may write where it is this user's own (its number is the
/// user's), and all may write to a folder in which each can change his own alone, as in /tmp.
std::string notOurs(const struct stat &info);
/// The same of what `path` names, links followed; "" where nothing is there.
std::string notOurs(const std::string &path);

/// Error: the folder, or the one that it is in, is there and is not ours.
Result<void> checkOwnFolder(const std::string &path);
/// Makes the folder for this user alone (0700), parents as the umask says, where it is missing; and
/// checks it.
Result<void> makeOwnFolder(const std::string &path);

/// The bytes of a plain file, not a link, that is ours.
Result<std::string> readOwnFile(const std::string &path, uint64_t mostBytes);

} // namespace lorac::formats
