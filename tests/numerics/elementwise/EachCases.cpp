#include "tests/numerics/elementwise/EachCases.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>
#include <random>

namespace lorac::testing {
namespace {

constexpr int64_t kGroups = 3;

std::string array(const std::vector<int64_t> &numbers) {
  std::string text;
  for (int64_t n : numbers)
    text += (text.empty() ? ": " : ", ") + std::to_string(n);
  return "array<i64" + text + ">";
}

Floats adamwOfOne(const float *x, const float *u, const float *ofGroup) {
  const float p = x[0], g = x[1] * u[0], m = x[2], v = x[3];
  const float o1 = u[1], b2 = u[2], o2 = u[3], c2 = u[4], eps = u[5];
  const float decay = ofGroup[0], step = ofGroup[1];
  const float p0 = p * decay;
  const float d = g - m, od = o1 * d, m1 = m + od;
  const float v0 = v * b2, og = o2 * g, gg = og * g, v1 = v0 + gg;
  const float r = std::sqrt(v1), rc = r / c2, den = rc + eps;
  const float n = step * m1, q = n / den, p1 = p0 + q;
  return {p1, m1, v1};
}

Floats lionOfOne(const float *x, const float *u, const float *ofGroup) {
  const float p = x[0], g = x[1] * u[0], m = x[2];
  const float b1 = u[1], o1 = u[2], b2 = u[3], o2 = u[4];
  const float decay = ofGroup[0], minusRate = ofGroup[1];
  const float mb = m * b1, go = g * o1, sum = mb + go;
  const float sign = sum > 0 ? 1.f : sum < 0 ? -1.f : 0.f;
  const float p0 = p * decay, st = minusRate * sign, p1 = p0 + st;
  const float m2 = m * b2, g2 = g * o2, m1 = m2 + g2;
  return {p1, m1};
}

Floats sgdOfOne(const float *x, const float *u, const float *ofGroup) {
  const float p = x[0], g = x[1] * u[0], b = x[2], wd = u[1], momentum = u[2];
  const float decay = wd * p, d = g + decay, kept = momentum * b, b1 = kept + d;
  const float ahead = momentum * b1, step = d + ahead, st = ofGroup[0] * step;
  return {p + st, b1};
}

Floats importanceOfOne(const float *x, const float *u, const float *) {
  const float p = x[0], g = x[1] * u[0], s = x[2], doubt = x[3];
  const float now = std::fabs(p * g), kept = u[1] * s, taken = u[2] * now, mean = kept + taken;
  const float off = std::fabs(now - mean), doubtKept = u[3] * doubt, doubtTaken = u[4] * off;
  return {mean, doubtKept + doubtTaken};
}

Floats everyOpOfOne(const float *in, const float *, const float *) {
  const float x = in[0], y = in[1];
  auto truth = [](bool holds) { return holds ? 1.f : 0.f; };
  return {x + y, x - y, x * y, x / y, std::copysign(x, std::signbit(x) ? 1.f : -1.f),
          truth(std::isless(x, y)), truth(std::isgreater(x, y)), truth(std::islessequal(x, y)),
          truth(std::isgreaterequal(x, y)),
          truth(!std::isunordered(x, y) && !std::islessgreater(x, y)),
          truth(std::islessgreater(x, y)),
          // The greater and the lesser; y where either is NaN, and of zeros.
          std::isgreater(x, y) ? x : y, std::isless(x, y) ? x : y, std::sqrt(x), std::fabs(x),
          std::isless(y, x) ? y : 0.1f, std::exp(x)};
}

constexpr const char *kAdamw = R"(
^bb0(%p: f32 loc("params"), %grad: f32 loc("grads"), %m: f32 loc("exp_avg"),
     %v: f32 loc("exp_avg_sq"), %clip: f32, %o1: f32, %b2: f32, %o2: f32, %c2: f32, %eps: f32,
     %decay: f32, %step: f32):
  %g = arith.mulf %grad, %clip : f32
  %p0 = arith.mulf %p, %decay : f32
  %d = arith.subf %g, %m : f32
  %od = arith.mulf %o1, %d : f32
  %m1 = arith.addf %m, %od : f32
  %v0 = arith.mulf %v, %b2 : f32
  %og = arith.mulf %o2, %g : f32
  %gg = arith.mulf %og, %g : f32
  %v1 = arith.addf %v0, %gg : f32
  %r = math.sqrt %v1 : f32
  %rc = arith.divf %r, %c2 : f32
  %den = arith.addf %rc, %eps : f32
  %n = arith.mulf %step, %m1 : f32
  %q = arith.divf %n, %den : f32
  %p1 = arith.addf %p0, %q : f32
  lora.yield %p1, %m1, %v1 : f32, f32, f32)";

constexpr const char *kLion = R"(
^bb0(%p: f32, %grad: f32, %m: f32, %clip: f32, %b1: f32, %o1: f32, %b2: f32, %o2: f32,
     %decay: f32, %minus_rate: f32):
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %minus_one = arith.constant -1.0 : f32
  %g = arith.mulf %grad, %clip : f32
  %mb = arith.mulf %m, %b1 : f32
  %go = arith.mulf %g, %o1 : f32
  %u = arith.addf %mb, %go : f32
  %up = arith.cmpf olt, %zero, %u : f32
  %down = arith.cmpf olt, %u, %zero : f32
  %s0 = arith.select %down, %minus_one, %zero : f32
  %s = arith.select %up, %one, %s0 : f32
  %p0 = arith.mulf %p, %decay : f32
  %st = arith.mulf %minus_rate, %s : f32
  %p1 = arith.addf %p0, %st : f32
  %m2 = arith.mulf %m, %b2 : f32
  %g2 = arith.mulf %g, %o2 : f32
  %m1 = arith.addf %m2, %g2 : f32
  lora.yield %p1, %m1 : f32, f32)";

constexpr const char *kSgd = R"(
^bb0(%p: f32, %grad: f32, %b: f32, %clip: f32, %wd: f32, %momentum: f32, %minus_rate: f32):
  %g = arith.mulf %grad, %clip : f32
  %decay = arith.mulf %wd, %p : f32
  %d = arith.addf %g, %decay : f32
  %kept = arith.mulf %momentum, %b : f32
  %b1 = arith.addf %kept, %d : f32
  %ahead = arith.mulf %momentum, %b1 : f32
  %step = arith.addf %d, %ahead : f32
  %st = arith.mulf %minus_rate, %step : f32
  %p1 = arith.addf %p, %st : f32
  lora.yield %p1, %b1 : f32, f32)";

constexpr const char *kImportance = R"(
^bb0(%p: f32, %grad: f32, %s: f32, %u: f32, %clip: f32, %keep1: f32, %take1: f32, %keep2: f32,
     %take2: f32):
  %g = arith.mulf %grad, %clip : f32
  %pg = arith.mulf %p, %g : f32
  %now = math.absf %pg : f32
  %kept = arith.mulf %keep1, %s : f32
  %taken = arith.mulf %take1, %now : f32
  %mean = arith.addf %kept, %taken : f32
  %difference = arith.subf %now, %mean : f32
  %off = math.absf %difference : f32
  %doubt_kept = arith.mulf %keep2, %u : f32
  %doubt_taken = arith.mulf %take2, %off : f32
  %doubt = arith.addf %doubt_kept, %doubt_taken : f32
  lora.yield %mean, %doubt : f32, f32)";

std::string everyOpBody(size_t results) {
  std::string text = "\n^bb0(%x: f32, %y: f32";
  for (size_t i = 0; i < results; ++i)
    text += ", %old" + std::to_string(i) + ": f32";
  text += "):\n  %zero = arith.constant 0.0 : f32\n  %one = arith.constant 1.0 : f32\n"
          "  %tenth = arith.constant 0.1 : f32\n";
  size_t count = 0;
  auto add = [&](const std::string &op) {
    text += "  %r" + std::to_string(count++) + " = " + op + " : f32\n";
  };
  for (const char *op : {"addf", "subf", "mulf", "divf"})
    add(std::string("arith.") + op + " %x, %y");
  add("arith.negf %x");
  for (const std::string predicate : {"olt", "ogt", "ole", "oge", "oeq", "one"}) {
    text += "  %is_" + predicate + " = arith.cmpf " + predicate + ", %x, %y : f32\n";
    add("arith.select %is_" + predicate + ", %one, %zero");
  }
  add("arith.maximumf %x, %y"), add("arith.minimumf %x, %y");
  add("math.sqrt %x"), add("math.absf %x");
  text += "  %less = arith.cmpf olt, %y, %x : f32\n";
  add("arith.select %less, %y, %tenth"), add("math.exp %x");
  EXPECT_EQ(count, results);
  std::string values, types;
  for (size_t i = 0; i < results; ++i)
    values += (i ? ", %r" : "%r") + std::to_string(i), types += i ? ", f32" : "f32";
  return text + "  lora.yield " + values + " : " + types;
}

bool sameBits(float a, float b) {
  uint32_t bitsOfA, bitsOfB;
  std::memcpy(&bitsOfA, &a, sizeof a), std::memcpy(&bitsOfB, &b, sizeof b);
  return bitsOfA == bitsOfB || (std::isnan(a) && std::isnan(b));
}

} // namespace

std::string EachCase::elements() const {
  std::string text = "i32";
  for (int64_t i = uniform + byGroup > 0 ? -1 : 0; i < int64_t(ones.size()) + regions; ++i)
    text += " f32";
  return text;
}

std::string EachCase::params() const {
  return "what = \"" + what + "\", regions = " + std::to_string(regions) +
         " : i64, uniform = " + std::to_string(uniform) +
         " : i64, by_group = " + std::to_string(byGroup) + " : i64, ones = " + array(ones) +
         ", writes = " + array(writes) + ", elements = \"" + elements() + "\"";
}

EachCase adamw() { return {"adamw", kAdamw, 4, {3}, 5, 2, {0, 2, 3}, adamwOfOne}; }

EachCase importance() { return {"importance", kImportance, 4, {3}, 4, 0, {2, 3}, importanceOfOne}; }

EachCase lion() { return {"lion", kLion, 3, {3, 0}, 3, 2, {0, 2}, lionOfOne}; }

EachCase sgd() { return {"sgd", kSgd, 3, {3}, 2, 1, {0, 2}, sgdOfOne}; }

EachCase everyOp() {
  const float nothing[2] = {};
  const size_t results = everyOpOfOne(nothing, nullptr, nullptr).size();
  EachCase made{"every_op", everyOpBody(results), 2, {}, 0, 0, {}, everyOpOfOne};
  for (size_t i = 0; i < results; ++i)
    made.writes.push_back(made.regions++);
  return made;
}

EachData randomData(const EachCase &of, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  EachData data;
  int32_t end = 0;
  const std::vector<int32_t> counts = {1, 7,  8,  15,  4096, 2,    3, 4, 5,
                                       9, 16, 17, 255, 257,  4095, 6, 13};
  for (size_t i = 0; i < counts.size(); ++i) {
    const int32_t offset = end + (i + 1 < counts.size() ? int32_t(random() % 7) : 0);
    data.spans.push_back({offset, counts[i], int32_t(random() % kGroups), 0});
    end = offset + counts[i];
  }
  std::shuffle(data.spans.begin(), data.spans.end(), random); // the order is the table's own
  std::uniform_real_distribution<float> scalar(0.01f, 0.999f);
  for (int64_t place : of.ones) {
    data.ones.emplace_back(size_t(place), std::numeric_limits<float>::quiet_NaN());
    data.ones.back().push_back(scalar(random));
  }
  for (int64_t i = 0; i < of.uniform + kGroups * of.byGroup; ++i)
    data.scalars.push_back(scalar(random));
  for (int64_t region = 0; region < of.regions; ++region) {
    Floats &values = data.regions.emplace_back();
    for (int32_t i = 0; i < end; ++i) {
      const float drawn = normal(random) * std::ldexp(1.f, int(random() % 21) - 10);
      values.push_back(random() % 16 == 0 ? 0 : region == 3 ? std::fabs(drawn) : drawn);
    }
  }
  return data;
}

EachData specialData(const EachCase &of) {
  using Limits = std::numeric_limits<float>;
  const Floats numbers = {0.f,
                          -0.f,
                          1.f,
                          -1.f,
                          3.f,
                          -0.3f,
                          85.f,
                          -85.f,
                          Limits::infinity(),
                          -Limits::infinity(),
                          Limits::quiet_NaN(),
                          Limits::denorm_min(),
                          -1e-40f,
                          Limits::min(),
                          Limits::max(),
                          Limits::lowest(),
                          1e20f};
  EachData data;
  data.regions.resize(size_t(of.regions));
  for (float x : numbers)
    for (float y : numbers) {
      data.regions[0].push_back(x), data.regions[1].push_back(y);
      for (size_t i = 2; i < data.regions.size(); ++i)
        data.regions[i].push_back(-7.f);
    }
  const auto count = int32_t(data.regions[0].size());
  data.spans = {{0, count, 0, 0}};
  return data;
}

std::vector<Floats> EachData::buffers() const {
  std::vector<Floats> all;
  if (!scalars.empty())
    all.push_back(scalars);
  all.insert(all.end(), ones.begin(), ones.end());
  all.insert(all.end(), regions.begin(), regions.end());
  return all;
}

std::vector<Floats> expectedOf(const EachCase &of, const EachData &data) {
  std::vector<Floats> after = data.regions;
  Floats uniform, ofGroups = data.scalars;
  for (const Floats &buffer : data.ones)
    uniform.push_back(buffer.back());
  uniform.insert(uniform.end(), data.scalars.begin(), data.scalars.begin() + of.uniform);
  ofGroups.erase(ofGroups.begin(), ofGroups.begin() + of.uniform);
  for (const Span &span : data.spans)
    for (int32_t i = span.offset; i < span.offset + span.count; ++i) {
      Floats x;
      for (const Floats &region : data.regions)
        x.push_back(region[size_t(i)]);
      const Floats results =
          of.one(x.data(), uniform.data(), ofGroups.data() + span.group * of.byGroup);
      for (size_t k = 0; k < results.size(); ++k)
        after[size_t(of.writes[k])][size_t(i)] = results[k];
    }
  return after;
}

void expectSameBits(const std::vector<Floats> &got, const std::vector<Floats> &wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t region = 0; region < got.size(); ++region) {
    ASSERT_EQ(got[region].size(), wanted[region].size());
    for (size_t i = 0; i < got[region].size(); ++i)
      ASSERT_TRUE(sameBits(got[region][i], wanted[region][i]))
          << "region " << region << ", element " << i << ": " << got[region][i] << " is not "
          << wanted[region][i];
  }
}

void expectExponentials(const Floats &x, const Floats &got) {
  ASSERT_EQ(got.size(), x.size());
  size_t compared = 0;
  for (size_t i = 0; i < x.size(); ++i)
    if (std::fabs(x[i]) <= 86) {
      const double wanted = std::exp(double(x[i]));
      ASSERT_NEAR(got[i], wanted, 1e-6 * wanted) << x[i];
      ++compared;
    }
  EXPECT_GT(compared, x.size() / 2);
}

} // namespace lorac::testing
