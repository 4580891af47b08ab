#include "compiler/passes/recompute/RecomputePlanner.h"

using namespace mlir;
using namespace lorac::lora;

RecomputePlanner::RecomputePlanner(const StepModel &model, int64_t headRows, int64_t leastRows)
    : model(model), headRows(headRows), leastRows(std::min(leastRows, headRows)) {
  cheap = plainSet();
  takeCheap();
  findCandidates();
}

RecomputePlanner::Set RecomputePlanner::plainSet() const {
  Set set{llvm::BitVector(model.ops.size()), SmallVector<unsigned>(model.buffers.size(), 0)};
  for (const StepOp &op : llvm::drop_begin(model.ops, model.border + 1))
    for (unsigned read : op.reads)
      ++set.needs[read];
  return set;
}

bool RecomputePlanner::isKept(const Set &set, unsigned buffer) const {
  int writer = model.buffers[buffer].writer;
  return set.needs[buffer] > 0 && model.isForward(writer) && !set.again[writer];
}

bool RecomputePlanner::mayComeAgain(unsigned op, bool onlyCheap) const {
  return model.ops[op].flops >= 0 && !model.entersLayer(op) &&
         (!onlyCheap || model.ops[op].isCheap);
}

RecomputePlanner::Gain RecomputePlanner::add(Set &set, unsigned op, bool onlyCheap,
                                             SmallVectorImpl<unsigned> &added) const {
  Gain gain{0, model.ops[op].flops};
  for (unsigned write : model.ops[op].writes)
    if (isKept(set, write))
      gain.bytes += model.buffers[write].bytes;
  set.again.set(op);
  added.push_back(op);
  for (unsigned read : model.ops[op].reads) {
    int writer = model.buffers[read].writer;
    if (set.needs[read]++ > 0 || !model.isForward(writer) || set.again[writer])
      continue;
    gain.bytes -= model.buffers[read].bytes; // needed from now on, and gained again if not kept
    if (mayComeAgain(writer, onlyCheap)) {
      Gain along = add(set, writer, onlyCheap, added);
      gain.bytes += along.bytes, gain.flops += along.flops;
    }
  }
  return gain;
}

void RecomputePlanner::remove(Set &set, ArrayRef<unsigned> added) const {
  for (unsigned op : added) {
    set.again.reset(op);
    for (unsigned read : model.ops[op].reads)
      --set.needs[read];
  }
}

// In the order of the forward pass, each where less is kept then.
void RecomputePlanner::takeCheap() {
  SmallVector<unsigned> added;
  for (unsigned op = 0; op < model.border; ++op) {
    bool isNeeded =
        llvm::any_of(model.ops[op].writes, [&](unsigned write) { return isKept(cheap, write); });
    if (!isNeeded || !mayComeAgain(op, /*onlyCheap=*/true))
      continue;
    added.clear();
    if (add(cheap, op, /*onlyCheap=*/true, added).bytes <= 0)
      remove(cheap, added);
  }
}

// Prices within a tenth are one class, in which lower layers come first.
void RecomputePlanner::findCandidates() {
  Set set = cheap;
  SmallVector<unsigned> added;
  for (unsigned op = 0; op < model.border; ++op) {
    bool isNeeded =
        llvm::any_of(model.ops[op].writes, [&](unsigned write) { return isKept(set, write); });
    if (!isNeeded || !mayComeAgain(op, /*onlyCheap=*/false))
      continue;
    added.clear();
    Gain gain = add(set, op, /*onlyCheap=*/false, added);
    remove(set, added);
    if (gain.bytes > 0)
      candidates.push_back({op, double(gain.flops) / double(gain.bytes)});
  }
  llvm::stable_sort(candidates,
                    [](const Candidate &x, const Candidate &y) { return x.price < y.price; });
  classEnds.push_back(0);
  double first = candidates.empty() ? 0 : candidates.front().price;
  for (auto [i, candidate] : llvm::enumerate(candidates))
    if (candidate.price > 1.1 * first)
      classEnds.push_back(unsigned(i)), first = candidate.price;
  if (!candidates.empty())
    classEnds.push_back(unsigned(candidates.size()));
  for (auto [from, to] : llvm::zip(classEnds, llvm::drop_begin(classEnds)))
    std::sort(candidates.begin() + from, candidates.begin() + to,
              [](const Candidate &x, const Candidate &y) { return x.op < y.op; });
}

RecomputePlanner::Set RecomputePlanner::firstOf(unsigned count) const {
  Set set = cheap;
  SmallVector<unsigned> added;
  for (const Candidate &candidate : ArrayRef(candidates).take_front(count))
    if (!set.again[candidate.op]) // an earlier one may have brought it along
      add(set, candidate.op, /*onlyCheap=*/false, added);
  return set;
}

StepPeak RecomputePlanner::peakOf(const llvm::BitVector &again) {
  ++evaluations;
  return model.peak(again);
}

// Whole tiles, where there is more than one chunk.
int64_t RecomputePlanner::half(int64_t rows) const {
  return std::max(rows / 2 / leastRows * leastRows, leastRows);
}

// Each halving of a chunk reads the head's weight once more.
int64_t RecomputePlanner::rowsWithin(int64_t budget, const StepPeak &peak, int64_t fewest) const {
  for (int64_t rows = headRows; rows >= fewest; rows = rows > fewest ? half(rows) : 0)
    if (peak.atLoss + model.logitBytes(rows) <= budget)
      return rows;
  return 0;
}

bool RecomputePlanner::fits(const StepPeak &peak, int64_t budget, int64_t fewest) const {
  return peak.elsewhere <= budget && rowsWithin(budget, peak, fewest) > 0;
}

RecomputeChoice RecomputePlanner::choose(int64_t budget) {
  if (budget == 0) {
    StepPeak peak = peakOf(cheap.again);
    return {cheap.again, headRows,
            std::max(peak.elsewhere, peak.atLoss + model.logitBytes(headRows)), false, evaluations};
  }
  // Halving the chunk once costs less than computing again; more than once, less than not to fit.
  for (int64_t fewest : {half(headRows), leastRows}) {
    unsigned below = 0;
    for (unsigned end : classEnds) {
      if (!fits(peakOf(firstOf(end).again), budget, fewest)) {
        below = end;
        continue;
      }
      while (end - below > 1) {
        unsigned middle = below + (end - below) / 2;
        (fits(peakOf(firstOf(middle).again), budget, fewest) ? end : below) = middle;
      }
      RecomputeChoice choice{firstOf(end).again};
      keepLastLayers(choice, budget, fewest);
      return choice;
    }
  }
  return leastChoice();
}

RecomputeChoice RecomputePlanner::leastChoice() {
  RecomputeChoice least;
  for (unsigned end : classEnds) {
    llvm::BitVector again = firstOf(end).again;
    StepPeak peak = peakOf(again);
    int64_t bytes = std::max(peak.elsewhere, peak.atLoss + model.logitBytes(leastRows));
    if (least.again.empty() || bytes < least.peak)
      least.again = again, least.peak = bytes;
  }
  keepLastLayers(least, least.peak, leastRows);
  least.isLeast = true;
  return least;
}

// What the last layers would compute again lives at the peak either way: there it is kept, layer by
// layer as far as the budget allows.
void RecomputePlanner::keepLastLayers(RecomputeChoice &choice, int64_t budget, int64_t fewest) {
  StepPeak peak = peakOf(choice.again);
  int lowest = 0;
  for (unsigned op : choice.again.set_bits())
    lowest = std::max(lowest, model.ops[op].layer);
  for (int layer = lowest; layer >= 0; --layer) {
    llvm::BitVector fewer = choice.again;
    for (unsigned op : choice.again.set_bits())
      if (model.ops[op].layer == layer && !cheap.again[op])
        fewer.reset(op);
    if (fewer == choice.again)
      continue;
    StepPeak higher = peakOf(fewer);
    if (!fits(higher, budget, fewest))
      break;
    choice.again = fewer, peak = higher;
  }
  choice.headRows = rowsWithin(budget, peak, fewest);
  choice.peak = std::max(peak.elsewhere, peak.atLoss + model.logitBytes(choice.headRows));
  choice.evaluations = evaluations;
}

SmallVector<int64_t> RecomputePlanner::keptBytes(const llvm::BitVector &again) const {
  Set set = plainSet();
  set.again = again;
  for (unsigned op : again.set_bits())
    for (unsigned read : model.ops[op].reads)
      ++set.needs[read];
  SmallVector<int64_t> kept(model.ops.size(), 0);
  for (auto [i, buffer] : llvm::enumerate(model.buffers))
    if (isKept(set, unsigned(i)))
      kept[buffer.writer] += buffer.bytes;
  return kept;
}
