#include "runtime/train/Metrics.h"

#include "runtime/train/JsonFields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace lorac::train {

namespace {

std::string quoted(const std::string &text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// The first `bytes` bytes of a file; false: it has fewer.
bool hashPrefix(const std::string &path, uint64_t bytes, formats::Hasher &hasher) {
  std::ifstream in(path, std::ios::binary);
  std::string piece(1 << 16, '\0');
  while (bytes > 0) {
    const uint64_t part = std::min<uint64_t>(bytes, piece.size());
    if (!in.read(piece.data(), std::streamsize(part)))
      return false;
    hasher.add(piece.data(), part);
    bytes -= part;
  }
  return true;
}

} // namespace

void MetricsLine::addNumber(const std::string &key, double value, const std::string &text) {
  if (std::isfinite(value)) {
    fields.emplace_back(key, text);
    return;
  }
  fields.emplace_back(key, "null");
  nonfinite.emplace_back(key, std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
}

void MetricsLine::add(const std::string &key, int64_t value) {
  fields.emplace_back(key, fmt::format("{}", value));
}
void MetricsLine::add(const std::string &key, float value) {
  addNumber(key, value, fmt::format("{}", value));
}
void MetricsLine::add(const std::string &key, double value) {
  addNumber(key, value, fmt::format("{}", value));
}
void MetricsLine::add(const std::string &key,
                      const std::vector<std::pair<std::string, int64_t>> &table) {
  Json json = Json::object();
  for (const auto &[name, value] : table)
    json[name] = value;
  fields.emplace_back(key, json.dump());
}

void MetricsLine::add(const std::string &key, const std::string &value) {
  fields.emplace_back(key, quoted(value));
}

std::string MetricsLine::json() const {
  std::string out = "{";
  auto append = [&](const std::string &key, const std::string &value) {
    if (out.back() != '{')
      out += ", ";
    out += quoted(key) + ": " + value;
  };
  for (const auto &[key, value] : fields)
    append(key, value);
  if (!nonfinite.empty()) {
    std::string names = "{";
    for (const auto &[key, word] : nonfinite)
      names += (names.size() > 1 ? ", " : "") + quoted(key) + ": " + quoted(word);
    append("nonfinite", names + "}");
  }
  return out + "}";
}

Error MetricsFile::failure(int error) const {
  return {"cannot write metrics to '" + path + "': " + std::strerror(error)};
}

Result<MetricsFile> MetricsFile::open(const std::string &path, uint64_t keepBytes) {
  MetricsFile metrics;
  metrics.path = path;
  struct stat info;
  const bool isLink = lstat(path.c_str(), &info) == 0 && S_ISLNK(info.st_mode);
  // A link to a device or a pipe (/dev/stdout) changes no file.
  const int follow =
      isLink && stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode) ? 0 : O_NOFOLLOW;
  metrics.file = UniqueFd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | follow, 0666));
  if (!metrics.file && errno == ELOOP)
    return Error{"cannot write metrics to '" + path + "': it is a link"};
  if (!metrics.file || fstat(*metrics.file, &info) != 0)
    return metrics.failure(errno);
  metrics.regular = S_ISREG(info.st_mode);
  if (!metrics.regular)
    return metrics;
  metrics.written = std::min<uint64_t>(keepBytes, uint64_t(info.st_size));
  if (metrics.written > 0 && !hashPrefix(path, metrics.written, metrics.hasher))
    return Error{"cannot read the metrics in '" + path + "'"};
  if (ftruncate(*metrics.file, off_t(metrics.written)) != 0 ||
      lseek(*metrics.file, off_t(metrics.written), SEEK_SET) < 0)
    return metrics.failure(errno);
  return metrics;
}

namespace {

/// Length of the whole lines at the beginning of `path` whose "step" is at most `step`.
uint64_t linesUpTo(const std::string &path, int64_t step) {
  uint64_t keep = 0;
  struct stat info;
  if (lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode))
    return 0;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line) && !in.eof();) {
    Json value = Json::parse(line, nullptr, false);
    if (!value.is_object() || !value.contains("step") || !value["step"].is_number_integer() ||
        value["step"].get<int64_t>() > step)
      break;
    keep += line.size() + 1;
  }
  return keep;
}

} // namespace

std::string prefixHash(const std::string &path, uint64_t bytes) {
  formats::Hasher hasher;
  return hashPrefix(path, bytes, hasher) ? hasher.hex() : "";
}

Result<MetricsFile> MetricsFile::openAtStep(const std::string &path, int64_t step) {
  return open(path, linesUpTo(path, step));
}

Result<MetricsFile> MetricsFile::goOn(const std::string &path, uint64_t keepBytes,
                                      const std::string &hash, int64_t step, bool &lost) {
  const std::string found = prefixHash(path, keepBytes);
  lost = found.empty() || (!hash.empty() && found != hash);
  return lost ? openAtStep(path, step) : open(path, keepBytes);
}

Result<void> MetricsFile::flush() {
  size_t done = writeAll(*file, kept);
  const int error = done < kept.size() ? errno : 0;
  if (error && regular) { // no half of a line stays
    const size_t end = kept.rfind('\n', done ? done - 1 : 0);
    const size_t whole = done == 0 || end == std::string::npos ? 0 : end + 1;
    if (ftruncate(*file, off_t(written + whole)) == 0 &&
        lseek(*file, off_t(written + whole), SEEK_SET) >= 0)
      done = whole;
  }
  hasher.add(kept.data(), done);
  written += done;
  kept.erase(0, done);
  if (error)
    return failure(error);
  return {};
}

Result<void> MetricsFile::write(const MetricsLine &line) {
  constexpr size_t mostKept = 16 << 20;
  if (!file)
    return {};
  const std::string text = line.json() + "\n";
  if (kept.size() + text.size() <= mostKept)
    kept += text;
  else
    ++dropped;
  return flush();
}

Result<void> MetricsFile::sync() {
  if (!file)
    return {};
  LORAC_TRY(flush());
  if (regular && fsync(*file) != 0)
    return failure(errno);
  return {};
}

// The first line is a step's, an evaluation's or one of ranks. Other tools write JSON Lines with a
// step and a loss too: the order and the keys beside them are ours.
bool looksLikeMetrics(const std::string &path) {
  struct stat info;
  if (lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode))
    return false;
  if (info.st_size == 0)
    return true;
  std::string begin(1 << 20, '\0');
  std::ifstream in(path, std::ios::binary);
  in.read(begin.data(), std::streamsize(begin.size()));
  begin.resize(size_t(std::max<std::streamsize>(0, in.gcount())));
  constexpr std::string_view head = "{\"step\": ";
  const size_t end = begin.find('\n');
  if (end == std::string::npos) // a line that a power cut broke off is not one yet
    return begin.starts_with(head) || head.starts_with(begin);
  const Json line = Json::parse(begin.substr(0, end), nullptr, false);
  if (!begin.starts_with(head) || !line.is_object() || !line["step"].is_number_integer())
    return false;
  return (line.contains("loss") && line.contains("grad_norm")) ||
         (line.contains("eval_loss") && line.contains("epoch")) || line.contains("rank_pattern");
}

} // namespace lorac::train
