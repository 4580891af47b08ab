// cvt and mov: widths, signs, rounding, saturation, packing.
#include "tests/ptxsim/unit/Evaluate.h"
#include <cmath>

namespace ptxsim {
namespace {

using F32 = std::vector<float>;
using F64 = std::vector<double>;
using U16 = std::vector<uint16_t>;
using U32 = std::vector<uint32_t>;
using U64 = std::vector<uint64_t>;

TEST(Convert, IntegersExtendAndCut) {
  EXPECT_EQ(evaluate<uint64_t>("cvt.s64.s32 %d, %a;", U32{0xfffffffe}), U64{0xfffffffffffffffe});
  EXPECT_EQ(evaluate<uint64_t>("cvt.u64.u32 %d, %a;", U32{0xfffffffe}), U64{0xfffffffe});
  EXPECT_EQ(evaluate<uint32_t>("cvt.u32.u64 %d, %a;", U64{0x123456789a}), U32{0x3456789a});
  EXPECT_EQ(evaluate<uint16_t>("cvt.u16.u32 %d, %a;", U32{0x12345678}), U16{0x5678});
  // A register may be wider than the type: the result fills it by the type's sign.
  EXPECT_EQ(evaluate<uint32_t>("cvt.s32.s8 %d, %a;", U32{0x180}), U32{0xffffff80});
  EXPECT_EQ(evaluate<uint32_t>("cvt.u32.u8 %d, %a;", U32{0x180}), U32{0x80});
  EXPECT_EQ(evaluate<uint32_t>("cvt.s8.s32 %d, %a;", U32{0x1ff}), U32{0xffffffff});
  EXPECT_EQ(evaluate<uint16_t>("cvt.u8.u32 %d, %a;", U32{0x1ff}), U16{0xff});
  EXPECT_EQ(evaluate<uint32_t>("cvt.sat.s16.s32 %d, %a;", U32{40000, 0xffff0000}),
            (U32{0x7fff, 0xffff8000}));
  EXPECT_EQ(evaluate<uint32_t>("cvt.sat.u8.s32 %d, %a;", U32{300, 0xffffffff}), (U32{255, 0}));
}

TEST(Convert, FloatsToIntegersRoundAndClamp) {
  F32 values{2.5f, -2.5f, 3.5f, 1e20f, -1e20f, NAN};
  EXPECT_EQ(evaluate<uint32_t>("cvt.rni.s32.f32 %d, %a;", values),
            (U32{2, 0xfffffffe, 4, 0x7fffffff, 0x80000000, 0}));
  EXPECT_EQ(evaluate<uint32_t>("cvt.rzi.s32.f32 %d, %a;", values),
            (U32{2, 0xfffffffe, 3, 0x7fffffff, 0x80000000, 0}));
  EXPECT_EQ(evaluate<uint32_t>("cvt.rmi.s32.f32 %d, %a;", values),
            (U32{2, 0xfffffffd, 3, 0x7fffffff, 0x80000000, 0}));
  EXPECT_EQ(evaluate<uint32_t>("cvt.rpi.s32.f32 %d, %a;", values),
            (U32{3, 0xfffffffe, 4, 0x7fffffff, 0x80000000, 0}));
  EXPECT_EQ(evaluate<uint32_t>("cvt.rzi.u32.f32 %d, %a;", F32{-1, 4e9f}), (U32{0, 4000000000u}));
  EXPECT_EQ(evaluate<uint64_t>("cvt.rni.s64.f64 %d, %a;", F64{-1.5}), U64{0xfffffffffffffffe});
}

TEST(Convert, IntegersToFloatsRound) {
  EXPECT_EQ(evaluate<float>("cvt.rn.f32.s32 %d, %a;", U32{0xffffffff, 16777217}),
            (F32{-1, 16777216}));
  EXPECT_EQ(evaluate<float>("cvt.rp.f32.s32 %d, %a;", U32{16777217}), F32{16777218});
  EXPECT_EQ(evaluate<float>("cvt.rn.f32.u32 %d, %a;", U32{0xffffffff}), F32{4294967296.0f});
  EXPECT_EQ(evaluate<float>("cvt.rz.f32.u32 %d, %a;", U32{0xffffffff}), F32{4294967040.0f});
  EXPECT_EQ(evaluate<double>("cvt.rn.f64.s64 %d, %a;", U64{~0ull}), F64{-1});
  EXPECT_EQ(evaluate<float>("cvt.rn.f32.u8 %d, %a;", U16{0x1ff}), F32{255});
}

TEST(Convert, BetweenFloats) {
  EXPECT_EQ(evaluate<double>("cvt.f64.f32 %d, %a;", F32{0.1f}), F64{static_cast<double>(0.1f)});
  EXPECT_EQ(evaluate<float>("cvt.rn.f32.f64 %d, %a;", F64{0.1}), F32{0.1f});
  EXPECT_EQ(evaluate<float>("cvt.rm.f32.f64 %d, %a;", F64{0.1}), F32{std::nextafter(0.1f, 0.0f)});
  EXPECT_EQ(evaluate<float>("cvt.rni.f32.f32 %d, %a;", F32{2.5f}), F32{2});
  EXPECT_EQ(evaluate<float>("cvt.rmi.f32.f32 %d, %a;", F32{-2.5f}), F32{-3});
  EXPECT_EQ(evaluate<float>("cvt.sat.f32.f32 %d, %a;", F32{2, NAN, 0.5f}), (F32{1, 0, 0.5f}));
  EXPECT_EQ(evaluate<float>("cvt.f32.f16 %d, %a;", U16{0x3c00, 0x0001}),
            (F32{1, std::ldexp(1.0f, -24)}));
  EXPECT_EQ(evaluate<float>("cvt.f32.bf16 %d, %a;", U16{0xc040}), F32{-3});
  EXPECT_EQ(evaluate<uint16_t>("cvt.rn.f16.f32 %d, %a;", F32{1, 65520, 2049}),
            (U16{0x3c00, 0x7c00, 0x6800}));
  EXPECT_EQ(evaluate<uint16_t>("cvt.rz.f16.f32 %d, %a;", F32{65535, 2051, -2051}),
            (U16{0x7bff, 0x6801, 0xe801}));
}

TEST(Convert, Bf16RoundsToEvenAndKeepsNan) {
  auto bits = [](uint32_t value) { return std::bit_cast<float>(value); };
  EXPECT_EQ(
      evaluate<uint16_t>("cvt.rn.bf16.f32 %d, %a;", F32{bits(0x3f808000), bits(0x3f818000),
                                                        bits(0x3f808001), bits(0x7f7fffff), NAN}),
      (U16{0x3f80, 0x3f82, 0x3f81, 0x7f80, 0x7fff}));
  EXPECT_EQ(evaluate<uint16_t>("cvt.rz.bf16.f32 %d, %a;", F32{bits(0x3f81ffff)}), U16{0x3f81});
  EXPECT_EQ(evaluate<uint16_t>("cvt.rn.relu.bf16.f32 %d, %a;", F32{-1}), U16{0});
}

TEST(Convert, PacksTheFirstSourceOnTop) {
  EXPECT_EQ(evaluate<uint32_t>("cvt.rn.bf16x2.f32 %d, %a, %b;", F32{1}, F32{-2}), U32{0x3f80c000});
  EXPECT_EQ(evaluate<uint32_t>("cvt.rn.f16x2.f32 %d, %a, %b;", F32{1}, F32{-2}), U32{0x3c00c000});
  EXPECT_EQ(evaluate<uint32_t>("cvt.rn.relu.bf16x2.f32 %d, %a, %b;", F32{1}, F32{-2}),
            U32{0x3f800000});
}

TEST(Convert, Tf32RoundsAwayFromZero) {
  EXPECT_EQ(evaluate<uint32_t>("cvt.rna.tf32.f32 %d, %a;", F32{std::bit_cast<float>(0x3f801000u),
                                                               std::bit_cast<float>(0x3f800fffu)}),
            (U32{0x3f802000, 0x3f800000}));
}

TEST(Move, PacksAndUnpacks) {
  EXPECT_EQ(evaluate<uint64_t>("mov.b64 %d, {%a, %b};", U32{1}, U32{2}), U64{0x200000001});
  EXPECT_EQ(evaluate<uint32_t>("mov.b32 %d, {%a, %b};", U16{1}, U16{2}), U32{0x20001});
  EXPECT_EQ(evaluate<uint32_t>("{ .reg .b32 %u; mov.b64 {%u, %d}, %a; }", U64{0x200000001}),
            U32{2});
  EXPECT_EQ(
      evaluate<uint16_t>("{ .reg .b16 u, v; mov.b32 {u, v}, %a; mov.b16 %d, u; }", U32{0x20001}),
      U16{1});
  EXPECT_EQ(evaluate<uint32_t>("mov.b64 {_, %d}, %a;", U64{0x200000001}), U32{2});
}

TEST(Move, NumbersOfAllNotations) {
  EXPECT_EQ(evaluate<float>("mov.f32 %d, 0fBF800000;", F32{0}), F32{-1});
  EXPECT_EQ(evaluate<double>("mov.f64 %d, 0dBFF0000000000000;", F64{0}), F64{-1});
  EXPECT_EQ(evaluate<float>("mov.f32 %d, 1.5;", F32{0}), F32{1.5f});
  EXPECT_EQ(evaluate<float>("mov.f32 %d, 1.5e-3;", F32{0}), F32{1.5e-3f});
  EXPECT_EQ(evaluate<uint32_t>("mov.u32 %d, 0xFFFFFFFF;", U32{0}), U32{0xffffffff});
  EXPECT_EQ(evaluate<uint32_t>("mov.u32 %d, 17U;", U32{0}), U32{17});
  EXPECT_EQ(evaluate<uint32_t>("mov.s32 %d, -1;", U32{0}), U32{0xffffffff});
}

} // namespace
} // namespace ptxsim
