#include "runtime/train/ranks/RankAllocator.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

namespace lorac::train {

namespace {

constexpr float lowest = -std::numeric_limits<float>::infinity();
constexpr float highest = std::numeric_limits<float>::infinity();
constexpr int64_t bucket = 8; // of the algorithm: the same on every target

/// The triplets of one module that are not dead, best first: by score, then by index.
std::vector<int32_t> byScore(const std::vector<Triplet> &triplets,
                             const std::vector<float> &scores) {
  std::vector<int32_t> order;
  for (size_t i = 0; i < triplets.size(); ++i)
    if (triplets[i] != Triplet::Dead)
      order.push_back(int32_t(i));
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t l, int32_t r) { return scores[size_t(l)] > scores[size_t(r)]; });
  return order;
}

} // namespace

int64_t totalRank(const RankPattern &ranks) {
  return std::accumulate(ranks.begin(), ranks.end(), int64_t(0));
}

bool Allocation::anyDied() const {
  return std::any_of(died.begin(), died.end(), [](const auto &places) { return !places.empty(); });
}

RankAllocator::RankAllocator(const RankSchedule &schedule, PruneMode mode,
                             std::vector<RankBounds> bounds)
    : schedule(schedule), mode(mode), modules(std::move(bounds)) {
  this->schedule.initBudget = 0;
  for (const RankBounds &module : modules) {
    this->schedule.initBudget += module.initRank;
    now.triplets.emplace_back(size_t(module.initRank), Triplet::Alive);
    std::vector<int32_t> &stored = now.stored.emplace_back(size_t(module.initRank));
    std::iota(stored.begin(), stored.end(), 0);
  }
}

// One module's scores by first index. What is not stored is dead and has none; a score that is no
// number stands above all others, as in torch's order.
std::vector<float> RankAllocator::spread(std::span<const float> scores, size_t module,
                                         size_t &taken) const {
  std::vector<float> out(now.triplets[module].size(), lowest);
  for (int32_t index : now.stored[module]) {
    float score = scores[taken++];
    out[size_t(index)] = std::isnan(score) ? highest : score;
  }
  return out;
}

Allocation RankAllocator::allocate(int64_t step, int64_t budget, std::span<const float> scores) {
  // The threshold is the k-th smallest of all triplets' scores. The dead, and what is beyond a
  // module's upper bound, stand below every score; what the lower bounds keep stands above.
  std::vector<std::vector<float>> scoresOf, entries;
  std::vector<std::vector<int32_t>> order;
  std::vector<float> all;
  size_t taken = 0;
  for (size_t m = 0; m < modules.size(); ++m) {
    scoresOf.push_back(spread(scores, m, taken));
    order.push_back(byScore(now.triplets[m], scoresOf[m]));
    std::vector<float> &entry = entries.emplace_back(now.triplets[m].size(), lowest);
    for (size_t place = 0; place < order[m].size(); ++place) {
      size_t index = size_t(order[m][place]);
      if (int64_t(place) < modules[m].minRank)
        entry[index] = highest;
      else if (int64_t(place) < modules[m].maxRank)
        entry[index] = scoresOf[m][index];
    }
    all.insert(all.end(), entry.begin(), entry.end());
  }
  assert(taken == scores.size() && "a score for each stored triplet");

  Allocation out;
  out.budget = budget;
  out.threshold = lowest;
  // PEFT's torch.kthvalue raises where nothing is to be masked (k = 0); here nothing is.
  if (int64_t k = schedule.initBudget - budget; k > 0) {
    k = std::min(k, int64_t(all.size()));
    std::nth_element(all.begin(), all.begin() + (k - 1), all.end());
    out.threshold = all[size_t(k - 1)];
  }

  for (size_t m = 0; m < modules.size(); ++m) {
    std::vector<Triplet> &triplets = now.triplets[m];
    const std::vector<int32_t> &best = order[m];
    // Ties go below. Alive are the first so many of the order.
    int64_t live = 0;
    for (size_t place = 0; place < best.size(); ++place)
      if (int64_t(place) < modules[m].minRank || entries[m][size_t(best[place])] > out.threshold)
        live = int64_t(place) + 1;
    int64_t kept = int64_t(best.size());
    if (mode == PruneMode::Eager || (mode == PruneMode::Final && step >= schedule.finalStep()))
      kept = live;
    else if (mode == PruneMode::Bucketed)
      kept = std::min(kept, (live + bucket - 1) / bucket * bucket);
    const std::vector<Triplet> before = triplets;
    for (size_t place = 0; place < best.size(); ++place)
      triplets[size_t(best[place])] = int64_t(place) < live   ? Triplet::Alive
                                      : int64_t(place) < kept ? Triplet::Masked
                                                              : Triplet::Dead;
    std::vector<int32_t> &died = out.died.emplace_back();
    for (size_t place = 0; place < now.stored[m].size(); ++place) {
      size_t index = size_t(now.stored[m][place]);
      if (triplets[index] == Triplet::Dead && before[index] != Triplet::Dead)
        died.push_back(int32_t(place));
    }
  }
  return out;
}

TripletSets RankAllocator::masked(int64_t step) const {
  TripletSets out(modules.size());
  if (!schedule.allocates(step) && !schedule.isFinal(step))
    return out;
  for (size_t m = 0; m < modules.size(); ++m)
    for (size_t place = 0; place < now.stored[m].size(); ++place)
      if (now.triplets[m][size_t(now.stored[m][place])] == Triplet::Masked)
        out[m].push_back(int32_t(place));
  return out;
}

TripletSets RankAllocator::placesOf(Triplet state) const {
  TripletSets out(modules.size());
  for (size_t m = 0; m < modules.size(); ++m)
    for (size_t place = 0; place < now.stored[m].size(); ++place)
      if (now.triplets[m][size_t(now.stored[m][place])] == state)
        out[m].push_back(int32_t(place));
  return out;
}

TripletSets RankAllocator::keptIndices() const {
  TripletSets out(modules.size());
  for (size_t m = 0; m < modules.size(); ++m)
    for (size_t i = 0; i < now.triplets[m].size(); ++i)
      if (now.triplets[m][i] != Triplet::Dead)
        out[m].push_back(int32_t(i));
  return out;
}

namespace {

RankPattern sizes(const TripletSets &sets) {
  RankPattern out;
  for (const std::vector<int32_t> &set : sets)
    out.push_back(int64_t(set.size()));
  return out;
}

} // namespace

RankPattern RankAllocator::liveRanks() const { return sizes(livePlaces()); }
RankPattern RankAllocator::keptRanks() const { return sizes(keptIndices()); }
RankPattern RankAllocator::storedRanks() const { return sizes(now.stored); }

RankPattern RankAllocator::request() {
  now.requested = true;
  now.next = keptIndices();
  return sizes(now.next);
}

TripletSets RankAllocator::takeOver() {
  assert(now.requested && "a program takes over that was asked for");
  TripletSets places(modules.size());
  for (size_t m = 0; m < modules.size(); ++m)
    for (size_t place = 0; place < now.stored[m].size(); ++place)
      if (std::binary_search(now.next[m].begin(), now.next[m].end(), now.stored[m][place]))
        places[m].push_back(int32_t(place));
  now.stored = std::move(now.next);
  cancelRequest();
  return places;
}

Result<void> RankAllocator::restore(RankState state) {
  // `inner` ascends and is part of `outer`.
  auto within = [](const std::vector<int32_t> &inner, const std::vector<int32_t> &outer) {
    return std::adjacent_find(inner.begin(), inner.end(), std::greater_equal<>()) == inner.end() &&
           std::includes(outer.begin(), outer.end(), inner.begin(), inner.end());
  };
  bool good = state.triplets.size() == modules.size() && state.stored.size() == modules.size() &&
              (!state.requested || state.next.size() == modules.size());
  for (size_t m = 0; good && m < modules.size(); ++m) {
    std::vector<int32_t> every(size_t(modules[m].initRank)), kept;
    std::iota(every.begin(), every.end(), 0);
    good = state.triplets[m].size() == every.size();
    for (size_t i = 0; good && i < every.size(); ++i) {
      good = state.triplets[m][i] <= Triplet::Dead;
      if (state.triplets[m][i] != Triplet::Dead)
        kept.push_back(int32_t(i));
    }
    good = good && within(state.stored[m], every) && within(kept, state.stored[m]);
    if (good && state.requested)
      good = within(state.next[m], state.stored[m]) && within(kept, state.next[m]);
  }
  if (!good)
    return Error{"the checkpoint's rank sets are not of these modules", Exit::ForeignFile};
  if (!state.requested)
    state.next.clear();
  now = std::move(state);
  return {};
}

} // namespace lorac::train
