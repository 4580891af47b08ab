// format = "jsonl": a line an object, whose "text" is a sample.

#include "runtime/train/data/JsonLines.h"

namespace lorac::train {

static Result<void> read(const JsonRow &row, std::vector<Segment> &segments) {
  segments = {{row.text("text"), true}};
  return row.outcome();
}

static Result<void> load(const std::string &path, SampleSink &sink) {
  return loadJsonLines(path, sink, formatJsonl, read);
}

static constexpr const char *keys[] = {"text"};
const DataFormat formatJsonl = {"jsonl", load, keys};

} // namespace lorac::train
