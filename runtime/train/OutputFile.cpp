#include "runtime/train/OutputFile.h"

#include "runtime/formats/FolderManifest.h"
#include "runtime/formats/MappedFile.h"
#include "runtime/formats/Safetensors.h"
#include "runtime/train/JsonFields.h"
#include "runtime/train/Metrics.h"
#include "runtime/train/Payload.h"

#include <filesystem>
#include <sys/stat.h>

namespace lorac::train {

namespace {

bool isProfile(const std::string &path) {
  Result<std::string> text = formats::readSmallFile(path, 64 << 20);
  if (!text)
    return false;
  Result<Json> json = parseJson(*text, "profile");
  return json && json->is_object() && json->contains("steps_seconds") &&
         json->contains("kernels") && json->contains("planned_bytes");
}

bool isLogits(const std::string &path) {
  Result<formats::Safetensors> file = formats::Safetensors::open(path);
  return file && file->find("logits.0") && file->find("input_ids.0");
}

/// A manifest.json beside it lists it, or cannot be read.
bool isOfAnotherRun(const std::string &path) {
  const std::filesystem::path file = std::filesystem::path(path).lexically_normal();
  const std::string folder = file.parent_path().empty() ? "." : file.parent_path().string();
  Result<std::optional<formats::FolderManifest>> manifest = formats::FolderManifest::read(folder);
  return !manifest || (*manifest && (*manifest)->knows(file.filename()));
}

} // namespace

Result<void> checkOutputFile(const std::string &path, OutputKind kind, const char *flag) {
  struct stat info;
  if (path.empty() || lstat(path.c_str(), &info) != 0)
    return {};
  const bool isMetrics = kind == OutputKind::Metrics || kind == OutputKind::OwnMetrics;
  const auto refused = [&](const std::string &what) {
    return Error{std::string(flag) + " '" + path + "' " + what +
                     ": it is left as it is; name a file that is not there yet",
                 Exit::Usage};
  };
  if (S_ISDIR(info.st_mode))
    return refused("is a folder");
  if (S_ISLNK(info.st_mode)) {
    if (!isMetrics || stat(path.c_str(), &info) != 0 || S_ISREG(info.st_mode) ||
        S_ISDIR(info.st_mode))
      return refused("is a link");
    return {};
  }
  if (!S_ISREG(info.st_mode)) // all but metrics take their name by a rename
    return isMetrics ? Result<void>() : refused("is no regular file");
  if (info.st_size == 0)
    return {};
  switch (kind) {
  case OutputKind::Metrics:
    return refused("is there and is not empty");
  case OutputKind::OwnMetrics:
    if (isOfAnotherRun(path))
      return refused("is the metrics.jsonl of another run");
    return looksLikeMetrics(path) ? Result<void>() : refused("is there and holds no metrics");
  case OutputKind::Profile:
    return isProfile(path) ? Result<void>() : refused("is there and is no profile of lorac's");
  case OutputKind::Logits:
    return isLogits(path) ? Result<void>() : refused("is there and holds no logits of lorac's");
  case OutputKind::Program:
    return Payload::read(path) ? Result<void>() : refused("is there and is no program of lorac's");
  }
  return {};
}

} // namespace lorac::train
