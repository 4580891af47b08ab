#include "runtime/train/Metrics.h"

#include "runtime/train/JsonFields.h"

#include <fmt/format.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

namespace lorac::train {

namespace {

std::string quoted(const std::string &text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
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

MetricsFile::~MetricsFile() {
  if (fd >= 0)
    close(fd);
}
MetricsFile::MetricsFile(MetricsFile &&other) noexcept
    : fd(std::exchange(other.fd, -1)), written(other.written), path(std::move(other.path)) {}
MetricsFile &MetricsFile::operator=(MetricsFile &&other) noexcept {
  std::swap(fd, other.fd);
  std::swap(written, other.written);
  std::swap(path, other.path);
  return *this;
}

Result<MetricsFile> MetricsFile::open(const std::string &path, uint64_t keepBytes) {
  auto failed = [&] {
    return Error{"cannot write metrics to '" + path + "': " + std::strerror(errno)};
  };
  MetricsFile file;
  file.path = path;
  file.fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  struct stat info;
  if (file.fd < 0 || fstat(file.fd, &info) != 0)
    return failed();
  if (S_ISREG(info.st_mode)) {
    file.written = std::min<uint64_t>(keepBytes, uint64_t(info.st_size));
    if (ftruncate(file.fd, off_t(file.written)) != 0 ||
        lseek(file.fd, off_t(file.written), SEEK_SET) < 0)
      return failed();
  }
  return file;
}

Result<MetricsFile> MetricsFile::openAtStep(const std::string &path, int64_t step) {
  uint64_t keep = 0;
  struct stat info;
  if (stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode)) {
    std::ifstream in(path);
    for (std::string line; std::getline(in, line) && !in.eof();) {
      Json value = Json::parse(line, nullptr, false);
      if (!value.is_object() || !value.contains("step") || !value["step"].is_number_integer() ||
          value["step"].get<int64_t>() > step)
        break;
      keep += line.size() + 1;
    }
  }
  return open(path, keep);
}

Result<void> MetricsFile::write(const MetricsLine &line) {
  if (fd < 0)
    return {};
  std::string text = line.json() + "\n";
  for (size_t done = 0; done < text.size();) {
    ssize_t put = ::write(fd, text.data() + done, text.size() - done);
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      return Error{"cannot write metrics to '" + path + "': " + std::strerror(errno)};
    done += size_t(put);
  }
  written += text.size();
  return {};
}

} // namespace lorac::train
