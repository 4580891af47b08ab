// Integers, bits and comparisons: values worked out by hand from the PTX ISA.
#include "tests/ptxsim/unit/Evaluate.h"

#include <cmath>

namespace ptxsim {
namespace {

using U16 = std::vector<uint16_t>;
using U32 = std::vector<uint32_t>;
using U64 = std::vector<uint64_t>;

TEST(Integer, AddsAndSubtractsWithWrapping) {
  EXPECT_EQ(evaluate<uint32_t>("add.s32 %d, %a, %b;", U32{1, 0xffffffff}, U32{2, 1}), (U32{3, 0}));
  EXPECT_EQ(evaluate<uint32_t>("sub.u32 %d, %a, %b;", U32{1}, U32{2}), U32{0xffffffff});
  EXPECT_EQ(evaluate<uint64_t>("add.u64 %d, %a, %b;", U64{~0ull}, U64{2}), U64{1});
  EXPECT_EQ(evaluate<uint16_t>("add.s16 %d, %a, %b;", U16{0xffff}, U16{2}), U16{1});
  EXPECT_EQ(evaluate<uint32_t>("add.s32 %d, %a, -5;", U32{3}), U32{0xfffffffe});
}

TEST(Integer, MultipliesLowHighAndWide) {
  EXPECT_EQ(evaluate<uint32_t>("mul.lo.s32 %d, %a, %b;", U32{0x10000}, U32{0x10001}), U32{0x10000});
  EXPECT_EQ(evaluate<uint32_t>("mul.hi.u32 %d, %a, %b;", U32{0xffffffff}, U32{0xffffffff}),
            U32{0xfffffffe});
  EXPECT_EQ(evaluate<uint32_t>("mul.hi.s32 %d, %a, %b;", U32{0xffffffff}, U32{0xffffffff}), U32{0});
  EXPECT_EQ(evaluate<uint64_t>("mul.wide.s32 %d, %a, %b;", U32{0xffffffff}, U32{3}),
            U64{0xfffffffffffffffd});
  EXPECT_EQ(evaluate<uint64_t>("mul.wide.u32 %d, %a, %b;", U32{0xffffffff}, U32{3}),
            U64{0x2fffffffd});
  EXPECT_EQ(evaluate<uint32_t>("mul.wide.s16 %d, %a, %b;", U16{0xffff}, U16{2}), U32{0xfffffffe});
  EXPECT_EQ(evaluate<uint64_t>("mul.hi.u64 %d, %a, %b;", U64{1ull << 63}, U64{6}), U64{3});
  EXPECT_EQ(evaluate<uint16_t>("mul.lo.u16 %d, %a, %b;", U16{0xffff}, U16{0xffff}), U16{1});
}

TEST(Integer, MultipliesAndAdds) {
  EXPECT_EQ(evaluate<uint32_t>("mad.lo.s32 %d, %a, %b, %c;", U32{3}, U32{4}, U32{5}), U32{17});
  EXPECT_EQ(evaluate<uint32_t>("mad.hi.u32 %d, %a, %b, %c;", U32{1u << 31}, U32{4}, U32{5}),
            U32{7});
  EXPECT_EQ(evaluate<uint64_t>("mad.wide.u32 %d, %a, %b, %c;", U32{1u << 31}, U32{4}, U64{1}),
            U64{0x200000001});
  EXPECT_EQ(evaluate<uint64_t>("mad.wide.s32 %d, %a, %b, %c;", U32{0xffffffff}, U32{4}, U64{1}),
            U64{0xfffffffffffffffd});
}

TEST(Integer, DividesTowardsZero) {
  EXPECT_EQ(evaluate<uint32_t>("div.s32 %d, %a, %b;", U32{0xfffffff9, 7}, U32{2, 0xfffffffe}),
            (U32{0xfffffffd, 0xfffffffd}));
  EXPECT_EQ(evaluate<uint32_t>("rem.s32 %d, %a, %b;", U32{0xfffffff9, 7}, U32{2, 0xfffffffe}),
            (U32{0xffffffff, 1}));
  EXPECT_EQ(evaluate<uint32_t>("div.u32 %d, %a, %b;", U32{0xfffffff9}, U32{2}), U32{0x7ffffffc});
  EXPECT_EQ(evaluate<uint64_t>("rem.u64 %d, %a, %b;", U64{1000000000007}, U64{10}), U64{7});
  EXPECT_EQ(evaluate<uint32_t>("div.s32 %d, %a, %b;", U32{0x80000000}, U32{0xffffffff}),
            U32{0x80000000});
}

TEST(Integer, ChoosesByTheTypesSign) {
  EXPECT_EQ(evaluate<uint32_t>("min.s32 %d, %a, %b;", U32{0xffffffff}, U32{1}), U32{0xffffffff});
  EXPECT_EQ(evaluate<uint32_t>("min.u32 %d, %a, %b;", U32{0xffffffff}, U32{1}), U32{1});
  EXPECT_EQ(evaluate<uint64_t>("max.s64 %d, %a, %b;", U64{~0ull}, U64{1}), U64{1});
  EXPECT_EQ(evaluate<uint32_t>("abs.s32 %d, %a;", U32{0xfffffffb, 5, 0x80000000}),
            (U32{5, 5, 0x80000000}));
  EXPECT_EQ(evaluate<uint32_t>("neg.s32 %d, %a;", U32{5, 0}), (U32{0xfffffffb, 0}));
}

TEST(Integer, Shifts) {
  EXPECT_EQ(evaluate<uint32_t>("shl.b32 %d, %a, %b;", U32{3, 3, 3}, U32{4, 31, 32}),
            (U32{48, 0x80000000, 0}));
  EXPECT_EQ(evaluate<uint32_t>("shr.u32 %d, %a, %b;", U32{0x80000000, 1}, U32{31, 40}),
            (U32{1, 0}));
  EXPECT_EQ(evaluate<uint32_t>("shr.s32 %d, %a, %b;", U32{0x80000000, 0x80000000}, U32{4, 99}),
            (U32{0xf8000000, 0xffffffff}));
  EXPECT_EQ(evaluate<uint64_t>("shl.b64 %d, %a, %b;", U64{1}, U32{40}), U64{1ull << 40});
  EXPECT_EQ(evaluate<uint16_t>("shr.s16 %d, %a, 4;", U16{0x8000}), U16{0xf800});
}

TEST(Integer, ShiftsThroughTwoWords) {
  // The low word is the first operand.
  EXPECT_EQ(evaluate<uint32_t>("shf.l.wrap.b32 %d, %a, %b, %c;", U32{0x80000001, 0x80000001},
                               U32{0x12345678, 0x12345678}, U32{4, 36}),
            (U32{0x23456788, 0x23456788}));
  EXPECT_EQ(evaluate<uint32_t>("shf.r.clamp.b32 %d, %a, %b, %c;", U32{0x80000001, 0x80000001},
                               U32{0x12345678, 0x12345678}, U32{4, 36}),
            (U32{0x88000000, 0x12345678}));
}

TEST(Integer, PermutesBytes) {
  EXPECT_EQ(evaluate<uint32_t>("prmt.b32 %d, %a, %b, 0x5410;", U32{0x33221100}, U32{0x77665544}),
            U32{0x55441100});
  // The upper bit of a nibble spreads the sign of the byte.
  EXPECT_EQ(evaluate<uint32_t>("prmt.b32 %d, %a, %b, 0xfb80;", U32{0x80110011}, U32{0xff000000}),
            U32{0xffff0011});
  EXPECT_EQ(evaluate<uint32_t>("prmt.b32.f4e %d, %a, %b, 1;", U32{0x33221100}, U32{0x77665544}),
            U32{0x44332211});
  EXPECT_EQ(evaluate<uint32_t>("prmt.b32.rc16 %d, %a, %b, 1;", U32{0x33221100}, U32{0}),
            U32{0x33223322});
}

TEST(Integer, ExtractsAndInsertsBits) {
  EXPECT_EQ(evaluate<uint32_t>("bfe.u32 %d, %a, 8, 8;", U32{0x12345678}), U32{0x56});
  EXPECT_EQ(evaluate<uint32_t>("bfe.s32 %d, %a, 4, 4;", U32{0xf80}), U32{0xfffffff8});
  EXPECT_EQ(evaluate<uint32_t>("bfe.u32 %d, %a, 28, 16;", U32{0xf2345678}), U32{0xf});
  EXPECT_EQ(evaluate<uint32_t>("bfe.s32 %d, %a, 28, 16;", U32{0xf2345678}), U32{0xffffffff});
  EXPECT_EQ(evaluate<uint32_t>("bfe.s32 %d, %a, 3, 0;", U32{0xffffffff}), U32{0});
  EXPECT_EQ(evaluate<uint32_t>("bfi.b32 %d, %a, %b, 8, 8;", U32{0xab}, U32{0x12345678}),
            U32{0x1234ab78});
  EXPECT_EQ(evaluate<uint64_t>("bfi.b64 %d, %a, %b, 40, 8;", U64{0xab}, U64{0}),
            U64{0xab0000000000});
}

TEST(Integer, CountsAndReversesBits) {
  EXPECT_EQ(evaluate<uint32_t>("popc.b32 %d, %a;", U32{0xf00f, 0}), (U32{8, 0}));
  EXPECT_EQ(evaluate<uint32_t>("popc.b64 %d, %a;", U64{~0ull}), U32{64});
  EXPECT_EQ(evaluate<uint32_t>("clz.b32 %d, %a;", U32{1, 0}), (U32{31, 32}));
  EXPECT_EQ(evaluate<uint32_t>("brev.b32 %d, %a;", U32{1, 0x80000001}),
            (U32{1u << 31, 0x80000001}));
  EXPECT_EQ(evaluate<uint32_t>("bfind.u32 %d, %a;", U32{0x10, 0}), (U32{4, 0xffffffff}));
  EXPECT_EQ(evaluate<uint32_t>("bfind.s32 %d, %a;", U32{0xfffffffe, 0xffffffff}),
            (U32{0, 0xffffffff}));
  EXPECT_EQ(evaluate<uint32_t>("bfind.shiftamt.u32 %d, %a;", U32{0x10}), U32{27});
}

TEST(Integer, CombinesThreeWordsByATable) {
  // 0x96: exclusive or; 0xe8: majority; 0xca: a ? b : c.
  EXPECT_EQ(
      evaluate<uint32_t>("lop3.b32 %d, %a, %b, %c, 0x96;", U32{0xff00}, U32{0xf0f0}, U32{0xcccc}),
      U32{0xff00 ^ 0xf0f0 ^ 0xcccc});
  EXPECT_EQ(
      evaluate<uint32_t>("lop3.b32 %d, %a, %b, %c, 0xca;", U32{0xff00}, U32{0x1234}, U32{0x5678}),
      U32{0x1278});
  EXPECT_EQ(evaluate<uint32_t>("lop3.b32 %d, %a, %b, %c, 0xe8;", U32{6}, U32{5}, U32{3}), U32{7});
}

TEST(Integer, AddsProductsOfBytes) {
  EXPECT_EQ(
      evaluate<uint32_t>("dp4a.s32.s32 %d, %a, %b, %c;", U32{0xff020304}, U32{0x01020304}, U32{10}),
      U32{38}); // -1 + 4 + 9 + 16 + 10
  EXPECT_EQ(
      evaluate<uint32_t>("dp4a.u32.u32 %d, %a, %b, %c;", U32{0xff020304}, U32{0x01020304}, U32{10}),
      U32{294});
}

TEST(Integer, WorksOnPredicates) {
  EXPECT_EQ(evaluate<uint32_t>("setp.lt.u32 %p, %a, 2; setp.gt.u32 %q, %a, 0; and.pred %p, %p, %q;"
                               "selp.b32 %d, 1, 0, %p;",
                               U32{0, 1, 2}),
            (U32{0, 1, 0}));
  EXPECT_EQ(evaluate<uint32_t>("setp.lt.u32 %p, %a, 2; not.pred %p, %p; selp.b32 %d, 7, 8, %p;",
                               U32{0, 1, 2}),
            (U32{8, 8, 7}));
}

// One letter for each of these pairs: 1 for true.
std::string compared(const std::string &comparison) {
  std::vector<uint32_t> results =
      evaluate<uint32_t>("setp." + comparison + " %p, %a, %b; selp.b32 %d, 1, 0, %p;",
                         U32{1, 2, 2, 0xffffffff}, U32{2, 1, 2, 1});
  std::string text;
  for (uint32_t result : results)
    text += result ? '1' : '0';
  return text;
}

TEST(Compare, Integers) {
  EXPECT_EQ(compared("eq.s32"), "0010");
  EXPECT_EQ(compared("ne.s32"), "1101");
  EXPECT_EQ(compared("lt.s32"), "1001");
  EXPECT_EQ(compared("le.s32"), "1011");
  EXPECT_EQ(compared("gt.s32"), "0100");
  EXPECT_EQ(compared("ge.s32"), "0110");
  EXPECT_EQ(compared("lt.u32"), "1000");
  EXPECT_EQ(compared("lo.u32"), "1000");
  EXPECT_EQ(compared("ls.u32"), "1010");
  EXPECT_EQ(compared("hi.u32"), "0101");
  EXPECT_EQ(compared("hs.u32"), "0111");
}

std::string comparedFloats(const std::string &comparison) {
  float nan = std::nanf("");
  std::vector<uint32_t> results =
      evaluate<uint32_t>("setp." + comparison + ".f32 %p, %a, %b; selp.b32 %d, 1, 0, %p;",
                         std::vector<float>{1, 2, 2, nan, 0}, std::vector<float>{2, 1, 2, 1, nan});
  std::string text;
  for (uint32_t result : results)
    text += result ? '1' : '0';
  return text;
}

TEST(Compare, FloatsOrderedAndUnordered) {
  EXPECT_EQ(comparedFloats("eq"), "00100");
  EXPECT_EQ(comparedFloats("ne"), "11000");
  EXPECT_EQ(comparedFloats("lt"), "10000");
  EXPECT_EQ(comparedFloats("le"), "10100");
  EXPECT_EQ(comparedFloats("gt"), "01000");
  EXPECT_EQ(comparedFloats("ge"), "01100");
  EXPECT_EQ(comparedFloats("equ"), "00111");
  EXPECT_EQ(comparedFloats("neu"), "11011");
  EXPECT_EQ(comparedFloats("ltu"), "10011");
  EXPECT_EQ(comparedFloats("leu"), "10111");
  EXPECT_EQ(comparedFloats("gtu"), "01011");
  EXPECT_EQ(comparedFloats("geu"), "01111");
  EXPECT_EQ(comparedFloats("num"), "11100");
  EXPECT_EQ(comparedFloats("nan"), "00011");
}

TEST(Compare, CombinesAndNegates) {
  // p = (a < 3) and not q0; q = not (a < 3) and not q0, with q0 = (a == 1).
  std::string code = "setp.eq.u32 %q, %a, 1; setp.lt.and.u32 %p|%q, %a, 3, !%q;";
  U32 values{0, 1, 3};
  EXPECT_EQ(evaluate<uint32_t>(code + "selp.b32 %d, 1, 0, %p;", values), (U32{1, 0, 0}));
  EXPECT_EQ(evaluate<uint32_t>(code + "selp.b32 %d, 1, 0, %q;", values), (U32{0, 0, 1}));
}

TEST(Compare, SetsValues) {
  EXPECT_EQ(evaluate<uint32_t>("set.lt.u32.s32 %d, %a, 2;", U32{1, 2}), (U32{0xffffffff, 0}));
  EXPECT_EQ(evaluate<float>("set.gt.f32.f32 %d, %a, 0f3F800000;", std::vector<float>{2, 1}),
            (std::vector<float>{1, 0}));
}

TEST(Compare, SelectsBySign) {
  EXPECT_EQ(evaluate<uint32_t>("slct.b32.s32 %d, %a, %b, %c;", U32{1, 1, 1}, U32{2, 2, 2},
                               U32{0, 5, 0xffffffff}),
            (U32{1, 1, 2}));
}

TEST(Compare, TestsFloats) {
  float infinite = INFINITY;
  auto test = [&](const std::string &property) {
    return evaluate<uint32_t>("testp." + property + ".f32 %p, %a; selp.b32 %d, 1, 0, %p;",
                              std::vector<float>{1, infinite, std::nanf(""), 1e-40f});
  };
  EXPECT_EQ(test("finite"), (U32{1, 0, 0, 1}));
  EXPECT_EQ(test("infinite"), (U32{0, 1, 0, 0}));
  EXPECT_EQ(test("number"), (U32{1, 1, 0, 1}));
  EXPECT_EQ(test("notanumber"), (U32{0, 0, 1, 0}));
  EXPECT_EQ(test("normal"), (U32{1, 0, 0, 0}));
  EXPECT_EQ(test("subnormal"), (U32{0, 0, 0, 1}));
}

} // namespace
} // namespace ptxsim
