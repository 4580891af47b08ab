// bitsandbytes' own bytes: codes, absmax, double quantization; then the same through the packed
// layout.
#include "runtime/formats/Nf4.h"
#include "runtime/formats/Blocks.h"
#include "runtime/formats/Dynamic8.h"
#include "runtime/formats/PackedWeight.h"
#include "tests/unit/formats/Support.h"

#include <bit>
#include <cmath>
#include <map>

namespace lorac::formats {
namespace {

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
    EXPECT_EQ(codebooks[size_t(FourBit::Nf4)].values[i], nf4[i]) << i;
    EXPECT_EQ(codebooks[size_t(FourBit::Fp4)].values[i], fp4[i]) << i;
  }
  for (int i = 0; i < 256; ++i)
    EXPECT_EQ(dynamicMap(Dynamic8::Signed)[i], map[i]) << i;

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
        const float scale =
            dq ? dynamicMap(Dynamic8::Signed)[nestedCodes[b]] * nested[b / 256] + offset
               : absmax[b];
        EXPECT_EQ(codebooks[size_t(c.type)].values[codes[i]] * scale, expected[i])
            << name << " " << i;
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

// A trained model (with rows of 172: blocks straddle them) as bitsandbytes saved it, quantized from
// bfloat16.
TEST(Nf4, aTrainedModelAsBitsandbytesSavedIt) {
  const std::string base = outside + "/data/stories260k/model.safetensors";
  if (!std::filesystem::exists(base))
    GTEST_SKIP() << base << " is absent";
  const Safetensors model = take(Safetensors::open(base));
  for (const std::string variant : {"nf4", "nf4-dq", "fp4-dq"}) {
    SCOPED_TRACE(variant);
    const Safetensors saved =
        take(Safetensors::open(outside + "/data/bnb4bit/" + variant + "/model.safetensors"));
    const FourBit type = variant[0] == 'n' ? FourBit::Nf4 : FourBit::Fp4;
    size_t weights = 0;
    for (const TensorInfo &tensor : saved.tensors()) {
      if (tensor.dtype != DType::U8 || !tensor.name.ends_with("proj.weight"))
        continue;
      SCOPED_TRACE(tensor.name);
      ++weights;
      std::vector<float> w = take(model.floats(tensor.name));
      for (float &value : w)
        value = bf16ToF32(f32ToBf16(value));
      std::vector<uint8_t> codes(w.size()), packed;
      std::vector<float> absmax;
      for (size_t at = 0; at < w.size(); at += 64) {
        const int64_t count = std::min<int64_t>(64, int64_t(w.size() - at));
        absmax.push_back(quantizeBlock(type, &w[at], count, count == 64, &codes[at]));
      }
      for (size_t i = 0; i < codes.size(); i += 2)
        packed.push_back(uint8_t(codes[i] << 4 | codes[i + 1]));
      EXPECT_EQ(packed, byteValues(saved, tensor.name));
      if (variant == "nf4") {
        EXPECT_EQ(absmax, take(saved.floats(tensor.name + ".absmax")));
        continue;
      }
      std::string state(tensor.name + ".quant_state.bitsandbytes__" + variant.substr(0, 3));
      const std::vector<uint8_t> json = byteValues(saved, state);
      const std::string text(json.begin(), json.end()), key = "\"nested_offset\": ";
      const float offset = std::stof(text.substr(text.find(key) + key.size()));
      EXPECT_LE(
          std::abs(std::bit_cast<int32_t>(nestedOffset(absmax)) - std::bit_cast<int32_t>(offset)),
          1);
      std::vector<uint8_t> bytes(absmax.size());
      std::vector<float> nested((absmax.size() + 255) / 256);
      quantizeNested(absmax, offset, bytes.data(), nested.data());
      EXPECT_EQ(bytes, byteValues(saved, tensor.name + ".absmax"));
      EXPECT_EQ(nested, take(saved.floats(tensor.name + ".nested_absmax")));
    }
    EXPECT_EQ(weights, 35u);
  }
}

} // namespace
} // namespace lorac::formats
