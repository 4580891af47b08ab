#pragma once
// manifest.json: which files of a folder lorac wrote, and with what content. Only what it lists,
// with this content, may be replaced or removed; all else is somebody else's.

#include "runtime/Result.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lorac::formats {

struct FolderManifest {
  static constexpr const char *fileName = "manifest.json";
  /// In place of a hash: a file of lines that grows while the run goes on.
  static constexpr const char *grows = "grows";

  /// XXH3-128 by name. A checkpoint stands as a whole, by the hash in its trainer_state.json.
  using Hashes = std::map<std::string, std::string>;
  Hashes files;
  /// About to take their names: there with this content, or as they were before.
  Hashes pending;
  /// Of an older run, whose place this one is taking: gone once a checkpoint of this one is there.
  Hashes replaced;
  std::string spec;     ///< which the run was compiled from
  std::string programs; ///< AdaLoRA: JSON, the programs that were asked for; "": none

  /// Whether lorac wrote this content under this name.
  bool lists(const std::string &name, const std::string &hash) const;
  bool knows(const std::string &name) const;

  /// Nothing where there is no such file. Errors, by name: a manifest of ours that was damaged
  /// (Exit::ForeignFile, corrupt), a file of that name that is none of ours (Exit::Refused). A
  /// version before this one wrote `programs` alone: it lists no file.
  static Result<std::optional<FolderManifest>> read(const std::string &folder);
  Result<void> write(const std::string &folder) const;
};

/// Whether each of `names` in `folder` is what lorac wrote there, as far as a manifest.json or a
/// checkpoint's trainer_state.json of ours says it; folders of others have none and pass. Error:
/// Exit::ForeignFile, with the name and both hashes.
Result<void> checkHashes(const std::string &folder, const std::vector<std::string> &names);

/// JSON of ours that carries the hash of its own rest under "hash". Nothing: it has no member
/// `marker` and so is not ours. Error: it was damaged. `text` is what the file holds; the members
/// that are objects of text come back in `tables`.
struct HashedJson {
  std::string hash;
  std::map<std::string, std::map<std::string, std::string>> tables;
  std::map<std::string, std::string> texts;
  std::map<std::string, std::string> rest; ///< other members, as JSON
};
Result<std::optional<HashedJson>> readHashedJson(const std::string &text, const std::string &path,
                                                 const char *marker);

} // namespace lorac::formats
