#include "runtime/formats/FolderManifest.h"

#include "runtime/formats/DurableFile.h"
#include "runtime/formats/Hash.h"
#include "runtime/formats/MappedFile.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <sys/stat.h>

namespace lorac::formats {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char *marker = "lorac_manifest";
constexpr uint64_t longest = 64 << 20;
constexpr int deepest = 64;

std::string dumped(const Json &json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

bool exists(const std::string &path) {
  struct stat status;
  return ::lstat(path.c_str(), &status) == 0;
}

/// Without the members that lie too deep: their hash is then another one.
Json parsed(const std::string &text) {
  return Json::parse(
      text, [](int depth, Json::parse_event_t, Json &) { return depth <= deepest; },
      /*allow_exceptions=*/false);
}

Error damaged(const std::string &path, const std::string &what) {
  return {fmt::format("'{}' is corrupt: {}", path, what), Exit::ForeignFile, true};
}

Json tableOf(const FolderManifest::Hashes &hashes) {
  Json table = Json::object();
  for (const auto &[name, hash] : hashes)
    table[name] = hash;
  return table;
}

} // namespace

Result<std::optional<HashedJson>> readHashedJson(const std::string &text, const std::string &path,
                                                 const char *marker) {
  const bool named = text.find(fmt::format("\"{}\"", marker)) != std::string::npos;
  Json json = parsed(text);
  if (!json.is_object() || !json.contains(marker)) {
    if (named)
      return damaged(path, "it is no JSON object any more");
    return std::optional<HashedJson>();
  }
  HashedJson out;
  if (json.contains("hash") && json["hash"].is_string())
    out.hash = json["hash"].get<std::string>();
  json.erase("hash");
  if (hashHex(dumped(json)) != out.hash)
    return damaged(path, "its content has another hash than it says");
  for (const auto &[key, value] : json.items()) {
    if (value.is_string())
      out.texts[key] = value.get<std::string>();
    else if (value.is_object())
      for (const auto &[name, member] : value.items())
        if (member.is_string())
          out.tables[key][name] = member.get<std::string>();
    if (!value.is_string())
      out.rest[key] = dumped(value);
  }
  return std::optional(std::move(out));
}

bool FolderManifest::lists(const std::string &name, const std::string &hash) const {
  for (const Hashes *table : {&files, &pending, &replaced})
    if (auto at = table->find(name); at != table->end() && at->second == hash)
      return true;
  return false;
}

bool FolderManifest::knows(const std::string &name) const {
  return files.contains(name) || pending.contains(name) || replaced.contains(name);
}

Result<std::optional<FolderManifest>> FolderManifest::read(const std::string &folder) {
  const std::string path = folder + "/" + fileName;
  if (!exists(path))
    return std::optional<FolderManifest>();
  const Error foreign{fmt::format("'{}' is none that lorac wrote", path), Exit::Refused};
  Result<std::string> text = readSmallFile(path, longest);
  if (!text)
    return foreign;
  if (text->empty())
    return damaged(path, "it is empty");
  LORAC_TRY_ASSIGN(std::optional<HashedJson> json, readHashedJson(*text, path, marker));
  FolderManifest manifest;
  if (!json) {
    const Json earlier = parsed(*text);
    if (earlier.is_object() && earlier.contains("lorac") && earlier.contains("spec") &&
        earlier.contains("programs") && earlier.size() == 3)
      return std::optional(std::move(manifest));
    return foreign;
  }
  manifest.files = std::move(json->tables["files"]);
  manifest.pending = std::move(json->tables["pending"]);
  manifest.replaced = std::move(json->tables["replaced"]);
  manifest.spec = json->texts["spec"];
  manifest.programs = json->rest["programs"];
  return std::optional(std::move(manifest));
}

Result<void> FolderManifest::write(const std::string &folder) const {
  Json json = {{marker, 1}, {"lorac", LORAC_VERSION}, {"spec", spec}, {"files", tableOf(files)}};
  if (!pending.empty())
    json["pending"] = tableOf(pending);
  if (!replaced.empty())
    json["replaced"] = tableOf(replaced);
  if (!programs.empty())
    json["programs"] = parsed(programs);
  // The hash is that of the text as it is read back: bad UTF-8 has been replaced by then.
  json = parsed(dumped(json));
  json["hash"] = hashHex(dumped(json));
  return writeDurably(folder + "/" + fileName, dumped(json, 1) + "\n");
}

Result<void> checkHashes(const std::string &folder, const std::vector<std::string> &names) {
  FolderManifest manifest;
  std::string source = FolderManifest::fileName;
  const std::string state = folder + "/trainer_state.json";
  if (exists(state)) {
    LORAC_TRY_ASSIGN(std::string text, readSmallFile(state, longest));
    LORAC_TRY_ASSIGN(std::optional<HashedJson> json,
                     readHashedJson(text, state, "lorac_checkpoint"));
    if (json) {
      manifest.files = std::move(json->tables["files"]);
      source = "trainer_state.json";
    }
  }
  if (manifest.files.empty()) {
    Result<std::optional<FolderManifest>> read = FolderManifest::read(folder);
    if (!read && read.error().corrupt)
      return read.error();
    if (read && *read)
      manifest = std::move(**read);
  }
  for (const std::string &name : names) {
    if (!manifest.knows(name))
      continue;
    LORAC_TRY_ASSIGN(std::string hash, hashFile(folder + "/" + name));
    if (!manifest.lists(name, hash))
      return Error{
          fmt::format("'{}/{}' is not what lorac wrote there: its hash is {}, '{}' says {}; "
                      "it was damaged or changed; take it from a backup or a checkpoint, or "
                      "remove '{}' if the change is meant",
                      folder, name, hash, source,
                      manifest.files.contains(name) ? manifest.files.at(name) : "another", source),
          Exit::ForeignFile, true};
  }
  return {};
}

} // namespace lorac::formats
