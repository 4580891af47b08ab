#include "tests/numerics/elementwise/EachStored.h"

#include "runtime/formats/Dynamic8.h"
#include "runtime/formats/Safetensors.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>
#include <random>

namespace lorac::testing {
namespace {

constexpr int32_t kBlock = 256, kSpan = 4096;

bool isCode(const std::string &storage) { return storage.starts_with("dynamic8"); }

formats::Dynamic8 kindOf(const std::string &storage) {
  return storage == "dynamic8_signed" ? formats::Dynamic8::Signed : formats::Dynamic8::Unsigned;
}

template <typename T>
Bytes bytesOf(const std::vector<T> &values) {
  Bytes bytes(values.size() * sizeof(T));
  if (!bytes.empty())
    std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

Floats floatsOf(const Bytes &bytes) {
  Floats values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

/// The nearest to a point of bitsandbytes' grid, the lower of two: all are looked at.
uint8_t codeOf(formats::Dynamic8 kind, int point) {
  static std::vector<int> known[2] = {std::vector<int>(65536, -1), std::vector<int>(65536, -1)};
  int &code = known[kind == formats::Dynamic8::Signed][size_t(point)];
  if (code < 0) {
    const float *map = formats::dynamicMap(kind), value = float(point) / 65535.0f * 2.0f - 1.0f;
    code = 0;
    for (int i = 1; i < 256; ++i)
      if (std::fabs(map[i] - value) < std::fabs(map[code] - value))
        code = i;
  }
  return uint8_t(code);
}

float quantized(formats::Dynamic8 kind, const float *values, int count, uint8_t *codes) {
  float absmax = 0;
  for (int i = 0; i < count; ++i)
    absmax = std::max(absmax, std::fabs(values[i]));
  const float inverse = 1.0f / absmax;
  for (int i = 0; i < count; ++i) {
    if (std::isinf(inverse)) {
      codes[i] = 0;
      continue;
    }
    const float x = std::clamp(values[i] * inverse, -1.0f, 1.0f);
    const float moved = x + 1.0f, half = moved * 0.5f, wide = half * 65535.0f, point = wide + 0.5f;
    codes[i] = codeOf(kind, int(point));
  }
  return std::isinf(inverse) ? 0 : absmax;
}

StoredCase reader() {
  EachCase of{
      "reader", R"(
^bb0(%p: f32, %m: f32):
  %sum = arith.addf %p, %m : f32
  lora.yield %sum : f32)",
      2,        {},
      0,        0,
      {0},      [](const float *x, const float *, const float *) {
                return Floats{x[0] + x[1]}; }};
  return {of, {"floats", "dynamic8_signed"}};
}

} // namespace

std::string StoredCase::elements() const {
  std::string text = "i32";
  for (int64_t i = of.uniform + of.byGroup > 0 ? -1 : 0; i < int64_t(of.ones.size()); ++i)
    text += " f32";
  for (const std::string &stored : storage)
    text += isCode(stored) ? " i8 f32" : " f32";
  return text + (std::any_of(storage.begin(), storage.end(), isCode) ? " f32" : "");
}

std::string StoredCase::params() const {
  std::string text = of.params();
  text.erase(text.find("elements = "));
  text += "elements = \"" + elements() + "\", storage = [";
  for (size_t i = 0; i < storage.size(); ++i)
    text += (i ? ", \"" : "\"") + storage[i] + "\"";
  return text + "]";
}

std::vector<StoredCase> storedAdamw() {
  return {{adamw(), {"floats", "floats", "dynamic8_signed", "dynamic8_unsigned"}},
          {adamw(), {"floats", "floats", "compact", "compact"}},
          {adamw(), {"floats", "floats", "dynamic8_signed", "floats"}}};
}

StoredCase storedLion() { return {lion(), {"floats", "floats", "dynamic8_signed"}}; }

StoredCase storedReader() { return reader(); }

std::vector<Bytes> StoredData::buffers() const {
  std::vector<Bytes> all{bytesOf(spans)};
  if (!scalars.empty())
    all.push_back(bytesOf(scalars));
  for (const Floats &values : ones)
    all.push_back(bytesOf(values));
  bool hasCodes = false;
  for (const StoredRegion &region : regions) {
    if (!region.codes.empty())
      all.push_back(region.codes), hasCodes = true;
    all.push_back(bytesOf(region.floats));
  }
  if (hasCodes) {
    Floats table;
    for (formats::Dynamic8 kind : {formats::Dynamic8::Signed, formats::Dynamic8::Unsigned})
      for (float value : formats::dynamicTable(kind))
        table.push_back(value);
    all.push_back(bytesOf(table));
  }
  return all;
}

StoredData StoredData::after(const std::vector<Bytes> &buffers) const {
  StoredData data = *this;
  size_t next = 1 + (scalars.empty() ? 0 : 1) + ones.size();
  for (StoredRegion &region : data.regions) {
    if (buffers.empty())
      return {}; // the launch failed, and its test with it
    if (!region.codes.empty())
      region.codes = buffers[next++];
    region.floats = floatsOf(buffers[next++]);
  }
  return data;
}

StoredData randomStored(const StoredCase &of, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  StoredData data;
  const EachData plain = randomData(of.of, seed); // for the scalars of its groups
  data.scalars = plain.scalars, data.ones = plain.ones;
  const bool isCompact = std::count(of.storage.begin(), of.storage.end(), "compact") > 0;
  int32_t end = 0, blocks = 0, own = 0;
  for (int32_t count : {1, 255, 256, 257, 4095, 4097, 8192, 5000}) {
    end += int32_t(random() % 7);
    const auto group = int32_t(random() % 3);
    for (int32_t at = 0; at < count; at += kSpan) {
      const int32_t length = std::min(kSpan, count - at);
      data.spans.push_back({end + at, length, group, isCompact ? own : blocks});
      blocks += (length + kBlock - 1) / kBlock, own += length;
    }
    end += count;
  }
  std::shuffle(data.spans.begin(), data.spans.end(), random);
  for (size_t region = 0; region < of.storage.size(); ++region) {
    StoredRegion &made = data.regions.emplace_back();
    const std::string &storage = of.storage[region];
    if (isCode(storage)) {
      for (int32_t i = 0; i < end; ++i)
        made.codes.push_back(uint8_t(random()));
      for (int32_t i = 0; i < blocks; ++i)
        made.floats.push_back(random() % 4 ? std::fabs(normal(random)) : 0);
      continue;
    }
    for (int32_t i = 0, n = storage == "compact" ? own : end; i < n; ++i) {
      float value = normal(random) * std::ldexp(1.f, int(random() % 21) - 10);
      if (region == 1) // gradients, by stretches of 1024
        value *= i / 1024 % 4 == 1 ? 0.f : i / 1024 % 4 == 2 ? 1e-20f : 1.f;
      made.floats.push_back(region == 3 ? std::fabs(value) : value);
    }
  }
  return data;
}

std::vector<StoredRegion> expectedOf(const StoredCase &of, const StoredData &data) {
  std::vector<StoredRegion> after = data.regions;
  Floats uniform, ofGroups = data.scalars;
  for (const Floats &buffer : data.ones)
    uniform.push_back(buffer.back());
  uniform.insert(uniform.end(), data.scalars.begin(), data.scalars.begin() + of.of.uniform);
  ofGroups.erase(ofGroups.begin(), ofGroups.begin() + of.of.uniform);
  for (const Span &span : data.spans)
    for (int32_t begin = 0; begin < span.count; begin += kBlock) {
      const int32_t length = std::min(kBlock, span.count - begin), at = span.offset + begin,
                    block = span.own + begin / kBlock;
      std::vector<Floats> values;
      for (size_t region = 0; region < of.storage.size(); ++region) {
        const std::string &storage = of.storage[region];
        const StoredRegion &from = data.regions[region];
        Floats &decoded = values.emplace_back();
        for (int32_t i = 0; i < length; ++i)
          decoded.push_back(storage == "floats" ? from.floats[size_t(at + i)]
                            : storage == "compact"
                                ? from.floats[size_t(span.own + begin + i)]
                                : formats::dynamicMap(kindOf(storage))[from.codes[size_t(at + i)]] *
                                      from.floats[size_t(block)]);
      }
      std::vector<Floats> results = values;
      for (size_t i = 0; i < size_t(length); ++i) {
        Floats x;
        for (const Floats &region : values)
          x.push_back(region[i]);
        const Floats yielded =
            of.of.one(x.data(), uniform.data(), ofGroups.data() + span.group * of.of.byGroup);
        for (size_t k = 0; k < yielded.size(); ++k)
          results[size_t(of.of.writes[k])][i] = yielded[k];
      }
      for (const int64_t region : of.of.writes) {
        const std::string &storage = of.storage[size_t(region)];
        const Floats &from = results[size_t(region)];
        StoredRegion &to = after[size_t(region)];
        if (isCode(storage))
          to.floats[size_t(block)] =
              quantized(kindOf(storage), from.data(), length, &to.codes[size_t(at)]);
        else
          std::copy(from.begin(), from.end(),
                    to.floats.begin() + (storage == "floats" ? at : span.own + begin));
      }
    }
  return after;
}

void expectSame(const std::vector<StoredRegion> &got, const std::vector<StoredRegion> &wanted) {
  std::vector<Floats> floats, floatsWanted;
  for (const StoredRegion &region : got)
    floats.push_back(region.floats);
  for (const StoredRegion &region : wanted)
    floatsWanted.push_back(region.floats);
  expectSameBits(floats, floatsWanted);
  for (size_t region = 0; region < got.size(); ++region) {
    ASSERT_EQ(got[region].codes.size(), wanted[region].codes.size());
    for (size_t i = 0; i < got[region].codes.size(); ++i)
      ASSERT_EQ(int(got[region].codes[i]), int(wanted[region].codes[i]))
          << "region " << region << ", element " << i;
  }
}

GoldenAdamw8bit::GoldenAdamw8bit() : of(storedAdamw().front()) {
  auto file = formats::Safetensors::open(std::string(LORAC_SOURCE_DIR) +
                                         "/tests/golden/optim8bit/optim8bit.safetensors");
  if (!file) {
    std::fprintf(stderr, "%s\n", file.error().message.c_str());
    std::abort();
  }
  auto floats = [&](const std::string &name) { return *file->floats("adamw." + name); };
  auto bytes = [&](const std::string &name) {
    const auto data = file->bytes(*file->find("adamw." + name));
    return Bytes(data.begin(), data.end());
  };
  const Floats p = floats("p0");
  grads = floats("grads"), params = floats("p");
  m = {floats("absmax1"), bytes("state1")}, v = {floats("absmax2"), bytes("state2")};
  const StoredRegion nothing{Floats(m.floats.size()), Bytes(p.size())};
  start.spans = {{0, int32_t(p.size()), 0, 0}};
  start.ones = {{0, 0, 0, 1}}; // no clipping
  start.regions = {{p, {}}, {Floats(p.size()), {}}, nothing, nothing};
}

void GoldenAdamw8bit::tell(StoredData &data, int number) const {
  const double rate = 0.005, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, decay = 0.01;
  const size_t n = data.regions[0].floats.size();
  data.scalars = {float(1 - beta1),
                  float(beta2),
                  float(1 - beta2),
                  float(std::sqrt(1 - std::pow(beta2, number + 1))),
                  float(eps),
                  float(1 - rate * decay),
                  float(-(rate / (1 - std::pow(beta1, number + 1))))};
  data.regions[1].floats.assign(grads.begin() + std::ptrdiff_t(n * size_t(number)),
                                grads.begin() + std::ptrdiff_t(n * size_t(number + 1)));
}

void GoldenAdamw8bit::check(const StoredData &data, int number) const {
  const Floats &p = data.regions[0].floats;
  for (size_t i = 0; i < p.size(); ++i)
    ASSERT_NEAR(p[i], params[p.size() * size_t(number) + i], 3e-7f) << number << ", " << i;
  if (number + 1 < steps)
    return;
  EXPECT_EQ(data.regions[2].codes, m.codes);
  EXPECT_EQ(data.regions[3].codes, v.codes);
  for (size_t i = 0; i < m.floats.size(); ++i) {
    EXPECT_FLOAT_EQ(data.regions[2].floats[i], m.floats[i]) << i; // within 4 ulp
    EXPECT_FLOAT_EQ(data.regions[3].floats[i], v.floats[i]) << i;
  }
}

} // namespace lorac::testing
