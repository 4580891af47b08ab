#pragma once
// The four modes once more, as docs/adalora.md states them and in the plainest way: float64, sorted
// lists, no storage. What RankAllocator is compared with.

#include "runtime/train/ranks/RankAllocator.h"

#include <algorithm>
#include <map>
#include <set>

namespace lorac::train::test {

struct PlainAllocator {
  struct Module {
    int64_t initRank, minRank, maxRank;
    std::set<int> alive, masked; ///< the others are dead
  };
  std::vector<Module> modules;
  PruneMode mode;
  int64_t finalStep;

  PlainAllocator(const std::vector<RankBounds> &bounds, PruneMode mode, int64_t finalStep)
      : mode(mode), finalStep(finalStep) {
    for (const RankBounds &b : bounds) {
      Module &module = modules.emplace_back(Module{b.initRank, b.minRank, b.maxRank, {}, {}});
      for (int i = 0; i < b.initRank; ++i)
        module.alive.insert(i);
    }
  }

  /// `scores[m][i]` of every triplet, also of the dead ones (not looked at).
  void allocate(int64_t step, int64_t budget, const std::vector<std::vector<double>> &scores) {
    int64_t all = 0, below = 0, guaranteed = 0;
    std::vector<double> open; // scores that the threshold decides about
    std::vector<std::vector<std::pair<double, int>>> ranked;
    for (size_t m = 0; m < modules.size(); ++m) {
      Module &module = modules[m];
      all += module.initRank;
      std::vector<std::pair<double, int>> &list = ranked.emplace_back(); // (-score, index)
      for (int i = 0; i < module.initRank; ++i)
        if (module.alive.count(i) || module.masked.count(i))
          list.emplace_back(-scores[m][size_t(i)], i);
      std::sort(list.begin(), list.end());
      below += module.initRank - int64_t(list.size());
      for (size_t place = 0; place < list.size(); ++place)
        if (int64_t(place) < module.minRank)
          ++guaranteed;
        else if (int64_t(place) < module.maxRank)
          open.push_back(-list[place].first);
        else
          ++below;
    }
    std::sort(open.begin(), open.end());
    // Of the `open` ones, the k smallest go that the budget asks for and nothing else has paid.
    const int64_t k = all - budget - below;
    auto stays = [&](double score) {
      if (all - budget <= 0 || k <= 0)
        return true;
      if (k > int64_t(open.size()))
        return false;
      return score > open[size_t(k - 1)];
    };
    for (size_t m = 0; m < modules.size(); ++m) {
      Module &module = modules[m];
      module.alive.clear();
      module.masked.clear();
      size_t place = 0;
      for (; place < ranked[m].size(); ++place) {
        bool guaranteedHere = int64_t(place) < module.minRank;
        bool allowed = int64_t(place) < module.maxRank && stays(-ranked[m][place].first);
        if (!guaranteedHere && !allowed)
          break;
        module.alive.insert(ranked[m][place].second);
      }
      size_t room = ranked[m].size();
      if (mode == PruneMode::Eager || (mode == PruneMode::Final && step >= finalStep))
        room = module.alive.size();
      if (mode == PruneMode::Bucketed) {
        size_t buckets = 0;
        while (buckets < module.alive.size())
          buckets += 8;
        room = std::min(room, buckets);
      }
      for (; place < room; ++place)
        module.masked.insert(ranked[m][place].second);
    }
  }
};

} // namespace lorac::train::test
