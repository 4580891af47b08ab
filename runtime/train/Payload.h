#pragma once
// Files appended to the runtime executable: the train binary carries its kernels, plan and spec.
//
//   executable | file bytes one after another | table | footer
//   table: for each file  u32 name length, name, u64 offset, u64 size, XXH3-128 (canonical)
//   footer (64 bytes): u64 table offset, u64 table size, u32 files, u32 version 1, u64 first byte
//     of the payload, XXH3-128 of table and the 32 bytes before, "lorac payload\r\n\x1a"
//
// All numbers little-endian. The files fill the space between executable and table without a hole,
// so each byte of the payload is covered by a hash or by the comparison of the magic.

#include "runtime/Result.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace lorac::train {

/// What a program is compiled from at other ranks: MLIR bytecode, for lorac alone.
inline constexpr const char *baseFile = "model.mlirbc";

struct PayloadFile {
  std::string name, bytes;
};

/// Writes `runtimeExe` with the files appended to `outPath`, executable as the umask says, aside
/// first, then renamed: there is never half a binary. A payload that `runtimeExe` already has is
/// left out.
Result<void> writeTrainBinary(const std::string &runtimeExe, const std::vector<PayloadFile> &files,
                              const std::string &outPath);

/// A program alone, without an executable before it, for this user's eyes.
Result<void> writeProgram(const std::vector<PayloadFile> &files, const std::string &outPath);

/// The files appended to `path` (a running program passes "/proc/self/exe"), hashes checked.
class Payload {
public:
  /// `mustBeOurs`: a link, or a file that another user owns or can write, is refused.
  static Result<Payload> read(const std::string &path, bool mustBeOurs = false);

  bool has(const std::string &name) const { return files.count(name) != 0; }
  /// "" when there is none.
  const std::string &file(const std::string &name) const;
  std::vector<std::string> names() const;
  /// Lets go of a file that is needed no more.
  void release(const std::string &name) { files.erase(name); }

private:
  std::map<std::string, std::string> files;
};

} // namespace lorac::train
