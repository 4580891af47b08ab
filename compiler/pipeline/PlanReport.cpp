// The plan for people: what lies in memory, and what a step does.

#include "compiler/pipeline/PlanReport.h"
#include "compiler/dialect/LoraOps.h"
#include "compiler/pipeline/WeightParts.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/FormatVariadic.h"

#include <map>
#include <string>

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

static std::string mib(int64_t bytes) {
  return llvm::formatv("{0:F2} MiB", double(bytes) / (1 << 20)).str();
}

static void reportWeights(ModuleOp module, WeightLayout layout, raw_ostream &os) {
  // count, bytes
  llvm::MapVector<std::string, std::pair<int64_t, int64_t>, std::map<std::string, unsigned>>
      byFormat;
  for (FrozenOp op : module.getOps<FrozenOp>()) {
    auto type = cast<WeightType>(op.getType());
    auto &[count, bytes] = byFormat[toString(type.getFormat())];
    count += 1, bytes += weightBytes(type, layout);
  }
  for (auto &[format, entry] : byFormat)
    os << llvm::formatv("| frozen weights, {0}: {1} tensors | {2} |\n", format, entry.first,
                        mib(entry.second));
}

// What PlanRecompute chose, by layers; neighbours that are alike are one line.
static void reportRecompute(ModuleOp module, raw_ostream &os) {
  auto choice = findOnly<RecomputeOp>(module);
  if (!choice)
    return;
  auto limits = findOnly<LimitsOp>(module);
  os << "\n## Kept and computed again\n\nWhat the backward pass needs of the forward pass is kept, "
        "or computed "
        "again where that is cheap";
  if (auto memory = limits.getMemory())
    os << ", and where the limit asks for it: " << mib(*memory)
       << " for weights, arena and scratch. The fewest FLOP a saved byte come first";
  os << llvm::formatv(". Again: {0:F3} GFLOP. A chunk of logits has {1} rows.\n\n",
                      double(choice.getFlops()) / 1e9, *limits.getHeadRows())
     << "| layers | kept, each | computed again | GFLOP, each |\n|---|---:|---|---:|\n";
  for (LayersOp layers : choice.getOps<LayersOp>()) {
    const int64_t first = layers.getFirst(), last = layers.getLast();
    std::string which = first < 0 ? "before the first" : std::to_string(first);
    if (last != first)
      which += " to " + std::to_string(last);
    std::string names;
    for (auto name : layers.getAgain().getAsRange<StringAttr>())
      names += (names.empty() ? "" : ", ") + name.getValue().str();
    os << llvm::formatv("| {0} | {1} | {2} | {3:F3} |\n", which, mib(layers.getKept()), names,
                        double(layers.getFlops()) / 1e9);
  }
  os << llvm::formatv("| all | {0} | | {1:F3} |\n", mib(choice.getKept()),
                      double(choice.getFlops()) / 1e9);
}

static void reportKernels(ModuleOp module, raw_ostream &os) {
  struct Work {
    int64_t launches = 0, flops = 0;
  };
  llvm::MapVector<StringRef, Work> byKernel;
  int64_t total = 0;
  auto train = module.lookupSymbol<ProgramOp>("train");
  auto program = train ? train : module.lookupSymbol<ProgramOp>("hidden"); // of text
  for (LaunchOp launch : program.getOps<LaunchOp>()) {
    int64_t flops = launch.getFlops();
    byKernel[launch.getKernel()].launches += 1;
    byKernel[launch.getKernel()].flops += flops;
    total += flops;
  }
  os << (train ? "\n## A step of " : "\n## A run of `@hidden` over ")
     << int64_t(findOnly<LimitsOp>(module).getTokens())
     << " tokens\n\nGFLOP count a multiply-add as two; attention counts half of the causal "
        "square.\n\n"
     << "| kernel | launches | GFLOP |\n|---|---:|---:|\n";
  for (auto &[kernel, work] : byKernel)
    os << llvm::formatv("| `{0}` | {1} | {2:F3} |\n", kernel, work.launches,
                        double(work.flops) / 1e9);
  os << llvm::formatv("| all | | {0:F3} |\n", double(total) / 1e9);
}

std::string lorac::planReport(ModuleOp module, const dsl::Spec &spec, WeightLayout layout) {
  std::string text;
  llvm::raw_string_ostream os(text);
  auto arena = findOnly<ArenaOp>(module);
  // Parameters; bytes of them and what goes with them; of a cache of keys and values.
  int64_t count = 0, trained = 0, cache = 0, scratch = 0;
  std::string names;
  for (RegionOp region : module.getOps<RegionOp>()) {
    if (region.getRole() == RegionRole::Params)
      count = region.getCount();
    if (region.getRole() == RegionRole::KvCache) {
      cache = region.bytes();
      continue;
    }
    trained += region.bytes();
    names += (names.empty() ? "" : ", ") + region.getSymName().str();
  }
  for (KernelOp kernel : module.getOps<KernelOp>())
    scratch = std::max<int64_t>(scratch, kernel.getScratch());

  os << "# The plan of " << spec.name
     << "\n\n## Memory\n\nEvery byte of a step is allocated before the first one.\n\n"
     << "| what | size |\n|---|---:|\n";
  reportWeights(module, layout, os);
  os << llvm::formatv("| {0} parameters: {1} | {2} |\n", count, names, mib(trained));
  if (cache > 0)
    os << llvm::formatv("| cache of keys and values | {0} |\n", mib(cache));
  os << llvm::formatv("| inputs, outputs and tables | {0} |\n",
                      mib(arena.getPersistent() - trained - cache));
  os << llvm::formatv("| activations, shared by lifetime | {0} |\n",
                      mib(arena.getBytes() - arena.getPersistent()));
  os << llvm::formatv("| sum | {0} |\n", mib(frozenBytes(module, layout) + arena.getBytes()));
  os << llvm::formatv("| scratch, for each thread | {0} |\n", mib(scratch));
  reportRecompute(module, os);
  reportKernels(module, os);
  return text;
}
