#include "runtime/train/ranks/Gather.h"
#include "ImportanceReference.h"

#include "runtime/train/Random.h"
#include "runtime/train/ranks/TripletParams.h"

#include <gtest/gtest.h>

#include <numeric>

namespace lorac::train {
namespace {

PlanParam param(const std::string &module, const std::string &group, std::vector<int64_t> shape,
                int64_t offset) {
  return {module + "." + group + ".weight",
          module,
          *formats::parseAdapterPart(group),
          std::move(shape),
          offset,
          0,
          1};
}

/// Parameters of modules in an order and with gaps of one's own.
std::vector<PlanParam> lay(const std::vector<std::string> &modules, const RankPattern &ranks,
                           const std::vector<std::pair<int64_t, int64_t>> &shapes,
                           const std::vector<int> &order, int64_t gap) {
  std::vector<PlanParam> out;
  int64_t at = gap;
  for (int i : order) {
    const size_t m = size_t(i / 3);
    const auto [in, width] = shapes[m];
    if (ranks[m] == 0)
      continue;
    std::vector<int64_t> shape = i % 3 == 0   ? std::vector<int64_t>{ranks[m], in}
                                 : i % 3 == 1 ? std::vector<int64_t>{width, ranks[m]}
                                              : std::vector<int64_t>{ranks[m]};
    out.push_back(param(modules[m],
                        i % 3 == 0   ? "lora_A"
                        : i % 3 == 1 ? "lora_B"
                                     : "lora_E",
                        shape, at));
    at += out.back().count() + gap;
  }
  return out;
}

int64_t floatsOf(const std::vector<PlanParam> &params) {
  int64_t most = 0;
  for (const PlanParam &p : params)
    most = std::max(most, p.offset + p.count());
  return most;
}

// Against the same selection element by element into a second region; in the old order, in another,
// with gaps and without.
TEST(Gather, IsASelectionByIndexInPlace) {
  RandomStream random(4, "gather");
  uint64_t drawn = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> modules;
    std::vector<std::pair<int64_t, int64_t>> shapes;
    RankPattern before, after;
    TripletSets kept;
    for (size_t m = 0; m < 1 + random.word(drawn++) % 5; ++m) {
      modules.push_back("m" + std::to_string(m));
      const int64_t in = 1 + random.word(drawn++) % 9, out = 1 + random.word(drawn++) % 9;
      shapes.emplace_back(in, out);
      before.push_back(1 + random.word(drawn++) % 12);
      kept.emplace_back();
      for (int32_t i = 0; i < before.back(); ++i)
        if (random.word(drawn++) % 3)
          kept.back().push_back(i);
      if (round % 4 == 0 && m == 0)
        kept.back().clear();
      after.push_back(int64_t(kept.back().size()));
    }
    std::vector<int> order(modules.size() * 3), other;
    std::iota(order.begin(), order.end(), 0);
    other = order;
    if (round % 3 == 0)
      std::reverse(other.begin() + other.size() / 2, other.end());
    auto old = lay(modules, before, shapes, order, round % 2),
         fresh = lay(modules, after, shapes, other, round % 2);
    auto tensors = matchTensors(old, fresh, modules, kept);
    ASSERT_TRUE(tensors) << tensors.error().message;
    const int64_t count = floatsOf(fresh) + round % 3;
    std::vector<float> region(size_t(std::max(floatsOf(old), count) + 2)),
        expected(size_t(count), 0.0f);
    for (size_t i = 0; i < region.size(); ++i)
      region[i] = float(i + 1);
    for (const PlanParam &p : fresh) {
      const auto &was = *std::find_if(old.begin(), old.end(),
                                      [&](const PlanParam &o) { return o.name == p.name; });
      const auto &keep = kept[size_t(p.module[1] - '0')];
      const int64_t columns = p.shape.size() > 1 ? p.shape[1] : 1;
      const int64_t oldColumns = was.shape.size() > 1 ? was.shape[1] : 1;
      for (int64_t i = 0; i < p.count(); ++i) {
        int64_t row = i / columns, column = i % columns;
        int64_t from = p.part == AdapterPart::B ? row * oldColumns + keep[size_t(column)]
                                                : keep[size_t(row)] * oldColumns + column;
        expected[size_t(p.offset + i)] = float(was.offset + from + 1);
      }
    }
    gatherTriplets(region.data(), count, *tensors);
    region.resize(size_t(count));
    ASSERT_EQ(region, expected) << round;
  }
}

// Two modules, the second without parameters left; A, E, B of the first from 1 on.
TEST(TripletParams, FindAndZero) {
  std::vector<PlanParam> params = {param("m", "lora_A", {2, 3}, 1), param("m", "lora_E", {2, 1}, 7),
                                   param("m", "lora_B", {2, 2}, 9)};
  auto layouts = tripletLayouts(params, {"m", "gone"});
  ASSERT_TRUE(layouts) << layouts.error().message;
  std::vector<float> region(14, 1.0f);
  zeroE(region.data(), *layouts, {{0}, {}});
  EXPECT_EQ(region, std::vector<float>({1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1}));
  zeroWhole(region.data(), *layouts, {{1}, {}});
  EXPECT_EQ(region, std::vector<float>({1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1}));
  EXPECT_EQ((*layouts)[1].rank, 0);
  params[1].shape = {3};
  EXPECT_FALSE(tripletLayouts(params, {"m"}));
  params.erase(params.begin() + 1);
  EXPECT_EQ(tripletLayouts(params, {"m"}).error().message,
            "the program's lora_A, lora_E and lora_B of 'm' are no triplets");
}

TEST(Gather, RefusesAProgramThatDoesNotFit) {
  std::vector<PlanParam> old = {param("m", "lora_A", {4, 3}, 0), param("m", "lora_B", {5, 4}, 12)};
  std::vector<PlanParam> fresh = {param("m", "lora_A", {2, 3}, 0), param("m", "lora_B", {5, 2}, 6)};
  TripletSets two = {{0, 3}}, three = {{0, 1, 3}}, beyond = {{0, 4}};
  EXPECT_TRUE(matchTensors(old, fresh, {"m"}, two));
  EXPECT_EQ(matchTensors(old, fresh, {"m"}, three).error().message,
            "'m.lora_A.weight' has 6 values in the new program, and 9 are to stay");
  EXPECT_EQ(matchTensors(old, fresh, {"m"}, beyond).error().message,
            "'m.lora_A.weight' has rank 4, and triplet 4 is to stay");
  EXPECT_FALSE(matchTensors(old, {fresh[0]}, {"m"}, two));
  EXPECT_FALSE(matchTensors({old[0]}, fresh, {"m"}, two));
  EXPECT_FALSE(matchTensors(old, fresh, {"other"}, two));
}

} // namespace
} // namespace lorac::train
