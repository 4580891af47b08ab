#include "runtime/train/PlanCheck.h"

#include "runtime/abi.h"
#include "runtime/formats/Dynamic8.h"
#include "runtime/formats/StateLayout.h"

#include <algorithm>
#include <set>
#include <string>

namespace lorac::train {

namespace {

struct Extent {
  std::string name;
  int64_t offset, bytes;
};

std::string shown(const PlanRegion &region) {
  return "the region '" + region.name + "' of " + std::to_string(region.count) + " floats";
}

} // namespace

void checkRegion(const Fields &in, const PlanRegion &region, RegionOrder &order) {
  if (region.storage != Storage::Floats && region.kind != RegionKind::State)
    in.fail("has '" + region.name + "' in another storage than floats, and it is no state");
  if (!order.names.insert(region.name).second)
    in.fail("has the name '" + region.name + "', which is taken");
  if (region.offset < order.end)
    in.fail("has '" + region.name + "' at " + std::to_string(region.offset) +
            ", overlapping or below the region before it, which ends at " +
            std::to_string(order.end));
  order.end = region.offset + region.bytes();
}

void checkRegions(const Fields &arena, const Plan &plan) {
  auto countOf = [&](RegionKind kind) {
    return std::count_if(plan.regions.begin(), plan.regions.end(),
                         [&](const PlanRegion &region) { return region.kind == kind; });
  };
  if (plan.isText) {
    if (countOf(RegionKind::Params) != 1 || countOf(RegionKind::KvCache) > 1 ||
        plan.regions.size() != size_t(1 + countOf(RegionKind::KvCache)))
      arena.fail("is for text, and has not one region of params and at most one of kv_cache");
    return;
  }
  if (countOf(RegionKind::Params) != 1 || countOf(RegionKind::Grads) != 1 ||
      countOf(RegionKind::Unfolded) > 1 || countOf(RegionKind::KvCache) > 0)
    return arena.fail("has not one region of params, one of grads and at most one of unfolded");
  const int64_t params = plan.region(RegionKind::Params).count;
  for (const PlanRegion &region : plan.regions)
    if (region.kind != RegionKind::Unfolded && region.storage == Storage::Floats &&
        region.count != params)
      arena.fail("has " + shown(region) + ", the params have " + std::to_string(params));
}

void checkStoredStates(const Fields &root, const Plan &plan) {
  int64_t large = 0, blocks = 0, compact = 0;
  const std::vector<StatePlace> places = plan.statePlaces();
  for (size_t p = 0; p < plan.params.size(); ++p) {
    const int64_t count = plan.params[p].count();
    if (places[p].in8bits)
      ++large, blocks += (count + formats::dynamicBlock - 1) / formats::dynamicBlock;
    else
      compact += count;
  }
  for (const PlanRegion &region : plan.regions) {
    auto require = [&](const std::string &name, Storage storage, int64_t count) {
      const PlanRegion &found = plan.region(name);
      if (found.name != name || found.storage != storage || found.count != count)
        root.fail("has no region '" + name + "' of " + std::to_string(count) +
                  ", as its states of 8 bits ask for");
    };
    if (region.storage != Storage::Floats && !plan.hasCodes())
      root.fail("has '" + region.name +
                "' in another storage than floats, and the optimizer no "
                "'min_8bit_size'");
    if (!isCode(region.storage))
      continue;
    require(region.name, region.storage, large > 0 ? plan.region(RegionKind::Params).count : 0);
    require(region.name + formats::absmaxSuffix, Storage::Absmax, blocks);
    require(region.name + formats::compactSuffix, Storage::Compact, compact);
  }
}

void checkRankRegions(const Fields &root, const Plan &plan) {
  int64_t folded = 0;
  for (const PlanParam &param : plan.params)
    folded += param.part == AdapterPart::B ? param.count() : 0;
  for (const PlanRegion &region : plan.regions) {
    if (region.kind == RegionKind::Unfolded && region.count != folded)
      root.fail("has " + shown(region) + ", all lora_B together have " + std::to_string(folded));
    if (!plan.ranks &&
        (region.kind == RegionKind::Unfolded || region.kind == RegionKind::Importance))
      root.fail("has " + shown(region) + ", which only AdaLoRA has, and the plan has no 'ranks'");
  }
  if (!plan.ranks)
    return;
  for (const char *name : {"sensitivity", "uncertainty"})
    if (plan.region(name).kind != RegionKind::Importance)
      root.fail(std::string("has no region '") + name + "' of importance");
  if (plan.region(RegionKind::Unfolded).kind != RegionKind::Unfolded)
    root.fail("has no region of unfolded");
}

void checkExtents(const Fields &root, const Plan &plan) {
  int64_t tokens = plan.maxTokens;
  int64_t hiddenRow = plan.activationBytes() * Plan::leadingDim(plan.hiddenSize),
          logitRow = 4 * Plan::leadingDim(plan.vocab);
  std::vector<Extent> own = {
      {"io.ids", plan.io.ids, 4 * tokens},
      {"io.positions", plan.io.positions, 4 * tokens},
      {"io.segment_starts", plan.io.segmentStarts, 4 * (plan.maxSegments + 1)},
  };
  if (plan.hasLoss()) {
    own.push_back({"io.labels", plan.io.labels, 4 * tokens});
    own.push_back({"io.row_loss", plan.io.rowLoss, 4 * tokens});
  }
  for (const PlanRegion &region : plan.regions)
    own.push_back({"arena." + region.name, region.offset, region.bytes()});
  if (plan.optimizer) {
    own.push_back({"io.update", plan.io.update, 4 * plan.updateScalars.floats});
    if (plan.ranks)
      own.push_back({"io.importance", plan.io.importance, 4 * plan.importanceScalars.floats});
    own.push_back({"io.norm", plan.io.norm, sizeof(LoracNorm)});
    own.push_back(
        {"io.update_spans", plan.io.updateSpans, int64_t(plan.spans().size() * sizeof(PlanSpan))});
  }
  if (plan.ranks) { // a norm a factor; a module at rank 0 has none
    const auto factors =
        std::count_if(plan.params.begin(), plan.params.end(),
                      [](const auto &param) { return param.part != AdapterPart::E; });
    own.push_back({"io.orthogonality", plan.io.orthogonality, 4 * int64_t(factors)});
  }
  for (const PlanTable &table : plan.tables)
    own.push_back({"tables", table.offset, 4 * table.positions * table.dim});
  if (plan.onGpu()) {
    own.push_back({"io.step", plan.io.step, sizeof(LoracStep)});
    own.push_back({"io.row_ends", plan.io.rowEnds, 4 * tokens});
  }
  if (plan.hasTriplets()) {
    const auto modules = int64_t(plan.ranks->modules.size());
    const int64_t each = 4 * plan.tripletCount();
    own.push_back({"io.triplets", plan.io.triplets, modules * int64_t(sizeof(LoracTriplets))});
    own.push_back({"io.triplet_scores", plan.io.tripletScores, each});
    own.push_back({"io.triplet_states", plan.io.tripletStates, each});
    if (plan.hasCodes())
      own.push_back({"io.triplet_owns", plan.io.tripletOwns, 12 * modules});
  }
  std::vector<Extent> shared = {{"io.hidden", plan.io.hidden, tokens * hiddenRow},
                                {"io.head_in", plan.io.headIn, plan.headRows * hiddenRow},
                                {"io.logits", plan.io.logits, plan.headRows * logitRow}};
  const int64_t align = plan.onGpu() ? 256 : 4;
  for (const std::vector<Extent> *list : {&own, &shared})
    for (const Extent &extent : *list)
      if (extent.offset % align != 0 || extent.bytes > plan.arenaBytes - extent.offset)
        root.fail("has '" + extent.name + "' at " + std::to_string(extent.offset) + " + " +
                  std::to_string(extent.bytes) + " bytes, outside of the arena of " +
                  std::to_string(plan.arenaBytes) + " or not at a multiple of " +
                  std::to_string(align));
  for (std::vector<Extent> *list : {&own, &shared}) {
    std::sort(list->begin(), list->end(),
              [](const Extent &a, const Extent &b) { return a.offset < b.offset; });
    int64_t end = 0;
    std::string last;
    for (const Extent &extent : *list) {
      if (extent.bytes == 0)
        continue;
      if (extent.offset < end)
        root.fail("has '" + extent.name + "' overlapping '" + last + "'");
      end = extent.offset + extent.bytes;
      last = extent.name;
    }
  }
}

} // namespace lorac::train
