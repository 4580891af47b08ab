#pragma once
// An adapter of one module on disk, to be broken.

#include "runtime/formats/Adapter.h"
#include "runtime/formats/DurableFile.h"
#include "runtime/formats/Safetensors.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace lorac::hostile {

using namespace formats;

class AdapterFolder {
public:
  AdapterFolder() {
    std::string pattern = std::filesystem::temp_directory_path() / "lorac-hostile-XXXXXX";
    path = mkdtemp(pattern.data());
    tensors({{"base_model.model.q.lora_A.weight", {2, 3}},
             {"base_model.model.q.lora_B.weight", {4, 2}}});
    config(R"({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q"]})");
  }
  ~AdapterFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  void config(const std::string &text) {
    EXPECT_TRUE(writeDurably(path + "/adapter_config.json", text));
  }
  void tensors(const std::vector<std::pair<std::string, std::vector<int64_t>>> &named) {
    const std::vector<float> values(64, 0.5f);
    std::vector<TensorToWrite> all;
    for (const auto &[name, shape] : named)
      all.push_back({name, DType::F32, shape, values.data()});
    EXPECT_TRUE(writeSafetensors(path + "/adapter_model.safetensors", all));
  }
  void refused(const std::string &words) {
    Result<Adapter> adapter = readAdapter(path);
    ASSERT_FALSE(adapter) << words;
    EXPECT_EQ(adapter.error().code, Exit::ForeignFile) << adapter.error().message;
    EXPECT_NE(adapter.error().message.find(words), std::string::npos) << adapter.error().message;
    EXPECT_NE(adapter.error().message.find(path), std::string::npos) << adapter.error().message;
  }
  std::string path;
};

} // namespace lorac::hostile
