// GGUF files made to break a reader: rows 1-13 and 18 of what has broken others. Vocabularies:
// TokenizerTest.
#include "runtime/formats/Gguf.h"
#include "runtime/formats/Adapter.h"
#include "runtime/formats/ModelSource.h"
#include "tests/hostile/Refuse.h"
#include "tests/unit/formats/BlockTypes.h"

#include <cmath>

namespace lorac::hostile {
namespace {

using namespace formats;

const auto read = [](const File &file) { return Gguf::parse(file); };

Bytes header(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
  return Bytes().raw("GGUF").u32(version).u64(tensors).u64(keys);
}
/// One key "k" with what follows its type.
Bytes oneKey(uint32_t type) { return header(0, 1).text("k").u32(type); }

struct Tensor {
  std::string name = "t";
  std::vector<uint64_t> dims = {4};
  uint32_t type = 0;
  uint64_t offset = 0;
};
/// Tensors over `data` bytes.
Bytes withTensors(const std::vector<Tensor> &tensors, size_t data) {
  Bytes file = header(tensors.size(), 0);
  for (const Tensor &t : tensors) {
    file.text(t.name).u32(uint32_t(t.dims.size()));
    for (const uint64_t dim : t.dims)
      file.u64(dim);
    file.u32(t.type).u64(t.offset);
  }
  return file.padTo(32).zeros(data);
}

/// Keys of every type and three tensors.
std::vector<uint8_t> good() {
  GgufWriter writer;
  writer.text("general.architecture", "llama");
  writer.u32("general.alignment", 32);
  writer.f32("f", 1);
  writer.truth("b", true);
  writer.u64("u", 7);
  writer.texts("tokens", std::vector<std::string>{"a", "bc", ""});
  writer.floats("scores", std::vector<float>{1, 2});
  writer.integers("types", std::vector<int32_t>{1, 2});
  const std::vector<float> values(64, 0.5f);
  writer.tensor("x", GgmlType::F32, {2, 32}, std::span<const float>(values));
  writer.tensor("y", GgmlType::Q4_0, {2, 32}, std::span<const float>(values));
  writer.tensor("z", GgmlType::F16, {64}, std::span<const float>(values));
  return writer.bytes();
}

TEST(HostileGguf, countsBeyondTheFile) { // 1
  for (const uint64_t count : {uint64_t(1) << 63, UINT64_MAX, uint64_t(1) << 61,
                               SIZE_MAX / sizeof(GgufTensor), uint64_t(3)}) {
    expectRefused("tensors", header(count, 0).zeros(60), "the number of tensors at byte 8 is",
                  read);
    expectRefused("keys", header(0, count).zeros(30), "the number of keys at byte 16 is", read);
  }
}

TEST(HostileGguf, textLengths) { // 2
  for (const uint64_t length : {uint64_t(41), uint64_t(1) << 31, uint64_t(1) << 63, UINT64_MAX}) {
    expectRefused("key", header(0, 1).u64(length).zeros(40), "a key at byte 24 claims", read);
    expectRefused("value", oneKey(8).u64(length).zeros(40), "key 'k': a text at byte 37 claims",
                  read);
    expectRefused("name", header(1, 0).u64(length).zeros(40), "a tensor's name at byte 24 claims",
                  read);
  }
  expectRefused("empty key", header(0, 1).u64(0).u32(4).u32(1).zeros(10),
                "the key at byte 24 is empty", read);
}

TEST(HostileGguf, arrays) { // 3, 4
  for (uint32_t type = 0; type <= 12; ++type)
    if (type != 9)
      for (const uint64_t count : {uint64_t(1) << 62, UINT64_MAX, uint64_t(41)})
        expectRefused("array", oneKey(9).u32(type).u64(count).zeros(40), "key 'k': ", read);
  for (const uint32_t type : {13u, 255u, uint32_t(-1)}) {
    expectRefused("element type", oneKey(9).u32(type).u64(1).zeros(40), "an array of unknown type",
                  read);
    expectRefused("type", oneKey(type).zeros(40), "unknown type", read);
  }
  Bytes nested = oneKey(9);
  for (int i = 0; i < 100000; ++i)
    nested.u32(9).u64(1);
  expectRefused("nested", nested, "an array of arrays", read);
}

TEST(HostileGguf, shapes) { // 5
  const uint64_t half = uint64_t(1) << 63, big = uint64_t(1) << 32;
  expectRefused("negative product", withTensors({{"t", {half - 1, 2}}}, 64),
                "more than 2^63-1 values", read);
  expectRefused("wraps to 0", withTensors({{"t", {big, big}}}, 64), "more than 2^63-1 values",
                read);
  expectRefused("bytes wrap", withTensors({{"t", {uint64_t(1) << 62}}}, 64), "more than 2^64 bytes",
                read);
  expectRefused("exabyte", withTensors({{"t", {uint64_t(1) << 61}}}, 64), "tensor 't' needs", read);
  expectRefused("negative", withTensors({{"t", {half}}}, 64), "dimension 0 is 9223372036854775808",
                read);
  expectRefused("zero", withTensors({{"t", {4, 0}}}, 64), "dimension 1 is 0", read);
  expectRefused("block", withTensors({{"t", {33}, 2}}, 64), "no multiple of Q4_0's block of 32",
                read);
  expectRefused("no dims", withTensors({{"t", {}}}, 64), "0 dimensions", read);
  expectRefused("5 dims", withTensors({{"t", {1, 1, 1, 1, 1}}}, 64), "5 dimensions", read);
  expectRefused("type", withTensors({{"t", {4}, 77}}, 64), "unknown ggml type 77", read);
  expectRefused("removed type", withTensors({{"t", {4}, 4}}, 64), "unknown ggml type 4", read);
}

TEST(HostileGguf, paddedSizes) { // 6
  const uint64_t quarter = 0x7FFFFFFFFFFFFFC0 / 4;
  expectRefused("sum", withTensors({{"a", {quarter}}, {"b", {quarter}, 0, 0x7FFFFFFFFFFFFFC0}}, 64),
                "needs", read);
  expectRefused("padding", withTensors({{"a", {SIZE_MAX - 3}, 24}}, 64),
                "dimension 0 is 18446744073709551612", read);
  expectRefused("padding of i8", withTensors({{"a", {INT64_MAX}, 24}}, 64), "needs", read);
}

TEST(HostileGguf, placesOfTensors) { // 7
  for (const uint64_t offset : {uint64_t(64), UINT64_MAX, uint64_t(32), uint64_t(8)})
    expectRefused("offset", withTensors({{"t", {4}, 0, offset}}, 47), "tensor 't'", read);
  expectRefused("unaligned", withTensors({{"t", {4}, 0, 8}}, 64), "a hole", read);
  expectRefused("overlap", withTensors({{"a", {4}}, {"b", {4}, 0, 0}}, 64), "tensors overlap",
                read);
  expectRefused("overlap inside", withTensors({{"a", {16}}, {"b", {4}, 0, 32}}, 128),
                "tensors overlap", read);
  expectRefused("a byte short", withTensors({{"t", {4}}}, 15),
                "needs 16 bytes at offset 0 of the data, which has 15", read);
  EXPECT_TRUE(read(MappedFile::ofBytes("ok", withTensors({{"t", {4}}}, 16).vector())));
}

TEST(HostileGguf, alignment) { // 8
  const auto aligned = [](uint32_t type, auto value) {
    return header(1, 1)
        .text("general.alignment")
        .u32(type)
        .number(value)
        .text("t")
        .u32(1)
        .u64(4)
        .u32(0)
        .u64(0)
        .padTo(64)
        .zeros(64);
  };
  for (const uint32_t value : {0u, 3u, 13u, 1u << 31})
    expectRefused("value", aligned(4, value), "'general.alignment' is", read);
  expectRefused("i32", aligned(5, int32_t(32)), "'general.alignment' is i32, not u32", read);
  expectRefused("string", aligned(8, uint64_t(0)), "'general.alignment' is string", read);
  EXPECT_TRUE(read(MappedFile::ofBytes("ok", aligned(4, 1u).vector())));
  EXPECT_TRUE(read(MappedFile::ofBytes("ok", aligned(4, 64u).vector())));
}

/// What a model file answers for a key that should be one number.
TEST(HostileGguf, hyperParameters) { // 9
  GgufWriter writer;
  writer.text("general.architecture", "llama");
  writer.u64("u64", UINT64_MAX);
  writer.i32("negative", -1);
  writer.texts("texts", std::vector<std::string>{"a", "b"});
  writer.integers("integers", std::vector<int32_t>{4, 4});
  writer.texts("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b", "c"});
  const std::string path = testing::TempDir() + "hyper.gguf";
  ASSERT_TRUE(writer.write(path));
  const auto source = ModelSource::open(path);
  ASSERT_TRUE(source) << source.error().message;
  EXPECT_EQ((*source)->hyper("u64"), HyperValue(0x1p63)) << "too large for every range";
  EXPECT_EQ((*source)->hyper("negative"), HyperValue(int64_t(-1)));
  EXPECT_EQ((*source)->hyper("texts"), HyperValue(std::string("an array of 2 string")))
      << "two of something are no number 2";
  EXPECT_EQ((*source)->hyper("integers"), HyperValue(std::string("an array of 2 i32")));
  EXPECT_EQ((*source)->hyper("tokenizer.ggml.tokens"), HyperValue(int64_t(3)));
  EXPECT_FALSE((*source)->hyper("absent"));
}

TEST(HostileGguf, cutAndChangedEverywhere) { // 10
  const std::vector<uint8_t> file = good();
  cutEverywhere(file, file.size() - 32, read); // the last padding may be absent
  changeEverywhere(file, [](const File &changed) {
    Result<Gguf> gguf = Gguf::parse(changed);
    if (gguf)
      for (const GgufTensor &tensor : gguf->tensors())
        (void)gguf->tensorFloats(tensor.name);
    return gguf;
  });
}

TEST(HostileGguf, failingAllocations) { // 11
  failEveryAllocation(good(), read);
}

TEST(HostileGguf, versions) { // 12
  for (const uint32_t version : {0u, 1u, 4u, uint32_t(-1)})
    expectRefused("version", header(0, 0, version).zeros(40), "GGUF version", read);
  expectRefused("big-endian", header(0, 0, 0x03000000).zeros(40), "big-endian", read);
  expectRefused("v1, empty text", Bytes().raw("GGUF").u32(1).u32(0).u32(1).u32(0).zeros(4),
                "GGUF version 1", read);
  expectRefused("magic", Bytes().raw("GGML").zeros(40), "it begins with 'GGML'", read);
  expectRefused("nothing", Bytes(), "is empty", read);
}

TEST(HostileGguf, elementTypes) { // 13
  const auto with = [](uint32_t element, size_t size) {
    return oneKey(9).u32(element).u64(2).zeros(2 * size).vector();
  };
  const Gguf bytes = *Gguf::parse(MappedFile::ofBytes("u8", with(0, 1)));
  EXPECT_FALSE(bytes.floats("k"));
  EXPECT_FALSE(bytes.integers("k"));
  EXPECT_FALSE(bytes.texts("k"));
  EXPECT_NE(bytes.floats("k").error().message.find(
                "key 'k' at byte 49 is an array of 2 u8; expected an array of f32"),
            std::string::npos)
      << bytes.floats("k").error().message;
  EXPECT_FALSE(Gguf::parse(MappedFile::ofBytes("f64", with(12, 8)))->floats("k"));
  EXPECT_FALSE(Gguf::parse(MappedFile::ofBytes("i64", with(11, 8)))->integers("k"));
  expectRefused("truth of 2", oneKey(7).raw("\2").zeros(40), "should be a truth", read);
}

TEST(HostileGguf, duplicates) { // 18
  expectRefused("keys", header(0, 2).text("k").u32(4).u32(1).text("k").u32(4).u32(2),
                "the key 'k' stands twice", read);
  expectRefused("tensors", withTensors({{"t", {4}}, {"t", {4}, 0, 32}}, 64),
                "the tensor 't' stands twice", read);
}

TEST(HostileGguf, names) { // 38, as far as messages go
  expectRefused("control characters", header(0, 1).text("a\n\x1b[31m'").u32(99).zeros(20),
                "'a\\x0a\\x1b[31m\\x27'", read);
  expectRefused("long", header(0, 1).text(std::string(60000, 'x')).u32(99).zeros(20), "xxx…", read);
}

class HostileGgufAdapter : public InOwnFolder {
protected:
  /// An adapter of one module with one thing changed.
  static Bytes adapter(const std::function<void(GgufWriter &)> &keys,
                       const std::vector<Tensor> &tensors = {
                           {"blk.0.attn_q.weight.lora_a", {3, 2}},
                           {"blk.0.attn_q.weight.lora_b", {2, 4}}}) {
    GgufWriter writer;
    keys(writer);
    const std::vector<float> values(12, 0.5f);
    for (const Tensor &tensor : tensors)
      writer.tensor(tensor.name, GgmlType::F32, {int64_t(tensor.dims[1]), int64_t(tensor.dims[0])},
                    std::span<const float>(values).first(tensor.dims[0] * tensor.dims[1]));
    const std::vector<uint8_t> bytes = writer.bytes();
    return Bytes().raw({reinterpret_cast<const char *>(bytes.data()), bytes.size()});
  }
  static void good(GgufWriter &writer) {
    kinds(writer);
    writer.f32("adapter.lora.alpha", 4);
  }
  static void kinds(GgufWriter &writer) {
    writer.text("general.type", "adapter");
    writer.text("adapter.type", "lora");
  }
};

const auto readGguf = onDisk([](const std::string &path) {
  const GgufModule q{"q", "blk.0.attn_q.weight", 2};
  return readGgufAdapter(path, std::span(&q, 1));
});

TEST_F(HostileGgufAdapter, keys) { // 9
  EXPECT_TRUE(readGguf(MappedFile::ofBytes("ok", adapter(good).vector())));
  const auto refused = [&](const std::string &words,
                           const std::function<void(GgufWriter &)> &change) {
    expectRefused(words, adapter(change), words, readGguf);
  };
  refused("has no key 'general.type'", [](GgufWriter &) {});
  refused("holds 'model' of type 'lora', not a LoRA adapter", [](GgufWriter &writer) {
    writer.text("general.type", "model");
    writer.text("adapter.type", "lora");
  });
  refused("holds 'adapter' of type 'x\\x0a', not", [](GgufWriter &writer) {
    writer.text("general.type", "adapter");
    writer.text("adapter.type", "x\n");
  });
  refused("has no key 'adapter.lora.alpha'", kinds);
  refused("key 'adapter.lora.alpha' at byte", [](GgufWriter &writer) {
    kinds(writer);
    writer.text("adapter.lora.alpha", "4");
  });
  refused("key 'adapter.lora.alpha' at byte", [](GgufWriter &writer) {
    kinds(writer);
    writer.floats("adapter.lora.alpha", std::vector<float>{4});
  });
  for (const float alpha : {NAN, INFINITY})
    refused("key 'adapter.lora.alpha' is no finite number", [&](GgufWriter &writer) {
      kinds(writer);
      writer.f32("adapter.lora.alpha", alpha);
    });
}

TEST_F(HostileGgufAdapter, tensors) { // 7
  const Tensor a{"blk.0.attn_q.weight.lora_a", {3, 2}}, b{"blk.0.attn_q.weight.lora_b", {2, 4}};
  const auto refused = [&](const std::string &words, const std::vector<Tensor> &tensors) {
    expectRefused(words, adapter(good, tensors), words, readGguf);
  };
  refused("holds no adapter tensors", {});
  refused("'blk.0.attn_q.weight' has no lora_b", {a});
  refused("'blk.0.attn_q.weight' has no lora_a", {b});
  refused("has lora_a [2, 3] and lora_b [4, 3]", {a, {b.name, {3, 4}}});
  refused("has lora_a [2, 3] and lora_b [3, 2]", {a, {b.name, {2, 3}}}); // 3 rows in 2 heads
  refused("tensor 'other.lora_a' belongs to no module", {a, b, {"other.lora_a", {3, 2}}});
  const std::vector<uint8_t> whole = adapter(good).vector();
  cutEverywhere(whole, whole.size() - 32, readGguf);
  changeEverywhere(whole, readGguf);
}

/// Every type that is read, with rows that are no whole blocks, and with a byte too few.
TEST(HostileGguf, blocks) { // 3, 5
  forEachBlockType([](GgmlType ofTable, const GgmlTypeInfo &info) {
    const auto type = uint32_t(ofTable);
    const uint64_t block = info.blockValues;
    const size_t bytes = 3 * info.blockBytes;
    if (block > 1) {
      for (const uint64_t row : {block - 1, block + 1, block / 2, 3 * block - 16})
        expectRefused("part of a block", withTensors({{"t", {row, 3}, type}}, bytes),
                      "a row of " + std::to_string(row) + " values is no multiple of " +
                          std::string(info.name) + "'s block of " + std::to_string(block),
                      read);
    }
    expectRefused("short", withTensors({{"t", {block, 3}, type}}, bytes - 1), "was cut short",
                  read);
    Result<Gguf> whole = Gguf::parse(
        MappedFile::ofBytes("whole", withTensors({{"t", {block, 3}, type}}, bytes).vector()));
    ASSERT_TRUE(whole) << whole.error().message;
    EXPECT_EQ(whole->tensorFloats("t")->size(), 3 * block);
  });
}

TEST(HostileGguf, foreignTypesAreNamed) {
  Result<Gguf> file =
      Gguf::parse(MappedFile::ofBytes("q2k.gguf", withTensors({{"t", {256}, 10}}, 84).vector()));
  ASSERT_TRUE(file);
  Result<std::vector<float>> values = file->tensorFloats("t");
  ASSERT_FALSE(values);
  EXPECT_NE(values.error().message.find("tensor 't' is Q2_K, which this version does not read; "
                                        "use a file of F32, F16, Q4_0, "),
            std::string::npos)
      << values.error().message;
  // A tokenizer can be had of a file whose tensors cannot.
  EXPECT_TRUE(Gguf::parse(
      MappedFile::ofBytes("future", withTensors({{"t", {256}, 99}}, 0).vector()), GgufParts::Keys));
}

} // namespace
} // namespace lorac::hostile
