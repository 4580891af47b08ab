#pragma once
// PEFT's AdaLoRA run over the tiny Llama (tests/golden/README.md, adalora/): what it saw and
// decided at each step.

#include "runtime/formats/Safetensors.h"
#include "runtime/train/ranks/RankSchedule.h"
#include "tests/unit/train/ImportanceReference.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <map>
#include <optional>

namespace lorac::train::test {

inline const std::string adaLoraGolden = LORAC_SOURCE_DIR "/tests/golden/adalora";

/// One model's run, in the order of its modules; tensors of a module lie A, B, E.
struct AdaLoraGolden {
  nlohmann::json train;
  std::optional<formats::Safetensors> numbers, init;
  std::vector<std::string> modules;
  std::vector<TripletLayout> layout;
  RankSchedule schedule;
  int64_t floats = 0;

  explicit AdaLoraGolden(const std::string &folder) {
    std::ifstream(folder + "/train.json") >> train;
    numbers = *formats::Safetensors::open(folder + "/train.safetensors");
    init = *formats::Safetensors::open(folder + "/init.safetensors");
    for (const auto &module : train["module_order"]) {
      modules.push_back(module);
      auto shape = [&](const char *tensor) {
        return init->find(name(modules.back(), tensor))->shape;
      };
      TripletLayout at;
      at.rank = shape("lora_A")[0];
      at.in = shape("lora_A")[1];
      at.out = shape("lora_B")[0];
      at.a = floats;
      at.b = at.a + at.rank * at.in;
      at.e = at.b + at.out * at.rank;
      floats = at.e + at.rank;
      layout.push_back(at);
    }
    const auto &config = train["config"];
    schedule = {train["init_budget"], train["target_budget"], config["ada_tinit"],
                config["ada_tfinal"], config["ada_dt"],       config["ada_total"]};
  }

  static std::string name(const std::string &module, const char *tensor) {
    return "base_model.model." + module + "." + tensor;
  }

  /// All modules' tensors of `prefix` as a flat region.
  std::vector<float> region(const formats::Safetensors &file, const std::string &prefix) const {
    std::vector<float> out;
    for (const std::string &module : modules)
      for (const char *tensor : {"lora_A", "lora_B", "lora_E"}) {
        Result<std::vector<float>> values = file.floats(prefix + name(module, tensor));
        EXPECT_TRUE(values) << values.error().message;
        if (values)
          out.insert(out.end(), values->begin(), values->end());
      }
    return out;
  }
};

/// Over the tied and the untied model.
class AdaLoraGoldenTest : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override { golden.emplace(adaLoraGolden + "/" + GetParam()); }
  std::optional<AdaLoraGolden> golden;
};

} // namespace lorac::train::test
