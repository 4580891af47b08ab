// Models of both kinds behind one interface; the GGUF writer and reader on the way.
#include "runtime/formats/ModelSource.h"
#include "runtime/formats/DurableFile.h"
#include "tests/unit/formats/Support.h"

#include <fstream>
#include <numeric>

namespace lorac::formats {
namespace {

std::vector<float> readAll(const RowSource &rows) {
  std::vector<float> all(size_t(rows.rows() * rows.cols()));
  for (int64_t r = 0; r < rows.rows(); ++r)
    rows.readRow(r, all.data() + r * rows.cols());
  return all;
}

TEST(Gguf, writesWhatItReads) {
  GgufWriter writer;
  writer.text("general.architecture", "llama");
  writer.u32("u32", 4000000000u);
  writer.u64("u64", uint64_t(1) << 40);
  writer.i32("i32", -5);
  writer.f32("f32", 0.25f);
  writer.f64("f64", 0.1);
  writer.truth("truth", true);
  writer.texts("texts", std::vector<std::string>{"a", "", "\xff\x00 c"});
  writer.floats("floats", std::vector<float>{1, 2});
  writer.integers("integers", std::vector<int32_t>{-1, 7});
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  writer.tensor("m", GgmlType::F32, {2, 3}, std::span<const float>(values));
  writer.tensor("h", GgmlType::F16, {6}, std::span<const float>(values));
  const Gguf file = take(Gguf::parse(MappedFile::ofBytes("a.gguf", writer.bytes())));
  EXPECT_EQ(take(file.text("general.architecture")), "llama");
  EXPECT_EQ(take(file.integer("u32")), 4000000000);
  EXPECT_EQ(take(file.integer("u64")), int64_t(1) << 40);
  EXPECT_EQ(take(file.integer("i32")), -5);
  EXPECT_EQ(take(file.number("f32")), 0.25);
  EXPECT_EQ(take(file.number("f64")), 0.1);
  EXPECT_EQ(take(file.number("i32")), -5);
  EXPECT_TRUE(take(file.truth("truth")));
  EXPECT_EQ(take(file.texts("texts"))[0], "a");
  EXPECT_EQ(take(file.texts("texts")).size(), 3u);
  EXPECT_EQ(take(file.floats("floats")), (std::vector<float>{1, 2}));
  EXPECT_EQ(take(file.integers("integers")), (std::vector<int32_t>{-1, 7}));
  EXPECT_EQ(file.tensor("m")->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(take(file.tensorFloats("m")), values);
  EXPECT_EQ(take(file.tensorFloats("h")), values);
  // Types are not bent.
  EXPECT_FALSE(file.text("u32"));
  EXPECT_FALSE(file.integer("f32"));
  EXPECT_FALSE(file.truth("i32"));
  EXPECT_FALSE(file.floats("integers"));
  EXPECT_FALSE(file.integers("floats"));
  EXPECT_FALSE(file.texts("absent"));
}

/// A matrix of 2 heads of 4 rows: HF's rows, and as GGUF keeps them.
constexpr int64_t heads = 2, perHead = 4, width = 3;
std::vector<float> hfRows() {
  std::vector<float> w(heads * perHead * width);
  std::iota(w.begin(), w.end(), 0.0f);
  return w;
}
/// reshape(heads, 2, d/2, in).swapaxes(1, 2), as llama.cpp's converter permutes.
std::vector<float> permuted(const std::vector<float> &w) {
  std::vector<float> out;
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t j = 0; j < perHead / 2; ++j)
      for (int64_t half = 0; half < 2; ++half)
        for (int64_t i = 0; i < width; ++i)
          out.push_back(w[size_t(((h * 2 + half) * (perHead / 2) + j) * width + i)]);
  return out;
}

struct Models {
  TempFolder folder;
  Models() {
    GgufWriter writer;
    writer.text("general.architecture", "llama");
    writer.u32("llama.block_count", 1);
    writer.f32("llama.rope.freq_base", 5000.0f);
    writer.texts("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b"});
    const std::vector<float> stored = permuted(hfRows());
    writer.tensor("blk.0.attn_q.weight", GgmlType::F32, {8, 3}, std::span<const float>(stored));
    writer.tensor("output_norm.weight", GgmlType::F32, {3},
                  std::span<const float>(stored).first(3));
    take(writer.write(folder / "m.gguf"));
    std::filesystem::create_directory(folder / "hf");
    const std::vector<float> rows = hfRows();
    take(writeSafetensors(
        folder / "hf/model.safetensors",
        std::vector<TensorToWrite>{{"q.weight", DType::F32, {8, 3}, rows.data()},
                                   {"norm.weight", DType::F32, {3}, rows.data()}}));
    take(writeDurably(folder / "hf/config.json",
                      R"({"model_type": "llama", "num_hidden_layers": 1})"));
  }
};

const std::vector<WantedWeight> wanted = {{"q.weight", "blk.0.attn_q.weight", {8, 3}, 2},
                                          {"norm.weight", "output_norm.weight", {3}, 0}};

TEST(ModelSource, bothKindsGiveHuggingFacesRows) {
  Models models;
  for (const std::string path : {"m.gguf", "hf"}) {
    SCOPED_TRACE(path);
    const auto source = take(ModelSource::open(models.folder / path));
    EXPECT_EQ(source->architecture(), "llama");
    const auto rows = take(source->find(wanted));
    ASSERT_EQ(rows.size(), 2u);
    EXPECT_EQ(readAll(*rows[0]), hfRows());
    EXPECT_EQ(readAll(*rows[1]), (std::vector<float>{0, 1, 2}));
    rows[0]->done(1, 3);
    EXPECT_EQ(readAll(*rows[0]), hfRows()) << "released pages come back";
  }
}

TEST(ModelSource, answersHyperparameters) {
  Models models;
  const auto gguf = take(ModelSource::open(models.folder / "m.gguf")),
             hf = take(ModelSource::open(models.folder / "hf"));
  EXPECT_EQ(std::get<int64_t>(*gguf->hyper("llama.block_count")), 1);
  EXPECT_EQ(std::get<double>(*gguf->hyper("llama.rope.freq_base")), 5000.0);
  EXPECT_EQ(std::get<int64_t>(*gguf->hyper("tokenizer.ggml.tokens")), 2);
  EXPECT_EQ(std::get<int64_t>(*hf->hyper("num_hidden_layers")), 1);
  EXPECT_FALSE(gguf->hyper("num_hidden_layers"));
  EXPECT_TRUE(gguf->hasTensor("blk.0.attn_q.weight"));
  EXPECT_FALSE(hf->hasTensor("lm_head.weight"));
}

TEST(ModelSource, namesEveryTensorThatDoesNotFit) {
  Models models;
  for (const std::string path : {"m.gguf", "hf"}) {
    const auto source = take(ModelSource::open(models.folder / path));
    std::vector<WantedWeight> other = wanted;
    other[0].shape = {8, 4};
    other.push_back({"k.weight", "blk.0.attn_k.weight", {4, 3}, 0});
    auto found = source->find(other);
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, Exit::ForeignFile);
    const std::string &words = found.error().message;
    EXPECT_NE(words.find("is F32 [8, 3], expected [8, 4]"), std::string::npos) << words;
    EXPECT_NE(words.find(path == "hf" ? "'k.weight' is absent" : "'blk.0.attn_k.weight' is absent"),
              std::string::npos)
        << words;
    EXPECT_NE(words.find(path), std::string::npos) << words;
  }
}

TEST(ModelSource, namesTensorsThatHaveNoPlace) {
  Models models;
  for (const std::string path : {"m.gguf", "hf"}) {
    const auto source = take(ModelSource::open(models.folder / path));
    EXPECT_TRUE(source->checkNothingElse(wanted));
    Result<void> fits = source->checkNothingElse(std::span(wanted).first(1));
    ASSERT_FALSE(fits);
    EXPECT_EQ(fits.error().code, Exit::ForeignFile);
    EXPECT_NE(fits.error().message.find("norm.weight' [3] has no place in it"), std::string::npos)
        << fits.error().message;
  }
}

TEST(ModelSource, refusesPickles) {
  Models models;
  take(writeDurably(models.folder / "m.bin", "x"));
  std::filesystem::create_directory(models.folder / "pickled");
  take(writeDurably(models.folder / "pickled/config.json", R"({"model_type": "llama"})"));
  take(writeDurably(models.folder / "pickled/pytorch_model.bin", "x"));
  take(writeDurably(models.folder / "renamed.gguf", "PK\x03\x04zipped"));
  for (const std::string path : {"m.bin", "pickled", "renamed.gguf"}) {
    auto source = ModelSource::open(models.folder / path);
    ASSERT_FALSE(source) << path;
    EXPECT_EQ(source.error().code, Exit::ForeignFile) << source.error().message;
  }
  // By magic, under a name that promises safetensors.
  take(writeDurably(models.folder / "hf/model.safetensors",
                    std::string("PK\x03\x04\x14\x00\x00\x00\x08\x08 zip", 14)));
  auto zip = ModelSource::open(models.folder / "hf");
  ASSERT_FALSE(zip);
  EXPECT_NE(zip.error().message.find("can run code and is not read"), std::string::npos)
      << zip.error().message;
}

TEST(ModelSource, readsSmolLm2) {
  std::string path = std::string(LORAC_SOURCE_DIR) + "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path))
    GTEST_SKIP() << path << " is absent: make demo fetches it";
  const auto source = take(ModelSource::open(path));
  EXPECT_EQ(source->architecture(), "llama");
  EXPECT_EQ(std::get<int64_t>(*source->hyper("llama.embedding_length")), 576);
  const auto rows = take(source->find(std::vector<WantedWeight>{
      {"q", "blk.0.attn_q.weight", {576, 576}, 9}, {"v", "blk.7.attn_v.weight", {192, 576}, 0}}));
  EXPECT_EQ(rows[0]->stored()->name, "Q4_1");
  const Safetensors expected = take(Safetensors::open(golden + "/gguf/gguf_blocks.safetensors"));
  const std::vector<float> q = take(expected.floats("smollm2.blk.0.attn_q.weight.rows0_1.dequant"));
  std::vector<float> row(576);
  rows[0]->readRow(0, row.data()); // GGUF's rows 0 and 1 are the first of the two halves of head 0
  EXPECT_EQ(row, std::vector<float>(q.begin(), q.begin() + 576));
  rows[0]->readRow(32, row.data());
  EXPECT_EQ(row, std::vector<float>(q.begin() + 576, q.end()));
  const std::vector<float> v = take(expected.floats("smollm2.blk.7.attn_v.weight.rows0_1.dequant"));
  rows[1]->readRow(1, row.data());
  EXPECT_EQ(row, std::vector<float>(v.begin() + 576, v.end()));
}

// The same model by llama.cpp's converter and in Hugging Face's layout.
TEST(ModelSource, ggufAndHuggingFaceAreTheSameModel) {
  const std::string folder = outside + "/data/stories260k";
  if (!std::filesystem::exists(folder))
    GTEST_SKIP() << folder << " is absent";
  const auto gguf = take(ModelSource::open(folder + "/stories260k-f32.gguf")),
             hf = take(ModelSource::open(folder));
  const std::vector<WantedWeight> weights = {
      {"model.layers.3.self_attn.q_proj.weight", "blk.3.attn_q.weight", {64, 64}, 8},
      {"model.layers.3.self_attn.k_proj.weight", "blk.3.attn_k.weight", {32, 64}, 4},
      {"model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight", {64, 172}, 0},
      {"model.embed_tokens.weight", "token_embd.weight", {512, 64}, 0},
      {"model.norm.weight", "output_norm.weight", {64}, 0}};
  const auto fromGguf = take(gguf->find(weights)), fromHf = take(hf->find(weights));
  for (size_t i = 0; i < weights.size(); ++i)
    EXPECT_EQ(readAll(*fromGguf[i]), readAll(*fromHf[i])) << weights[i].name;
}

} // namespace
} // namespace lorac::formats
