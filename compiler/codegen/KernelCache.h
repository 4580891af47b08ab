#pragma once
// Compiled kernels of both targets on disk, by what they were compiled from: a second compile of
// the same source for the same architecture by the same compiler takes no time. No MLIR, no
// exceptions. The folder is never cleaned: an entry is tens of kilobytes, and all of it may be
// deleted at any time.
//
//   NAME.kernel: "lorac kernel 1\r\n", u64 binary size, u64 resources size, XXH3-128 of the key,
//   XXH3-128 of all before and of what follows, the binary, the resources
//
// NAME is the key's XXH3-128. Entries are written aside, synced and renamed, so that readers and
// other writers see a whole one or none; one that is not whole, or not this user's, is removed and
// counts as absent.

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

namespace lorac {

/// What a kernel is compiled from; every field is part of its identity.
struct CacheKey {
  std::string source;
  std::string options;      ///< of the compiler, in order
  std::string architecture; ///< "sm_80", "compute_80", "x86-64"
  std::string compiler;     ///< "NVRTC 13.0.88", "lorac 0.1.0 <hash>"

  /// 32 hexadecimal digits.
  std::string hash() const;
};

/// What came out: a cubin, PTX or an object file, and the compiler's words on registers, shared
/// memory and spills.
struct StoredKernel {
  std::string binary, resources;
};

class KernelCache {
public:
  /// `folder` is made when the first entry is kept ("": nothing is kept or found). `warn` is told
  /// once when the folder cannot be written to, or another user can write it; compiling goes on
  /// without it.
  explicit KernelCache(std::string folder, std::function<void(const std::string &)> warn = {});

  /// Both from several threads and processes.
  std::optional<StoredKernel> find(const CacheKey &key);
  void keep(const CacheKey &key, const StoredKernel &kernel);

  const std::string &folder() const { return where; }
  int found() const { return foundCount; }
  int missed() const { return missedCount; }

private:
  std::string pathOf(const std::string &hash) const;
  void sayNotKept(const std::string &why);

  std::string where;
  const std::function<void(const std::string &)> warn;
  std::once_flag warned;
  std::atomic<int> foundCount{0}, missedCount{0};
};

} // namespace lorac
