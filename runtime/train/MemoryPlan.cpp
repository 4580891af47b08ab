#include "runtime/train/MemoryPlan.h"

#include "runtime/formats/PackedLayout.h"
#include "runtime/formats/WeightFormat.h"
#include "runtime/train/Executor.h"
#include "runtime/train/Progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace lorac::train {
namespace {

constexpr uint64_t page = 4096;
uint64_t pages(uint64_t bytes) { return (bytes + page - 1) / page * page; }

// A thread's stack as deep as kernels and the loop go, the thread's own data below it, and what the
// kernel gives a process at its start.
constexpr uint64_t stackOfWorker = 64 << 10, stackOfMain = 192 << 10;
// Of the heap: what stdio, the metrics, a checkpoint's words and the C library hold, and the holes
// that malloc leaves between blocks.
constexpr uint64_t heapReserve = 1 << 20;
// A file's buffer of 1 MiB, there twice while it grows, and what a tensor's line in a header takes.
constexpr uint64_t bufferOfFile = 2 << 20, bytesOfTensor = 1536;

class Lines {
public:
  explicit Lines(const MemoryInput &input) : input(input), plan(input.plan) {}

  MemoryPlan make() {
    weights();
    regions();
    if (plan.scratchBytes > 0)
      add("scratch", fmt::format("scratch of {} threads", input.threads),
          pages(uint64_t(plan.scratchBytes)) * uint64_t(input.threads), InSteps);
    batches();
    data();
    program();
    return std::move(out);
  }

private:
  void add(std::string key, std::string words, uint64_t bytes, unsigned phases,
           bool isModel = false) {
    if (bytes > 0)
      out.lines.push_back(
          {std::move(key), std::move(words), bytes, phases, isModel && plan.onGpu()});
  }

  void weights() {
    struct Sum {
      uint64_t bytes = 0;
      int count = 0;
    };
    std::map<std::string, Sum> byFormat;
    for (const PlanWeight &weight : plan.weights) {
      Sum &sum = byFormat[weight.format];
      ++sum.count;
      for (const PlanPart &part : weight.parts)
        sum.bytes += uint64_t(plan.partRoom(part.bytes));
    }
    for (const auto &[format, sum] : byFormat)
      add("weights." + format, fmt::format("frozen weights, {}: {} tensors", format, sum.count),
          sum.bytes, WhileLoading | InSteps, true);
    loading();
  }

  // Packing: the model's pages that a thread has read and not let go, a panel of rows as numbers
  // and codes, and the scales of a weight whose scales are quantized too.
  void loading() {
    int64_t widest = 0, scales = 0;
    for (const PlanWeight &weight : plan.weights) {
      widest = std::max(widest, weight.shape.back());
      const auto format = formats::parseWeightFormat(weight.format);
      if (format && format->doubleQuant && weight.shape.size() == 2)
        scales = std::max(scales, formats::scaleCount(*format, weight.shape[0], weight.shape[1]));
    }
    constexpr int64_t rowsAtOnce = 256, bytesOfRows = 4 * rowsAtOnce + 20 * 5;
    add("loading", "packing the weights: pages of the model, rows, scales",
        uint64_t(4 * scales) +
            uint64_t(input.threads) * uint64_t(widest * bytesOfRows + (64 << 10)),
        WhileLoading);
  }

  void regions() {
    const auto bytes = [&](RegionKind kind) {
      uint64_t sum = 0;
      for (const PlanRegion &region : plan.regions)
        sum += region.kind == kind ? uint64_t(region.bytes()) : 0;
      return sum;
    };
    const uint64_t adapters = bytes(RegionKind::Params), gradients = bytes(RegionKind::Grads),
                   states = bytes(RegionKind::State),
                   ranks = bytes(RegionKind::Importance) + bytes(RegionKind::Unfolded),
                   cache = bytes(RegionKind::KvCache);
    add("adapters", fmt::format("adapters: {} parameters", plan.region(RegionKind::Params).count),
        adapters, InSteps, true);
    add("gradients", "gradients", gradients, InSteps, true);
    add("optimizer", "optimizer states", states, InSteps, true);
    add("importance", "AdaLoRA's importance, and B without E", ranks, InSteps, true);
    add("kv_cache",
        fmt::format("keys and values: {} x {} positions", plan.maxSegments, plan.maxLength), cache,
        InSteps, true);
    const auto persistent = uint64_t(plan.persistentBytes);
    const uint64_t parts = adapters + gradients + states + ranks + cache;
    add("io", "inputs, outputs, tables", persistent - std::min(persistent, parts), InSteps, true);
    add("activations", "activations, shared by lifetime", uint64_t(plan.arenaBytes) - persistent,
        InSteps, true);
  }

  void batches() {
    const uint64_t micro = 3 * 4 * uint64_t(plan.maxTokens) + 4 * uint64_t(plan.maxSegments + 1);
    if (plan.isText)
      return add("batches", "rows of a run", micro, InSteps);
    add("batches", fmt::format("{} micro-batches of a step", input.run.accumulation),
        micro * uint64_t(input.run.accumulation), InSteps);
    // A checkpoint: the buffer of a file as it grows, and the names and places of the tensors that
    // are read back; of AdaLoRA what is written is cut to the live triplets, and folded.
    const uint64_t tensors =
        plan.params.size() * (plan.trained().size() + (input.run.adalora ? 1 : 0));
    const uint64_t copies =
        input.run.adalora ? 2 * 4 * uint64_t(plan.region(RegionKind::Params).count) : 0;
    // States of 8 bits are float32 while they move to a smaller program.
    uint64_t states = 0;
    for (const PlanRegion &region : plan.regions)
      states += isCode(region.storage) ? 4 * uint64_t(plan.region(RegionKind::Params).count) : 0;
    if (input.run.adalora)
      add("moving", "states of 8 bits as float32, while ranks fall", states, InSteps);
    add("saving", "a checkpoint while it is written and read back",
        bufferOfFile + bytesOfTensor * tensors + copies, InSteps);
  }

  void data() {
    if (!input.data)
      return;
    const DataMemory &data = *input.data;
    if (plan.isText)
      return add("tokenizer", "tokenizer", data.tokenizerBytes, Throughout);
    add("tokens", fmt::format("{} tokens of the data", data.tokens), data.tokenBytes, Throughout);
    add("samples", fmt::format("order of {} samples", data.samples), data.listBytes, Throughout);
    add("tokenizer", "tokenizer, while the data is read", data.tokenizerBytes, WhileReading);
    // Lists that grow are there twice for a moment.
    add("text", "text, while it is read and cut into tokens", data.textBytes + data.listBytes,
        WhileReading);
  }

  void program() {
    const ProgramImage &image = input.image;
    if (image.code == 0)
      return;
    add("program.code", "the program itself, libc and libm", image.code, Throughout);
    if (input.programReserve > 0) {
      add("program.plan", "its kernels, plan and launches, at most", input.programReserve,
          Throughout);
    } else {
      add("program.kernels", "its kernels", image.kernels, InSteps | WhileLoading);
      add("program.plan", "its plan and launches",
          pages(heapOf(plan) + Executor::heapBytes(plan) + input.run.json.size()), Throughout);
    }
    add("program.stacks", fmt::format("stacks of {} threads", input.threads),
        stackOfMain + stackOfWorker * uint64_t(input.threads - 1), Throughout);
    add("program.heap", "reserve of the heap", heapReserve, Throughout);
    add("program.files", "plan and kernels, while they are read", image.files, WhileReading);
  }

  const MemoryInput &input;
  const Plan &plan;
  MemoryPlan out;
};

} // namespace

uint64_t MemoryPlan::during(unsigned phase, bool ofGpu) const {
  uint64_t sum = 0;
  for (const MemoryLine &line : lines)
    if (line.ofGpu == ofGpu && (line.phases & phase))
      sum += line.bytes;
  return sum;
}

bool MemoryPlan::onGpu() const {
  return std::any_of(lines.begin(), lines.end(), [](const MemoryLine &l) { return l.ofGpu; });
}

uint64_t MemoryPlan::host() const {
  return std::max(
      {during(WhileReading, false), during(WhileLoading, false), during(InSteps, false)});
}

uint64_t MemoryPlan::total() const { return onGpu() ? during(InSteps, true) : host(); }

uint64_t MemoryPlan::bytesOf(std::string_view key) const {
  uint64_t sum = 0;
  for (const MemoryLine &line : lines)
    sum += line.key == key || line.key.starts_with(std::string(key) + ".") ? line.bytes : 0;
  return sum;
}

uint64_t MemoryPlan::ofBackend() const {
  uint64_t sum = 0;
  for (const char *key : {"weights", "adapters", "gradients", "optimizer", "importance", "kv_cache",
                          "io", "activations", "scratch"})
    sum += bytesOf(key);
  return sum;
}

DataMemory dataMemory(const Corpus &corpus) {
  DataMemory out;
  out.samples = corpus.samples;
  out.tokens = int64_t(corpus.ids.size());
  out.tokenBytes = corpus.ids.bytes() + corpus.targets.bytes();
  // A piece, its place in train or eval, and, of an epoch, its place in the order and in the rows.
  constexpr uint64_t perTrain = 4 + 4 + 4 + 4;
  constexpr uint64_t perEval = 4 + 2 * sizeof(std::vector<uint32_t>) + 32; // batches of evaluation
  out.listBytes = pages(sizeof(Piece) * corpus.pieces.size() + perTrain * corpus.train.size() +
                        perEval * corpus.eval.size());
  out.tokenizerBytes = corpus.tokenizerBytes;
  out.textBytes = corpus.textBytes;
  return out;
}

MemoryPlan planMemory(const MemoryInput &input) { return Lines(input).make(); }

std::optional<Error> checkLimit(const MemoryPlan &memory, uint64_t limit, const std::string &what,
                                int threads) {
  const uint64_t need = memory.total();
  if (limit == 0 || need <= limit)
    return std::nullopt;
  std::vector<const MemoryLine *> largest;
  for (const MemoryLine &line : memory.lines)
    if (line.ofGpu == memory.onGpu())
      largest.push_back(&line);
  std::stable_sort(largest.begin(), largest.end(),
                   [](const MemoryLine *a, const MemoryLine *b) { return a->bytes > b->bytes; });
  largest.resize(std::min<size_t>(largest.size(), 3));
  std::string most;
  for (const MemoryLine *line : largest)
    most += fmt::format("{}{} {}", most.empty() ? "" : ", ", line->words, formatBytes(line->bytes));
  // What the run alone can change; the rest is compiled in.
  std::vector<std::string> mends;
  const uint64_t aThread = memory.bytesOf("scratch") / uint64_t(threads) + stackOfWorker;
  if (!memory.onGpu() && threads > 1) {
    const uint64_t fewer = (need - limit + aThread - 1) / aThread;
    if (fewer < uint64_t(threads))
      mends.push_back(fmt::format("--threads {} fits", uint64_t(threads) - fewer));
  }
  const uint64_t ofData = memory.bytesOf("tokens") + memory.bytesOf("samples");
  if (!memory.onGpu() && ofData > need - limit)
    mends.push_back("less data fits");
  mends.push_back(memory.bytesOf("kv_cache")
                      ? "compile with a smaller train.max_length or --batch"
                      : "compile with a smaller batch_size, max_length or r");
  return Error{fmt::format("the run needs {}, {} more than {} = {}: {}; {}", formatBytes(need),
                           formatBytes(need - limit), what, formatBytes(limit), most,
                           fmt::join(mends, ", or ")),
               Exit::DoesNotFit};
}

} // namespace lorac::train
