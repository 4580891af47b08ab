#include "runtime/train/StateStorage.h"

#include "runtime/formats/Dynamic8.h"
#include "runtime/formats/StateLayout.h"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>

namespace lorac::train {

namespace {

constexpr int64_t block = formats::dynamicBlock;

formats::Dynamic8 kindOf(Storage storage) {
  return storage == Storage::DynamicSigned ? formats::Dynamic8::Signed
                                           : formats::Dynamic8::Unsigned;
}

int64_t blocksOf(int64_t count) { return (count + block - 1) / block; }

/// A state's three regions.
struct Stored {
  formats::Dynamic8 kind;
  uint8_t *codes;
  float *absmax, *compact;

  Stored(const PlanRegion &of, const TrainedFloats &trained)
      : kind(kindOf(of.storage)), codes(trained.findCodes(of.name)),
        absmax(trained.find(of.name + formats::absmaxSuffix)),
        compact(trained.find(of.name + formats::compactSuffix)) {}
};

} // namespace

int64_t StateTensor::count() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t(1), std::multiplies<int64_t>());
}

std::vector<StateTensor> stateTensors(const Plan &plan, const TrainedFloats &trained) {
  using formats::DType;
  std::vector<StateTensor> tensors;
  const std::vector<StatePlace> places = plan.statePlaces();
  const std::vector<LoracMatrix> matrices = plan.matrices();
  for (size_t p = 0; p < plan.params.size(); ++p) {
    const PlanParam &param = plan.params[p];
    const StatePlace &place = places[p];
    auto add = [&](const std::string &prefix, DType type, std::vector<int64_t> shape, void *data) {
      tensors.push_back({prefix + "." + param.name, type, std::move(shape), data});
    };
    auto addFloats = [&](const std::string &prefix, float *region) {
      add(prefix, DType::F32, param.shape, region + param.offset);
    };
    for (const PlanRegion &region : plan.regions) {
      if (region.kind != RegionKind::State)
        continue;
      if (region.storage == Storage::Floats)
        addFloats(region.name, trained.find(region.name));
      if (region.storage == Storage::Rows)
        add(region.name, DType::F32, {matrices[p].rows},
            trained.find(region.name) + matrices[p].row);
      if (region.storage == Storage::Columns)
        add(region.name, DType::F32, {matrices[p].columns},
            trained.find(region.name) + matrices[p].column);
      if (!isCode(region.storage))
        continue;
      const Stored state(region, trained);
      if (!place.in8bits) {
        add(region.name, DType::F32, param.shape, state.compact + place.own);
        continue;
      }
      add(region.name, DType::U8, param.shape, state.codes + param.offset);
      add(region.name + formats::absmaxSuffix, DType::F32, {blocksOf(param.count())},
          state.absmax + place.own);
      tensors.back().isAbsmax = true;
    }
    if (plan.ranks)
      addFloats("param", trained.params);
    for (const PlanRegion &region : plan.regions)
      if (region.kind == RegionKind::Importance)
        addFloats(region.name, trained.find(region.name));
  }
  return tensors;
}

std::vector<float> decodeState(const Plan &plan, const PlanRegion &of,
                               const TrainedFloats &trained) {
  const Stored state(of, trained);
  const float *map = formats::dynamicMap(state.kind);
  std::vector<float> values(size_t(plan.region(RegionKind::Params).count));
  const std::vector<StatePlace> places = plan.statePlaces();
  for (size_t p = 0; p < plan.params.size(); ++p) {
    const PlanParam &param = plan.params[p];
    float *out = values.data() + param.offset;
    if (!places[p].in8bits) {
      std::copy_n(state.compact + places[p].own, param.count(), out);
      continue;
    }
    for (int64_t i = 0; i < param.count(); ++i)
      out[i] = map[state.codes[param.offset + i]] * state.absmax[places[p].own + i / block];
  }
  return values;
}

void encodeState(const Plan &plan, const PlanRegion &of, std::span<const float> values,
                 const TrainedFloats &trained) {
  const Stored state(of, trained);
  const std::vector<StatePlace> places = plan.statePlaces();
  for (size_t p = 0; p < plan.params.size(); ++p) {
    const PlanParam &param = plan.params[p];
    const auto from = values.subspan(size_t(param.offset), size_t(param.count()));
    if (!places[p].in8bits) {
      std::copy(from.begin(), from.end(), state.compact + places[p].own);
      continue;
    }
    for (int64_t i = 0; i < param.count(); i += block)
      state.absmax[places[p].own + i / block] = formats::quantizeDynamic(
          state.kind, from.subspan(size_t(i), size_t(std::min(block, param.count() - i))),
          state.codes + param.offset + i);
  }
}

std::vector<std::array<int32_t, 3>> tripletOwns(const Plan &plan,
                                                const std::vector<TripletLayout> &layouts) {
  std::map<int64_t, int32_t> compact; // by the offset in whole regions
  const std::vector<StatePlace> places = plan.statePlaces();
  for (size_t p = 0; p < plan.params.size(); ++p)
    if (!places[p].in8bits)
      compact[plan.params[p].offset] = int32_t(places[p].own);
  auto own = [&](int64_t offset) {
    auto found = compact.find(offset);
    return found == compact.end() ? -1 : found->second;
  };
  std::vector<std::array<int32_t, 3>> owns;
  for (const TripletLayout &at : layouts)
    owns.push_back(at.rank == 0 ? std::array<int32_t, 3>{-1, -1, -1}
                                : std::array<int32_t, 3>{own(at.a), own(at.b), own(at.e)});
  return owns;
}

} // namespace lorac::train
