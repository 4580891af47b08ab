#include "compiler/tools/RunMemory.h"

#include "compiler/optimizers/States.h"
#include "compiler/tools/Output.h"
#include "compiler/tools/Resources.h"
#include "dsl/SpecJson.h"
#include "nlohmann/json.hpp"
#include "runtime/train/DataTokenizer.h"
#include "runtime/train/Limits.h"

#include <fmt/format.h>

#include <algorithm>

namespace lorac::tools {
namespace {

// Of kernels and plan, which are known only when all is compiled: code of a few families in a few
// shapes; words and arguments of the launches of a layer.
constexpr uint64_t reserveOfProgram = 768 << 10, reserveOfLayer = 80 << 10;

Result<train::ProgramImage> imageFor(const RunFacts &facts, const std::string &planJson) {
  if (facts.executable.empty())
    return train::ProgramImage{};
  return train::imageOf(facts.executable, {{"plan.json", planJson}});
}

int64_t trainableParameters(const Project &project) {
  int64_t count = project.ranks ? project.ranks->initial : 0; // AdaLoRA's E
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const dsl::BoundWeight &weight : project.model.weights)
    for (int64_t layer = 0; layer < (weight.perLayer ? project.model.layers : 1); ++layer)
      if (weight.shape.size() == 2)
        shapes[weight.module(layer)] = weight.shape;
  for (const dsl::AdapterChoice &adapter : project.adapters) {
    const std::vector<int64_t> &shape = shapes.at(adapter.module);
    count += adapter.r * (shape[0] + shape[1]);
    if (*project.spec.adapter.useDora || *project.spec.adapter.useGate)
      count += shape[0];
  }
  return count;
}

const char *when(unsigned phases) {
  return phases == train::WhileReading   ? "at first, while data is read"
         : phases == train::WhileLoading ? "then, while weights are packed"
         : phases & train::WhileReading  ? "throughout"
                                         : "in steps";
}

} // namespace

Result<RunFacts> readRunFacts(const Project &project) {
  RunFacts facts;
  Result<train::RunConfig> run = train::parseRunConfig(dsl::toJson(project.spec));
  if (!run)
    return Error{run.error().message, Exit::Bug};
  facts.run = std::move(*run);
  facts.threads = facts.run.threads > 0 ? int(facts.run.threads) : train::availableThreads();
  if (Result<std::string> found = trainRuntime())
    facts.executable = *found;
  facts.parameters = trainableParameters(project);
  facts.states = optimizers::stateRegions(toString(*project.spec.optimizer.name));
  facts.tensors = project.adapters.size() *
                  (facts.run.adalora || facts.run.useDora || facts.run.useGate ? 3 : 2);
  facts.programReserve = reserveOfProgram + reserveOfLayer * uint64_t(project.model.layers);
  const int64_t length = facts.run.maxLength;
  Result<train::Corpus> corpus = train::readCorpus(
      facts.run.data, facts.run.modelSource,
      {project.model.vocabSize, length, facts.run.batchSize * length, facts.run.seed});
  if (corpus)
    facts.data = train::dataMemory(*corpus);
  else
    facts.dataProblem = corpus.error().message;
  return facts;
}

uint64_t memoryBesides(const RunFacts &facts) {
  train::Plan plan;
  plan.maxTokens = plan.maxSegments = facts.run.batchSize * facts.run.maxLength;
  plan.device = "cpu";
  plan.regions = {{"params", train::RegionKind::Params, 0, facts.parameters}};
  for (const std::string &state : facts.states)
    plan.regions.push_back({state, train::RegionKind::State});
  if (facts.run.adalora)
    for (const char *average : {"sensitivity", "uncertainty"})
      plan.regions.push_back({average, train::RegionKind::Importance});
  plan.params.resize(facts.tensors);
  Result<train::ProgramImage> image = imageFor(facts, "");
  const train::MemoryPlan lines =
      train::planMemory({plan, facts.run, facts.threads, image ? *image : train::ProgramImage{},
                         facts.data, facts.programReserve});
  return lines.during(train::InSteps, false) - lines.ofBackend();
}

Result<train::MemoryPlan> runMemory(const RunFacts &facts, const std::string &planJson) {
  Result<train::Plan> plan = train::parsePlan(planJson);
  if (!plan)
    return Error{plan.error().message, Exit::Bug};
  LORAC_TRY_ASSIGN(train::ProgramImage image, imageFor(facts, planJson));
  return train::planMemory(
      {*plan, facts.run, facts.threads, image, facts.data, facts.programReserve});
}

std::string memoryTable(const train::MemoryPlan &memory, const RunFacts &facts) {
  auto mib = [](uint64_t bytes) { return fmt::format("{:.2f} MiB", double(bytes) / (1 << 20)); };
  std::string out = "| what | when | size |\n|---|---|---:|\n";
  for (const train::MemoryLine &line : memory.lines)
    out += fmt::format("| {} | {}{} | {} |\n", line.words, when(line.phases),
                       memory.onGpu() && !line.ofGpu ? ", on the host" : "", mib(line.bytes));
  if (!facts.data)
    out += fmt::format("| data: not counted ({}) | | |\n", facts.dataProblem);
  if (facts.executable.empty())
    out += "| the program itself: not counted (lorac-train is not found) | | |\n";
  if (memory.onGpu())
    out += fmt::format("| in all, of the GPU | | {} |\n", mib(memory.total()));
  out += fmt::format("| in all{}, at most at once | | {} |\n", memory.onGpu() ? " of the host" : "",
                     mib(memory.host()));
  return out;
}

std::string memoryJson(const train::MemoryPlan &memory) {
  nlohmann::ordered_json lines = nlohmann::ordered_json::array();
  for (const train::MemoryLine &line : memory.lines)
    lines.push_back({{"key", line.key},
                     {"what", line.words},
                     {"bytes", line.bytes},
                     {"reading", bool(line.phases & train::WhileReading)},
                     {"loading", bool(line.phases & train::WhileLoading)},
                     {"steps", bool(line.phases & train::InSteps)},
                     {"gpu", line.ofGpu}});
  nlohmann::ordered_json json = {
      {"lines", lines}, {"total_bytes", memory.total()}, {"host_bytes", memory.host()}};
  return json.dump(1) + "\n";
}

} // namespace lorac::tools
