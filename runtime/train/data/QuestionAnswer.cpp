// format = "question-answer": a line an object, or one list of them; the answer follows the
// question after a newline, and is what is trained.

#include "runtime/train/data/JsonLines.h"

namespace lorac::train {

static Result<void> read(const JsonRow &row, std::vector<Segment> &segments) {
  segments = {{row.text("question") + "\n", false}, {row.text("answer"), true}};
  return row.outcome();
}

static Result<void> load(const std::string &path, SampleSink &sink) {
  return loadJsonLines(path, sink, formatQuestionAnswer, read);
}

static constexpr const char *keys[] = {"question", "answer"};
const DataFormat formatQuestionAnswer = {"question-answer", load, keys, true};

} // namespace lorac::train
