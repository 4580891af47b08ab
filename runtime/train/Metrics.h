#pragma once
// Metrics as JSON lines, in Hugging Face's words. A number that is not finite is written as null,
// with "nonfinite" naming the keys it concerns.

#include "runtime/Result.h"
#include "runtime/UniqueFd.h"
#include "runtime/formats/Hash.h"

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

/// A file of metrics that a run writes line by line. What cannot be written is kept and written
/// later, and the file always ends with a whole line.
class MetricsFile {
public:
  /// Opens `path` for writing behind its first `keepBytes` bytes; what followed is cut off (lines
  /// after the checkpoint that a run goes on from). A device or pipe is written to as it is; a link
  /// to a file is refused.
  static Result<MetricsFile> open(const std::string &path, uint64_t keepBytes);
  /// Opens `path` behind the lines whose "step" is at most `step`.
  static Result<MetricsFile> openAtStep(const std::string &path, int64_t step);
  /// Opens `path` behind its first `keepBytes` bytes when they have this hash ("": any), else as
  /// `openAtStep`; `lost` says so then.
  static Result<MetricsFile> goOn(const std::string &path, uint64_t keepBytes,
                                  const std::string &hash, int64_t step, bool &lost);

  /// Error: this line and those kept before could not be written (now).
  Result<void> write(const MetricsLine &line);
  /// Writes what was kept, and fsync.
  Result<void> sync();
  uint64_t bytes() const { return written; }
  /// XXH3-128 of these bytes.
  std::string hash() const { return hasher.hex(); }
  /// Whether lines are in no file: kept, or more than there is room to keep.
  bool lacksLines() const { return !kept.empty() || dropped > 0; }

private:
  Result<void> flush();
  Error failure(int error) const;

  UniqueFd file;
  bool regular = false;
  uint64_t written = 0;
  int64_t dropped = 0;
  std::string path, kept;
  formats::Hasher hasher;
};

/// XXH3-128 of the first `bytes` bytes of a file; "" when there are fewer.
std::string prefixHash(const std::string &path, uint64_t bytes);

/// Whether the file at `path` is one of metrics: regular, no link, empty or with a line of metrics
/// at its beginning.
bool looksLikeMetrics(const std::string &path);

} // namespace lorac::train
