#pragma once
// Files whose samples are JSON objects: one a line, or all in one list. What is wrong in one is
// refused with file and line.

#include "runtime/train/JsonFields.h"
#include "runtime/train/data/DataFormat.h"
#include "runtime/train/data/SampleSink.h"

#include <set>
#include <string>
#include <vector>

namespace lorac::train {

/// An object of such a file. The first misfit is kept, and what follows reads as "".
class JsonRow {
public:
  JsonRow(const Json &object, const std::set<std::string> &twice, const DataFormat &format)
      : object(object), twice(twice), format(format) {}

  const Json &object;

  /// The string that must be there.
  std::string text(const char *key) const;
  /// "" where it is null or not there.
  std::string textOrNone(const char *key) const;
  void fail(const std::string &message) const;
  Result<void> outcome() const;

private:
  const std::set<std::string> &twice; ///< keys that it has more than once
  const DataFormat &format;
  mutable std::string error;
};

Result<void> loadJsonLines(const std::string &path, SampleSink &sink, const DataFormat &format,
                           Result<void> (*read)(const JsonRow &row,
                                                std::vector<Segment> &segments));

} // namespace lorac::train
