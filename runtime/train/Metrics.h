#pragma once
// Metrics as JSON lines, in Hugging Face's words. A number that is not finite is written as null,
// with "nonfinite" naming the keys it concerns.

#include "runtime/Result.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace lorac::train {

/// One line: keys in the order in which they were added. Floats are printed so that they read back
/// to the same float.
class MetricsLine {
public:
  void add(const std::string &key, int64_t value);
  void add(const std::string &key, float value);
  void add(const std::string &key, double value);
  void add(const std::string &key, const std::string &value);
  void add(const std::string &key, const std::vector<std::pair<std::string, int64_t>> &table);
  std::string json() const;

private:
  void addNumber(const std::string &key, double value, const std::string &text);
  std::vector<std::pair<std::string, std::string>> fields;
  std::vector<std::pair<std::string, std::string>> nonfinite;
};

class MetricsFile {
public:
  MetricsFile() = default;
  ~MetricsFile();
  MetricsFile(MetricsFile &&other) noexcept;
  MetricsFile &operator=(MetricsFile &&other) noexcept;

  /// Opens `path` for writing behind its first `keepBytes` bytes; what followed is cut off (lines
  /// after the checkpoint that a run goes on from). A device or pipe is written to as it is.
  static Result<MetricsFile> open(const std::string &path, uint64_t keepBytes);
  /// Opens `path` behind the lines whose "step" is at most `step`.
  static Result<MetricsFile> openAtStep(const std::string &path, int64_t step);

  Result<void> write(const MetricsLine &line);
  uint64_t bytes() const { return written; }

private:
  int fd = -1;
  uint64_t written = 0;
  std::string path;
};

} // namespace lorac::train
