// bitsandbytes' 8-bit numbers: its own codes and absmax; the tables that kernels search.
#include "runtime/formats/Dynamic8.h"
#include "tests/unit/formats/Support.h"

#include <cmath>
#include <limits>

namespace lorac::formats {
namespace {

constexpr Dynamic8 kinds[] = {Dynamic8::Signed, Dynamic8::Unsigned};
std::string nameOf(Dynamic8 kind) { return kind == Dynamic8::Signed ? "signed" : "unsigned"; }

Safetensors openGolden() {
  return take(Safetensors::open(golden + "/optim8bit/optim8bit.safetensors"));
}

TEST(Dynamic8, mapsAreBitsandbytesOwn) {
  const Safetensors file = openGolden();
  for (const Dynamic8 kind : kinds) {
    const std::vector<float> map = take(file.floats("code.dynamic_" + nameOf(kind)));
    EXPECT_EQ(std::vector<float>(dynamicMap(kind), dynamicMap(kind) + 256), map) << nameOf(kind);
  }
}

TEST(Dynamic8, codesAndAbsmaxAreBitsandbytesOwn) {
  const Safetensors file = openGolden();
  for (const std::string input : {"a", "b", "c"})
    for (const Dynamic8 kind : kinds) {
      const std::string name = input + "." + nameOf(kind);
      std::vector<float> x = take(file.floats("x." + input)), absmax;
      if (kind == Dynamic8::Unsigned)
        for (float &value : x)
          value = std::fabs(value);
      std::vector<uint8_t> codes(x.size());
      for (size_t at = 0; at < x.size(); at += dynamicBlock)
        absmax.push_back(quantizeDynamic(
            kind, std::span(x).subspan(at, std::min<size_t>(dynamicBlock, x.size() - at)),
            &codes[at]));
      EXPECT_EQ(codes, byteValues(file, name + ".q")) << name;
      EXPECT_EQ(absmax, take(file.floats(name + ".absmax"))) << name;
    }
}

// A search in the table's second half finds the code of each point of the grid.
TEST(Dynamic8, tableHoldsTheMapAndTheEndsOfItsCodes) {
  for (const Dynamic8 kind : kinds) {
    SCOPED_TRACE(nameOf(kind));
    const DynamicTable table = dynamicTable(kind);
    EXPECT_TRUE(std::equal(table.begin(), table.begin() + 256, dynamicMap(kind)));
    EXPECT_TRUE(std::is_sorted(table.begin() + 256, table.end()));
    EXPECT_EQ(table.back(), std::numeric_limits<float>::infinity());
    for (int point = 0; point < 65536; ++point) {
      // 1 stands beside it, so absmax is 1; the value lies in the middle of the point's interval.
      const float value[] = {float(double(point) / 65535 * 2 - 1), 1.0f};
      if (kind == Dynamic8::Unsigned && value[0] < 0)
        continue;
      uint8_t codes[2];
      ASSERT_EQ(quantizeDynamic(kind, value, codes), 1.0f);
      const auto found =
          std::upper_bound(table.begin() + 256, table.end(), float(point)) - table.begin() - 256;
      ASSERT_EQ(found, codes[0]) << point;
    }
  }
}

TEST(Dynamic8, blocksWithoutAFiniteInverseAreZero) {
  for (const float tiny : {0.0f, -0.0f, 1e-40f, -1e-42f}) {
    const std::vector<float> values = {0.0f, tiny, 0.0f};
    std::vector<uint8_t> codes(3, 9);
    EXPECT_EQ(quantizeDynamic(Dynamic8::Signed, values, codes.data()), 0.0f) << tiny;
    EXPECT_EQ(codes, std::vector<uint8_t>(3, 0)) << tiny;
  }
  // Smaller than the smallest normal number, and its inverse is finite.
  const std::vector<float> values = {4e-39f, -4e-39f, 0.0f};
  std::vector<uint8_t> codes(3, 9);
  EXPECT_EQ(quantizeDynamic(Dynamic8::Signed, values, codes.data()), 4e-39f);
  EXPECT_EQ(codes, (std::vector<uint8_t>{255, 0, 131})); // 0 is no point of the grid
}

} // namespace
} // namespace lorac::formats
