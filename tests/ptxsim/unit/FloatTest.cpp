// Floats: rounding modes, flushing, NaN, and 16-bit arithmetic that rounds once.
#include "tests/ptxsim/ops/HalfNumbers.h"
#include "tests/ptxsim/unit/Evaluate.h"
#include <cmath>

namespace ptxsim {
namespace {

using F32 = std::vector<float>;
using F64 = std::vector<double>;
using U16 = std::vector<uint16_t>;
using U32 = std::vector<uint32_t>;

const float tiny = std::ldexp(1.0f, -149); // the smallest subnormal

uint32_t bits(float value) { return std::bit_cast<uint32_t>(value); }

TEST(Float, RoundsAsTheSuffixSays) {
  F32 a{1, -1}, b{std::ldexp(1.0f, -25), -std::ldexp(1.0f, -25)};
  float up = std::nextafter(1.0f, 2.0f), down = -up;
  EXPECT_EQ(evaluate<float>("add.rn.f32 %d, %a, %b;", a, b), (F32{1, -1}));
  EXPECT_EQ(evaluate<float>("add.rz.f32 %d, %a, %b;", a, b), (F32{1, -1}));
  EXPECT_EQ(evaluate<float>("add.rp.f32 %d, %a, %b;", a, b), (F32{up, -1}));
  EXPECT_EQ(evaluate<float>("add.rm.f32 %d, %a, %b;", a, b), (F32{1, down}));
  EXPECT_EQ(evaluate<float>("div.rp.f32 %d, %a, %b;", F32{1}, F32{3}),
            F32{std::nextafter(1.0f / 3, 0.0f) < 1.0 / 3 && 1.0f / 3 > 1.0 / 3
                    ? 1.0f / 3
                    : std::nextafter(1.0f / 3, 1.0f)});
  EXPECT_EQ(evaluate<float>("sqrt.rn.f32 %d, %a;", F32{2, 9}), (F32{std::sqrt(2.0f), 3}));
  EXPECT_EQ(evaluate<float>("rcp.rn.f32 %d, %a;", F32{3, 4}), (F32{1.0f / 3, 0.25f}));
  EXPECT_EQ(evaluate<double>("add.rp.f64 %d, %a, %b;", F64{1}, F64{1e-30}),
            F64{std::nextafter(1.0, 2.0)});
}

TEST(Float, FusesWithOneRounding) {
  float a = 1 + std::ldexp(1.0f, -12);
  // a*a = 1 + 2^-11 + 2^-24: a product of its own loses the last term.
  EXPECT_EQ(evaluate<float>("fma.rn.f32 %d, %a, %a, %b;", F32{a}, F32{-1 - std::ldexp(1.0f, -11)}),
            F32{std::ldexp(1.0f, -24)});
  EXPECT_EQ(evaluate<float>("mad.rn.f32 %d, %a, %b, %c;", F32{2}, F32{3}, F32{4}), F32{10});
  EXPECT_EQ(evaluate<float>("fma.rz.f32 %d, %a, %b, %c;", F32{1}, F32{1}, F32{-1e-20f}),
            F32{std::nextafter(1.0f, 0.0f)});
  EXPECT_EQ(evaluate<float>("fma.rm.f32 %d, %a, %b, %c;", F32{1}, F32{1}, F32{-1e-20f}),
            F32{std::nextafter(1.0f, 0.0f)});
}

TEST(Float, FlushesSubnormalsOnlyWhenAsked) {
  EXPECT_EQ(evaluate<float>("add.f32 %d, %a, %b;", F32{tiny}, F32{0}), F32{tiny});
  EXPECT_EQ(evaluate<float>("add.ftz.f32 %d, %a, %b;", F32{tiny}, F32{0}), F32{0});
  EXPECT_EQ(evaluate<uint32_t>("{ .reg .f32 %u; mul.ftz.f32 %u, %a, 0fBF800000; mov.b32 %d, %u; }",
                               F32{tiny}),
            U32{0x80000000});
}

TEST(Float, SaturatesAndTakesNanAsZero) {
  EXPECT_EQ(evaluate<float>("add.sat.f32 %d, %a, %b;", F32{2, -2, 0.25f, NAN}, F32{0, 0, 0, 0}),
            (F32{1, 0, 0.25f, 0}));
}

TEST(Float, MinimumIgnoresNanUnlessAsked) {
  EXPECT_EQ(evaluate<float>("min.f32 %d, %a, %b;", F32{NAN, 1, 2}, F32{3, NAN, 1}), (F32{3, 1, 1}));
  EXPECT_EQ(evaluate<float>("max.f32 %d, %a, %b;", F32{NAN, 1, 2}, F32{3, NAN, 1}), (F32{3, 1, 2}));
  EXPECT_TRUE(std::isnan(evaluate<float>("max.NaN.f32 %d, %a, %b;", F32{NAN}, F32{3})[0]));
  EXPECT_EQ(bits(evaluate<float>("min.f32 %d, %a, %b;", F32{0}, F32{-0.0f})[0]), 0x80000000u);
  EXPECT_EQ(bits(evaluate<float>("max.f32 %d, %a, %b;", F32{-0.0f}, F32{0})[0]), 0u);
}

TEST(Float, NegatesAndCopiesSigns) {
  EXPECT_EQ(evaluate<float>("neg.f32 %d, %a;", F32{1, -2}), (F32{-1, 2}));
  EXPECT_EQ(evaluate<float>("abs.f32 %d, %a;", F32{1, -2}), (F32{1, 2}));
  EXPECT_EQ(evaluate<float>("copysign.f32 %d, %a, %b;", F32{-1}, F32{5}), F32{-5});
}

TEST(Float, ApproximatesElementaryFunctions) {
  EXPECT_EQ(evaluate<float>("ex2.approx.f32 %d, %a;", F32{3, -1}), (F32{8, 0.5f}));
  EXPECT_EQ(evaluate<float>("ex2.approx.ftz.f32 %d, %a;", F32{-140}), F32{0});
  EXPECT_EQ(evaluate<float>("lg2.approx.f32 %d, %a;", F32{8}), F32{3});
  EXPECT_EQ(evaluate<float>("rsqrt.approx.f32 %d, %a;", F32{16}), F32{0.25f});
  EXPECT_EQ(evaluate<float>("sqrt.approx.f32 %d, %a;", F32{16}), F32{4});
  EXPECT_EQ(evaluate<float>("rcp.approx.ftz.f32 %d, %a;", F32{4}), F32{0.25f});
  EXPECT_EQ(evaluate<float>("div.approx.f32 %d, %a, %b;", F32{1}, F32{8}), F32{0.125f});
  EXPECT_EQ(evaluate<float>("div.full.f32 %d, %a, %b;", F32{1}, F32{8}), F32{0.125f});
  EXPECT_FLOAT_EQ(evaluate<float>("sin.approx.f32 %d, %a;", F32{1})[0], 0.84147098f);
  EXPECT_FLOAT_EQ(evaluate<float>("cos.approx.f32 %d, %a;", F32{1})[0], 0.54030231f);
  EXPECT_FLOAT_EQ(evaluate<float>("tanh.approx.f32 %d, %a;", F32{1})[0], 0.76159416f);
}

TEST(Float, WorksInDouble) {
  EXPECT_EQ(evaluate<double>("fma.rn.f64 %d, %a, %b, %c;", F64{3}, F64{5}, F64{0.5}), F64{15.5});
  EXPECT_EQ(evaluate<double>("div.rn.f64 %d, %a, %b;", F64{1}, F64{3}), F64{1.0 / 3});
  EXPECT_EQ(evaluate<double>("sqrt.rn.f64 %d, %a;", F64{2}), F64{std::sqrt(2.0)});
  EXPECT_EQ(evaluate<double>("add.f64 %d, %a, 0d3FF0000000000000;", F64{1}), F64{2});
}

// bf16 by its bits: 0x3f80 is 1, and one unit in its last place is 2^-7.
TEST(Half, Bf16PairsAddAndMultiply) {
  EXPECT_EQ(evaluate<uint32_t>("fma.rn.bf16x2 %d, %a, %b, %c;", U32{0x40003f80}, U32{0x40404000},
                               U32{0x3f803f80}),
            U32{0x40e04040}); // 2*3+1 = 7, 1*2+1 = 3
  EXPECT_EQ(
      evaluate<uint16_t>("fma.rn.bf16 %d, %a, %b, %c;", U16{0x4000}, U16{0x4040}, U16{0x3f80}),
      U16{0x40e0});
  EXPECT_EQ(evaluate<uint16_t>("max.bf16 %d, %a, %b;", U16{0x3f80, 0x7fc0}, U16{0xbf80, 0x3f80}),
            (U16{0x3f80, 0x3f80}));
  EXPECT_EQ(evaluate<uint32_t>("min.bf16x2 %d, %a, %b;", U32{0x3f80bf80}, U32{0x40003f80}),
            U32{0x3f80bf80});
  EXPECT_EQ(evaluate<uint32_t>("neg.bf16x2 %d, %a;", U32{0x3f80bf80}), U32{0xbf803f80});
  EXPECT_EQ(evaluate<uint32_t>("fma.rn.relu.bf16x2 %d, %a, %b, %c;", U32{0x3f803f80},
                               U32{0x3f803f80}, U32{0xc0003f80}),
            U32{0x4000}); // 1 - 2 -> 0, 1 + 1 = 2
}

// The product lies in the middle of two results, and the addend beside it is too small for a float
// to keep: who goes by way of float takes the even neighbour.
TEST(Half, FusedRoundsOnce) {
  // 7*37 - 2^-20: just below the middle of 258 and 260.
  EXPECT_EQ(
      evaluate<uint16_t>("fma.rn.bf16 %d, %a, %b, %c;", U16{0x40e0}, U16{0x4214}, U16{0xb580}),
      U16{0x4381});
  EXPECT_EQ(evaluate<uint32_t>("fma.rn.bf16x2 %d, %a, %b, %c;", U32{0x40e040e0}, U32{0x42144214},
                               U32{0x3580b580}),
            U32{0x43824381});
  // 3*683 + 2^-20: just above the middle of 2048 and 2050.
  EXPECT_EQ(evaluate<uint16_t>("fma.rn.f16 %d, %a, %b, %c;", U16{0x4200}, U16{0x6156}, U16{0x0010}),
            U16{0x6801});
  EXPECT_EQ(evaluate<uint16_t>("fma.rn.f16 %d, %a, %b, %c;", U16{0x4200}, U16{0x6156}, U16{0x8010}),
            U16{0x6800});
  // 2^-12 (1 + 2^-10) * 2^-13: above half of the smallest f16; exactly half goes to the even zero.
  EXPECT_EQ(evaluate<uint16_t>("fma.rn.f16 %d, %a, %b, %c;", U16{0x0c01, 0x0c00},
                               U16{0x0800, 0x0800}, U16{0, 0}),
            (U16{1, 0}));
}

TEST(Half, F16AddsSaturatesAndCompares) {
  EXPECT_EQ(evaluate<uint32_t>("add.f16x2 %d, %a, %b;", U32{0x3c004000}, U32{0x3c003c00}),
            U32{0x40004200});
  EXPECT_EQ(evaluate<uint16_t>("add.sat.f16 %d, %a, %b;", U16{0x3c00}, U16{0x3c00}), U16{0x3c00});
  EXPECT_EQ(evaluate<uint16_t>("mul.f16 %d, %a, %b;", U16{0x7bff}, U16{0x4000}), U16{0x7c00});
  EXPECT_EQ(evaluate<uint16_t>("sub.f16 %d, %a, %b;", U16{0x3c00}, U16{0x4000}), U16{0xbc00});
  EXPECT_EQ(evaluate<uint32_t>("setp.lt.f16 %p, %a, %b; selp.b32 %d, 1, 0, %p;",
                               U16{0x3c00, 0x4000}, U16{0x4000, 0x3c00}),
            (U32{1, 0}));
}

// Every f16 goes to float and back; float to f16 agrees with the definition at and beside all
// middles.
TEST(Half, ConversionsCoverAllNumbers) {
  for (uint32_t number = 0; number < 0x7c00; ++number) {
    auto half = static_cast<uint16_t>(number);
    float value = fromF16(half);
    int exponent = half >> 10, fraction = half & 0x3ff;
    float expected = exponent ? std::ldexp(1024.0f + static_cast<float>(fraction), exponent - 25)
                              : std::ldexp(static_cast<float>(fraction), -24);
    ASSERT_EQ(value, expected) << number;
    ASSERT_EQ(toF16(value), half);
    ASSERT_EQ(toF16(-value), half | 0x8000);
    float next = number == 0x7bff ? 65536.0f : fromF16(static_cast<uint16_t>(number + 1));
    float middle = (value + next) / 2;
    auto above = static_cast<uint16_t>(number + 1);
    ASSERT_EQ(toF16(std::nextafter(middle, 0.0f)), half);
    ASSERT_EQ(toF16(std::nextafter(middle, 1e30f)), above);
    ASSERT_EQ(toF16(middle), number & 1 ? above : half);
  }
  EXPECT_EQ(toF16(INFINITY), 0x7c00);
  EXPECT_EQ(toF16(NAN), 0x7fff);
}

} // namespace
} // namespace ptxsim
