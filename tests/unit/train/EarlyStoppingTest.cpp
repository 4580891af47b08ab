// Against transformers' EarlyStoppingCallback (tests/golden/metrics).
#include "runtime/train/EarlyStopping.h"

#include "nlohmann/json.hpp"
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

namespace lorac::train {
namespace {

TEST(EarlyStopping, IsTransformers) {
  std::ifstream file(LORAC_SOURCE_DIR "/tests/golden/metrics/early_stopping.json");
  const nlohmann::json golden = nlohmann::json::parse(file);
  int stopped = 0;
  for (const nlohmann::json &of : golden["cases"]) {
    SCOPED_TRACE(of.dump());
    EarlyStopping stopping({of["patience"], of["threshold"]});
    std::vector<int64_t> counters;
    nlohmann::json stop;
    int evaluation = 0;
    for (const nlohmann::json &metric : golden["series"][of["series"].get<std::string>()]) {
      const double value = metric.is_string() ? NAN : metric.get<double>();
      stopping.observe(of["greater_is_better"] ? -value : value);
      counters.push_back(stopping.stalled());
      if (stopping.isOver()) {
        stop = evaluation, ++stopped;
        break;
      }
      ++evaluation;
    }
    EXPECT_EQ(counters, of["counter"].get<std::vector<int64_t>>());
    EXPECT_EQ(stop, of["stop_after_evaluation"]);
  }
  EXPECT_EQ(golden["cases"].size(), 48u);
  EXPECT_GT(stopped, 20);
}

} // namespace
} // namespace lorac::train
