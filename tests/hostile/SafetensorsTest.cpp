// Safetensors files made to break a reader: rows 19-23 of what has broken others.
#include "runtime/formats/Safetensors.h"
#include "tests/hostile/Refuse.h"

namespace lorac::hostile {
namespace {

using namespace formats;

const auto read = [](const File &file) { return Safetensors::parse(file); };

Bytes file(std::string_view header, size_t data) { return Bytes().text(header).zeros(data); }

/// One tensor "t" of 4 floats, with these words for dtype, shape and offsets.
Bytes tensor(std::string_view dtype, std::string_view shape, std::string_view offsets,
             size_t data = 16) {
  return file("{\"t\":{\"dtype\":" + std::string(dtype) + ",\"shape\":" + std::string(shape) +
                  ",\"data_offsets\":" + std::string(offsets) + "}}",
              data);
}

std::vector<uint8_t> good() {
  return file(
             R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
             R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]},"c":{"dtype":"I64","shape":[],"data_offsets":[22,30]}})",
             30)
      .vector();
}

TEST(HostileSafetensors, headerLengths) { // 19
  for (const uint64_t length :
       {UINT64_MAX, uint64_t(-5), uint64_t(100'000'001), uint64_t(40 - 7), uint64_t(1) << 63})
    expectRefused("length", Bytes().u64(length).raw("{}").zeros(30),
                  "the header's length at byte 0 is", read);
  expectRefused("short", Bytes().raw("1234567"), "7 bytes are too short", read);
  expectRefused("empty", Bytes(), "is empty", read);
  expectRefused("no header", Bytes().u64(0), "does not begin with '{'", read);
}

TEST(HostileSafetensors, spans) { // 20
  EXPECT_TRUE(read(MappedFile::ofBytes("ok", tensor("\"F32\"", "[4]", "[0,16]").vector())));
  expectRefused("larger", tensor("\"F32\"", "[1048576]", "[0,16]"), "needs 4194304 bytes", read);
  expectRefused("smaller", tensor("\"F32\"", "[3]", "[0,16]"), "needs 12 bytes", read);
  expectRefused("overflow", tensor("\"F32\"", "[4294967296,4294967296,4]", "[0,16]"),
                "needs more than 2^64 bytes", read);
  expectRefused("overflow to 16", tensor("\"F32\"", "[4611686018427387905,4]", "[0,16]"),
                "more than 2^64", read);
  expectRefused("reversed", tensor("\"F32\"", "[4]", "[16,0]"), "spans bytes 16 to 0", read);
  expectRefused("beyond", tensor("\"F32\"", "[4]", "[16,32]"), "spans bytes 16 to 32", read);
  for (const char *offsets :
       {"[-16,0]", "[0,16.0]", "[0,1e1]", "[0,18446744073709551615]", "[0,99999999999999999999]"})
    expectRefused(offsets, tensor("\"F32\"", "[4]", offsets),
                  "'data_offsets' holds something that is no whole number", read);
  for (const char *offsets : {"[]", "[0]", "[0,16,16]"})
    expectRefused(offsets, tensor("\"F32\"", "[4]", offsets), "data_offsets of two numbers", read);
  expectRefused("no array", tensor("\"F32\"", "[4]", "16"), "'data_offsets' is no array", read);
  expectRefused("negative dim", tensor("\"F32\"", "[-4]", "[0,16]"), "'shape' holds something",
                read);
  expectRefused("nested dim", tensor("\"F32\"", "[[4]]", "[0,16]"), "'shape' holds something",
                read);
}

TEST(HostileSafetensors, unknownTypes) { // 21
  for (const char *dtype : {"\"X32\"", "\"\"", "\"f32\"", "\"F32\\u0000\""})
    expectRefused(dtype, tensor(dtype, "[99999999999]", "[5,1]"), "unknown dtype", read);
  expectRefused("null", tensor("null", "[4]", "[5,1]"), "the dtype is no string", read);
  expectRefused("none", file(R"({"t":{"shape":[4],"data_offsets":[0,16]}})", 16), "has no dtype",
                read);
  expectRefused("no shape", file(R"({"t":{"dtype":"F32","data_offsets":[0,16]}})", 16),
                "has no shape", read);
}

TEST(HostileSafetensors, holesOverlapsAndTrailingBytes) { // 22
  const auto two = [](int begin, int end, size_t data) {
    return file(
        R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[)" +
            std::to_string(end - begin) + "],\"data_offsets\":[" + std::to_string(begin) + "," +
            std::to_string(end) + "]}}",
        data);
  };
  EXPECT_TRUE(read(MappedFile::ofBytes("ok", two(8, 16, 16).vector())));
  expectRefused("hole", two(9, 16, 16), "a hole", read);
  expectRefused("overlap", two(4, 16, 16), "tensors overlap", read);
  expectRefused("the same bytes", two(0, 8, 8), "tensors overlap", read);
  expectRefused("trailing", two(8, 16, 17), "1 bytes follow the last tensor", read);
  expectRefused("a byte short", two(8, 16, 15), "spans bytes 8 to 16", read);
  expectRefused("first hole", tensor("\"F32\"", "[4]", "[4,20]", 20), "a hole", read);
  expectRefused("no tensors", file("{}", 5), "5 bytes follow", read);
}

TEST(HostileSafetensors, duplicateKeys) { // 23
  expectRefused(
      "tensor",
      file(
          R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
          1),
      "the key 't' stands twice", read);
  expectRefused("field",
                file(R"({"t":{"dtype":"X","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1),
                "unknown dtype 'X'", read);
  expectRefused("fields",
                file(R"({"t":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}})", 1),
                "'shape' stands twice", read);
  expectRefused("metadata", file(R"({"__metadata__":{"a":"1","a":"2"}})", 0), "'a' stands twice",
                read);
}

TEST(HostileSafetensors, notSuchJson) {
  for (const char *header :
       {"{", "{]", "{\"t\":", "{\"t\":{\"dtype\":\"F32\"", "{\"\xff\":1}", "{}{}", "{}x"})
    expectRefused(header, file(header, 0), "not JSON at byte", read);
  for (const char *header : {"[]", "1", "null", "\xef\xbb\xbf{}"})
    expectRefused(header, file(header, 0), "does not begin with '{'", read);
  expectRefused("number", file(R"({"t":1})", 0), "is described by no JSON object", read);
  expectRefused("unknown field", file(R"({"t":{"dtype":"U8","offset":1}})", 0),
                "unknown field 'offset'", read);
  expectRefused("metadata number", file(R"({"__metadata__":{"a":1}})", 0),
                "'__metadata__' has a value that is no string", read);
  expectRefused("metadata list", file(R"({"__metadata__":[1]})", 0), "'__metadata__'", read);
  expectRefused("deep", file("{\"t\":" + std::string(100000, '['), 0), "nested more than 64 deep",
                read);
  expectRefused("deep objects",
                file(
                    [] {
                      std::string text;
                      for (int i = 0; i < 50000; ++i)
                        text += "{\"a\":";
                      return text;
                    }(),
                    0),
                "nested more than 64 deep", read);
}

TEST(HostileSafetensors, pickles) { // 35
  expectRefused("pickle", Bytes().raw("\x80\x02}q\x01X\x0b").zeros(40),
                "can run code and is not read", read);
  expectRefused("zip", Bytes().raw({"PK\x03\x04\x14\x00\x00\x00\x08\x08", 10}).zeros(40),
                "can run code and is not read", read);
}

TEST(HostileSafetensors, cutAndChangedEverywhere) {
  const std::vector<uint8_t> bytes = good();
  cutEverywhere(bytes, bytes.size(), read);
  changeEverywhere(bytes, read);
}

TEST(HostileSafetensors, failingAllocations) { failEveryAllocation(good(), read); }

} // namespace
} // namespace lorac::hostile
