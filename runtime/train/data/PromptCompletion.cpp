// format = "prompt-completion": a line an object, or one list of them; the completion follows the
// prompt as they are, and is what is trained.

#include "runtime/train/data/JsonLines.h"

namespace lorac::train {

static Result<void> read(const JsonRow &row, std::vector<Segment> &segments) {
  segments = {{row.text("prompt"), false}, {row.text("completion"), true}};
  if (const auto label = row.object.find("label"); label != row.object.end() && label->is_boolean())
    row.fail("a true or false \"label\" beside prompt and completion: such rows (KTO) say which "
             "completions are unwanted, and lorac would learn them all; keep the wanted ones, "
             "without the label");
  return row.outcome();
}

static Result<void> load(const std::string &path, SampleSink &sink) {
  return loadJsonLines(path, sink, formatPromptCompletion, read);
}

static constexpr const char *keys[] = {"prompt", "completion"};
const DataFormat formatPromptCompletion = {"prompt-completion", load, keys, true};

} // namespace lorac::train
