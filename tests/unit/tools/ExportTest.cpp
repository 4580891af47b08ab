// `lorac export --format peft-adalora`: triplets from a run's checkpoint, or with E = 1.

#include "compiler/tools/Cli.h"
#include "runtime/formats/Adapter.h"
#include "runtime/formats/Safetensors.h"
#include "runtime/train/CheckpointTriplets.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace fs = std::filesystem;
using namespace lorac;
using formats::Adapter;
using formats::AdapterModule;

namespace {

const std::string module = "model.layers.0.mlp.up_proj";

/// A run's output: of four stored triplets the second and the last live.
class ExportTest : public testing::Test {
protected:
  void SetUp() override {
    std::string pattern = fs::path(testing::TempDir()) / "export.XXXXXX";
    folder = mkdtemp(pattern.data());
    for (size_t i = 0; i < a.size(); ++i)
      a[i] = float(i) / 7 + 1;
    for (size_t i = 0; i < b.size(); ++i)
      b[i] = 2 - float(i) / 9;
    live.adaLora = formats::AdaLora{.initR = 4};
    live.alpha = 8;
    AdapterModule triplets{module, 2, 3, 2, 0, 8 / (4 + 1e-5), {}, {}, {e[1], e[3]}};
    for (size_t place : {1, 3})
      triplets.a.insert(triplets.a.end(), a.begin() + long(place) * 3,
                        a.begin() + long(place) * 3 + 3);
    for (size_t row = 0; row < 2; ++row)
      for (size_t place : {1, 3})
        triplets.b.push_back(b[row * 4 + place]);
    live.modules = {triplets};
    ASSERT_TRUE(formats::writePeftAdapter(folder, live));
  }
  void TearDown() override { fs::remove_all(folder); }

  void writeCheckpoint() {
    fs::create_directory(folder + "/checkpoint-9");
    const std::string name = "param." + module + ".lora_";
    const std::vector<formats::TensorToWrite> tensors = {
        {name + "A.weight", formats::DType::F32, {4, 3}, a.data()},
        {name + "B.weight", formats::DType::F32, {2, 4}, b.data()},
        {name + "E.weight", formats::DType::F32, {4, 1}, e.data()}};
    ASSERT_TRUE(formats::writeSafetensors(folder + "/checkpoint-9/optimizer.safetensors", tensors));
  }
  Adapter plain() const { return *formats::readAdapter(folder); }
  Exit exportIt() const {
    const std::string out = folder + "/ada";
    const char *words[] = {"lorac",        "export", folder.c_str(), "--format",
                           "peft-adalora", "--out",  out.c_str(),    "--force"};
    return Exit(tools::runCommandLine(std::size(words), words));
  }
  Adapter exported() {
    EXPECT_EQ(exportIt(), Exit::Done);
    Result<Adapter> read = formats::readAdapter(folder + "/ada");
    EXPECT_TRUE(read) << read.error().message;
    return read ? *read : Adapter();
  }

  std::string folder;
  std::vector<float> a = std::vector<float>(12), b = std::vector<float>(8), e = {0, 0.5f, 0, -3};
  Adapter live;
};

TEST_F(ExportTest, TripletsOfTheCheckpoint) {
  writeCheckpoint();
  const Adapter read = exported();
  ASSERT_TRUE(read.adaLora);
  ASSERT_EQ(read.modules.size(), 1u);
  EXPECT_EQ(read.modules[0].a, live.modules[0].a);
  EXPECT_EQ(read.modules[0].b, live.modules[0].b);
  EXPECT_EQ(read.modules[0].e, live.modules[0].e);
  EXPECT_NEAR(read.modules[0].scale, live.modules[0].scale, 1e-9);
}

TEST_F(ExportTest, WithoutACheckpointEveryEIsOne) {
  const Adapter read = exported();
  ASSERT_TRUE(read.adaLora);
  EXPECT_EQ(read.adaLora->initR, 2) << "the largest rank";
  EXPECT_EQ(read.modules[0].e, (std::vector<float>{1, 1}));
  EXPECT_EQ(read.modules[0].b, plain().modules[0].b);
  EXPECT_NEAR(read.modules[0].scale, live.modules[0].scale, 1e-9);
}

TEST_F(ExportTest, ACheckpointOfOtherValuesIsNotTaken) {
  a[4] += 1;
  writeCheckpoint();
  EXPECT_EQ(*train::checkpointTriplets(folder, plain()), std::nullopt);
  a[4] -= 1;
  e[3] = 2;
  writeCheckpoint();
  EXPECT_EQ(*train::checkpointTriplets(folder, plain()), std::nullopt);
  EXPECT_EQ(exported().modules[0].e, (std::vector<float>{1, 1}));
}

TEST_F(ExportTest, ACorruptCheckpointIsTold) {
  writeCheckpoint();
  fs::resize_file(folder + "/checkpoint-9/optimizer.safetensors", 100);
  EXPECT_EQ(exportIt(), Exit::ForeignFile);
  EXPECT_FALSE(fs::exists(folder + "/ada"));
}

} // namespace
