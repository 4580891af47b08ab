// format = "alpaca": a line an object, or one list of them, with "instruction", "output" and often
// "input", in the words of Stanford Alpaca's training; the output is what is trained.

#include "runtime/train/data/JsonLines.h"

namespace lorac::train {

static Result<void> read(const JsonRow &row, std::vector<Segment> &segments) {
  const std::string instruction = row.text("instruction"), input = row.textOrNone("input");
  std::string prompt = "Below is an instruction that describes a task";
  if (!input.empty())
    prompt += ", paired with an input that provides further context";
  prompt += ". Write a response that appropriately completes the request.\n\n### Instruction:\n" +
            instruction;
  if (!input.empty())
    prompt += "\n\n### Input:\n" + input;
  segments = {{prompt + "\n\n### Response:\n", false}, {row.text("output"), true}};
  return row.outcome();
}

static Result<void> load(const std::string &path, SampleSink &sink) {
  return loadJsonLines(path, sink, formatAlpaca, read);
}

static constexpr const char *keys[] = {"instruction", "output"};
const DataFormat formatAlpaca = {"alpaca", load, keys, true};

} // namespace lorac::train
