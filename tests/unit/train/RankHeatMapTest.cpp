#include "runtime/train/ranks/RankHeatMap.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <unistd.h>

namespace lorac::train {
namespace {

RankHistory falling(int64_t layers, int64_t allocations) {
  RankHistory history{"tiny_adalora", {}, {}};
  for (int64_t layer = 0; layer < layers; ++layer)
    for (const char *name : {"self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"})
      history.modules.push_back("model.layers." + std::to_string(layer) + "." + name);
  for (int64_t i = 0; i < allocations; ++i) {
    RankHistory::Column column{i * 10, {}};
    for (size_t m = 0; m < history.modules.size(); ++m)
      column.ranks.push_back(std::max<int64_t>(0, 24 - i * int64_t(1 + (m * 7) % 5) / 2));
    history.columns.push_back(column);
  }
  return history;
}

size_t count(const std::string &text, const std::string &word) {
  size_t found = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1))
    ++found;
  return found;
}

TEST(RankHeatMap, HasACellForEachModuleAndAllocation) {
  std::string svg = rankHeatMap(falling(4, 12));
  EXPECT_EQ(count(svg, "<title>"), 12u * 12u);
  EXPECT_NE(svg.find("model.layers.3.mlp.down_proj, step 110: rank "), std::string::npos);
  EXPECT_EQ(count(svg, "<text"), count(svg, "</text>"));
}

TEST(RankHeatMap, EscapesNames) {
  RankHistory history{"a<b>&\"c\"\n\x01\xff", {"<m>"}, {{0, {3}}}};
  std::string svg = rankHeatMap(history);
  EXPECT_NE(svg.find("a&lt;b&gt;&amp;&quot;c&quot;<"), std::string::npos);
  EXPECT_NE(svg.find(">&lt;m&gt;<"), std::string::npos);
  EXPECT_EQ(svg.find('\x01'), std::string::npos);
  EXPECT_EQ(svg.find('\xff'), std::string::npos);
}

TEST(RankHeatMap, DrawsLongRunsAndEmptyOnes) {
  std::string svg = rankHeatMap(falling(30, 2000));
  EXPECT_LE(count(svg, "<title>"), 90u * 96u);
  EXPECT_NE(rankHeatMap({}).find("</svg>"), std::string::npos);
  RankHistory constant = falling(1, 1);
  for (int64_t step = 1; step < 500; ++step)
    constant.columns.push_back({step, constant.columns[0].ranks});
  EXPECT_EQ(count(rankHeatMap(constant), "<title>"), 3u);
}

TEST(RankHistory, IsReadFromTheMetrics) {
  const std::string path = testing::TempDir() + "/rank_history." + std::to_string(getpid());
  auto read = [&](const std::string &text, const std::vector<std::string> &modules) {
    std::ofstream(path) << text;
    return readRankHistory(path, modules);
  };
  // Other lines, and those of programs, are passed over; modules by name, whatever their order.
  Result<RankHistory> history = read(R"({"step": 0, "rank_pattern": {"a": 8, "b": 8}}
{"step": 1, "loss": 2.5}
{"step": 11, "budget": 9, "threshold": null, "rank_pattern": {"b": 7, "a": 2}}
{"step": 11, "loss": 2.25}
{"step": 19, "program_ranks": 10, "rank_pattern": {"a": 2, "b": 7}}
{"step": 31, "budget": 3, "rank_pattern": {"a": 0, "b": 3}}
)",
                                     {"a", "b"});
  ASSERT_TRUE(history) << history.error().message;
  EXPECT_EQ(history->modules, (std::vector<std::string>{"a", "b"}));
  ASSERT_EQ(history->columns.size(), 3u);
  EXPECT_EQ(history->columns[0].step, 0);
  EXPECT_EQ(history->columns[0].ranks, (RankPattern{8, 8}));
  EXPECT_EQ(history->columns[1].step, 11);
  EXPECT_EQ(history->columns[1].ranks, (RankPattern{2, 7}));
  EXPECT_EQ(history->columns[2].ranks, (RankPattern{0, 3}));

  EXPECT_TRUE(read("", {"a"})->columns.empty());
  EXPECT_EQ(read("{\"step\": 0, \"rank_pattern\": {\"a\": 1}}\n", {"a", "b"}).error().code,
            Exit::ForeignFile);
  EXPECT_FALSE(read("{\"step\": 0, \"rank_pattern\": {\"a\": -1}}\n", {"a"}));
  EXPECT_FALSE(read("{\"step\": 0, \"rank_pattern\": {\"a\": 1}\n", {"a"}));
  std::filesystem::remove(path);
  EXPECT_FALSE(readRankHistory(path, {"a"}));
}

} // namespace
} // namespace lorac::train
