// bitsandbytes' own bytes: codes, absmax, double quantization; then the same through the packed
// layout.
#include "runtime/formats/Nf4.h"
#include "runtime/formats/PackedWeight.h"
#include "tests/unit/formats/Support.h"

#include <bit>
#include <cmath>
#include <map>

namespace lorac::formats {
namespace {

std::vector<uint8_t> byteValues(const Safetensors &file, const std::string &name) {
  const TensorInfo *tensor = file.find(name);
  if (!tensor)
    throw std::runtime_error("no tensor " + name);
  const auto bytes = file.bytes(*tensor);
  return {bytes.begin(), bytes.end()};
}

struct Case {
  std::string matrix;
  FourBit type;
  int64_t block;
  std::string prefix; ///< normal_64x64.nf4.bs64.
};

std::vector<Case> casesOf(const Safetensors &file) {
  std::vector<Case> cases;
  for (const TensorInfo &tensor : file.tensors())
    if (tensor.name.ends_with(".sq.packed")) {
      const std::string prefix = tensor.name.substr(0, tensor.name.size() - strlen("sq.packed"));
      const size_t dot = prefix.find('.');
      const FourBit type = prefix.substr(dot + 1, 3) == "nf4" ? FourBit::Nf4 : FourBit::Fp4;
      cases.push_back(
          {prefix.substr(0, dot), type, std::stoll(prefix.substr(prefix.find(".bs") + 3)), prefix});
    }
  return cases;
}

/// All cases of a golden file; the number of them.
size_t checkFile(const std::string &path) {
  const Safetensors file = take(Safetensors::open(path));
  const std::vector<float> nf4 = take(file.floats("code.nf4")), fp4 = take(file.floats("code.fp4"));
  const std::vector<float> map = take(file.floats("code.dynamic_nested"));
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(fourBitCodes(FourBit::Nf4)[i], nf4[i]) << i;
    EXPECT_EQ(fourBitCodes(FourBit::Fp4)[i], fp4[i]) << i;
  }
  for (int i = 0; i < 256; ++i)
    EXPECT_EQ(dynamicMap()[i], map[i]) << i;

  const std::vector<Case> cases = casesOf(file);
  for (const Case &c : cases) {
    SCOPED_TRACE(c.prefix);
    const std::vector<float> w = take(file.floats("W." + c.matrix));
    const auto count = int64_t(w.size());
    std::vector<uint8_t> codes(w.size() + 1);
    std::vector<float> absmax;
    for (int64_t at = 0; at < count; at += c.block) {
      const int64_t size = std::min(c.block, count - at);
      absmax.push_back(
          quantizeBlock(c.type, w.data() + at, size, size == c.block, codes.data() + at));
    }
    if (count % 2) // bitsandbytes pads with one zero
      codes[w.size()] = c.type == FourBit::Nf4 ? 7 : codes[w.size()];
    const std::vector<uint8_t> packed = byteValues(file, c.prefix + "sq.packed");
    EXPECT_EQ(packed.size(), (w.size() + 1) / 2);
    for (int64_t i = 0; i < count; ++i)
      if (codes[i] != (i % 2 ? packed[i / 2] & 15 : packed[i / 2] >> 4)) {
        ADD_FAILURE() << "code " << i << " of " << w[i] << " is " << int(codes[i]) << ", expected "
                      << (i % 2 ? packed[i / 2] & 15 : packed[i / 2] >> 4);
        break;
      }
    EXPECT_EQ(absmax, take(file.floats(c.prefix + "sq.absmax")));

    const float offset = take(file.floats(c.prefix + "dq.offset"))[0];
    EXPECT_LE(
        std::abs(std::bit_cast<int32_t>(nestedOffset(absmax)) - std::bit_cast<int32_t>(offset)), 1);
    std::vector<uint8_t> nestedCodes(absmax.size());
    std::vector<float> nested((absmax.size() + 255) / 256);
    quantizeNested(absmax, offset, nestedCodes.data(), nested.data());
    EXPECT_EQ(nestedCodes, byteValues(file, c.prefix + "dq.absmax_u8"));
    EXPECT_EQ(nested, take(file.floats(c.prefix + "dq.nested_absmax")));

    for (const bool dq : {false, true}) {
      const std::string name = c.prefix + (dq ? "dq" : "sq") + ".dequant";
      if (!file.find(name))
        continue;
      const std::vector<float> expected = take(file.floats(name));
      for (int64_t i = 0; i < count; ++i) {
        const int64_t b = i / c.block;
        const float scale = dq ? decodeNested(nestedCodes[b], nested[b / 256], offset) : absmax[b];
        EXPECT_EQ(fourBitCodes(c.type)[codes[i]] * scale, expected[i]) << name << " " << i;
      }
    }
  }
  return cases.size();
}

TEST(Nf4, agreesWithBitsandbytes) {
  EXPECT_GE(checkFile(golden + "/nf4/nf4_fp4.safetensors"), 30u);
}

TEST(Nf4, agreesWithBitsandbytesOnAllCases) {
  const std::string path = outside + "/golden/nf4/nf4_fp4.safetensors";
  if (!std::filesystem::exists(path))
    GTEST_SKIP() << path << " is absent";
  EXPECT_GE(checkFile(path), 50u);
}

} // namespace
} // namespace lorac::formats
