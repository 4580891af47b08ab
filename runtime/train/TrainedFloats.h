#pragma once
// What is trained, in the host's memory.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::train {

/// What a run has trained, in the host's memory, each as long as the plan's region.
struct TrainedFloats {
  struct Region {
    std::string name;
    float *floats;
    uint8_t *codes = nullptr; ///< in place of floats
  };
  float *params = nullptr;
  std::vector<Region> others; ///< those of Plan::trained() behind the params, in its order
  float *average = nullptr;   ///< what is saved in place of the params (Plan::hasAverage)

  float *saved() const { return average ? average : params; }

  /// Null: none of `others` has this name.
  float *find(std::string_view name) const {
    for (const Region &region : others)
      if (region.name == name)
        return region.floats;
    return nullptr;
  }
  uint8_t *findCodes(std::string_view name) const {
    for (const Region &region : others)
      if (region.name == name)
        return region.codes;
    return nullptr;
  }
};

} // namespace lorac::train
