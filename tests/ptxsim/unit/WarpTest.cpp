// Lanes that talk to each other, and lanes that part and meet again.
#include "tests/ptxsim/unit/Evaluate.h"
#include <numeric>

namespace ptxsim {
namespace {

using U32 = std::vector<uint32_t>;

U32 lanesFrom(uint32_t first) {
  U32 values(32);
  std::iota(values.begin(), values.end(), first);
  return values;
}

TEST(Shuffle, Butterfly) {
  U32 result = evaluate<uint32_t>("shfl.sync.bfly.b32 %d, %a, 5, 31, -1;", lanesFrom(0));
  for (uint32_t lane = 0; lane < 32; ++lane)
    EXPECT_EQ(result[lane], lane ^ 5);
}

TEST(Shuffle, UpAndDownStopAtTheEdge) {
  U32 up = evaluate<uint32_t>("shfl.sync.up.b32 %d|%p, %a, 3, 0, -1; @!%p add.u32 %d, %d, 100;",
                              lanesFrom(0));
  U32 down = evaluate<uint32_t>(
      "shfl.sync.down.b32 %d|%p, %a, 3, 31, -1; @!%p add.u32 %d, %d, 100;", lanesFrom(0));
  for (uint32_t lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(up[lane], lane >= 3 ? lane - 3 : lane + 100);
    EXPECT_EQ(down[lane], lane < 29 ? lane + 3 : lane + 100);
  }
}

TEST(Shuffle, StaysWithinSegments) {
  // Segments of 8: the mask in bits 8-12 is 24, the clamp 7 or 0 within each.
  U32 index = evaluate<uint32_t>("shfl.sync.idx.b32 %d, %a, 2, 0x1807, -1;", lanesFrom(0));
  U32 down = evaluate<uint32_t>("shfl.sync.down.b32 %d|%p, %a, 1, 0x1807, -1; @!%p mov.u32 %d, 99;",
                                lanesFrom(0));
  for (uint32_t lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(index[lane], lane / 8 * 8 + 2);
    EXPECT_EQ(down[lane], lane % 8 < 7 ? lane + 1 : 99);
  }
}

TEST(Vote, CountsAllLanes) {
  EXPECT_EQ(evaluate<uint32_t>("setp.lt.u32 %p, %a, 5; vote.sync.ballot.b32 %d, %p, -1;",
                               lanesFrom(0))[9],
            0x1fu);
  auto vote = [](const std::string &mode) {
    return evaluate<uint32_t>("setp.lt.u32 %p, %a, 5; vote.sync." + mode +
                                  ".pred %q, %p, -1; selp.b32 %d, 1, 0, %q;",
                              lanesFrom(0))[3];
  };
  EXPECT_EQ(vote("any"), 1u);
  EXPECT_EQ(vote("all"), 0u);
  EXPECT_EQ(vote("uni"), 0u);
  EXPECT_EQ(evaluate<uint32_t>("setp.lt.u32 %p, %a, 99; vote.sync.all.pred %q, !%p, -1;"
                               "selp.b32 %d, 1, 0, %q;",
                               lanesFrom(0))[3],
            0u);
}

TEST(Match, FindsEqualLanes) {
  U32 any = evaluate<uint32_t>("and.b32 %t, %a, 3; match.any.sync.b32 %d, %t, -1;", lanesFrom(0));
  EXPECT_EQ(any[6], 0x44444444u);
  EXPECT_EQ(evaluate<uint32_t>("match.all.sync.b32 %d|%p, %a, -1;", U32(32, 7))[0], 0xffffffffu);
  EXPECT_EQ(evaluate<uint32_t>("match.all.sync.b32 %d|%p, %a, -1;", lanesFrom(0))[0], 0u);
}

TEST(Warp, ReducesAndNamesItself) {
  EXPECT_EQ(evaluate<uint32_t>("redux.sync.add.u32 %d, %a, -1;", lanesFrom(0))[3], 496u);
  EXPECT_EQ(evaluate<uint32_t>("redux.sync.min.s32 %d, %a, -1;", lanesFrom(0xfffffff0))[3],
            0xfffffff0u);
  EXPECT_EQ(evaluate<uint32_t>("mov.u32 %d, %lanemask_lt;", lanesFrom(0))[5], 0x1fu);
  EXPECT_EQ(evaluate<uint32_t>("mov.u32 %d, %lanemask_ge;", lanesFrom(0))[5], 0xffffffe0u);
  EXPECT_EQ(evaluate<uint32_t>("setp.lt.u32 %p, %a, 8; mov.u32 %d, 0; @!%p bra LATER;"
                               "activemask.b32 %d;\nLATER:",
                               lanesFrom(0)),
            [] {
              U32 expected(32, 0);
              std::fill(expected.begin(), expected.begin() + 8, 0xffu);
              return expected;
            }());
}

// Branches that part the lanes: each body ends with the whole warp at a shfl, which demands that
// they have met.
U32 meets(const std::string &code) {
  return evaluate<uint32_t>(code + "\nshfl.sync.bfly.b32 %d, %d, 0, 31, -1;", lanesFrom(0));
}

TEST(Divergence, IfAndElseMeet) {
  U32 result = meets("and.b32 %t, %a, 1; setp.eq.u32 %p, %t, 0; @%p bra EVEN;\n"
                     "mul.lo.u32 %d, %a, 3; bra.uni DONE;\nEVEN: mul.lo.u32 %d, %a, 5;\nDONE:");
  for (uint32_t lane = 0; lane < 32; ++lane)
    EXPECT_EQ(result[lane], lane % 2 ? lane * 3 : lane * 5);
}

TEST(Divergence, LoopsOfDifferentLengthMeet) {
  U32 result = meets("mov.u32 %d, 0; mov.u32 %t, 0;\n"
                     "LOOP: setp.ge.u32 %p, %t, %a; @%p bra DONE;\n"
                     "add.u32 %d, %d, %t; add.u32 %t, %t, 1; bra LOOP;\nDONE:");
  for (uint32_t lane = 0; lane < 32; ++lane)
    EXPECT_EQ(result[lane], lane * (lane - 1) / 2);
}

// A block that stands behind the end of the loop in the text, but before the meeting place in the
// flow.
TEST(Divergence, BlocksOutOfOrderMeet) {
  U32 result = meets("and.b32 %t, %a, 1; setp.eq.u32 %p, %t, 0; @%p bra FAR;\n"
                     "mov.u32 %d, 1;\nJOIN: add.u32 %d, %d, 10; bra.uni DONE;\n"
                     "FAR: mov.u32 %d, 2; bra.uni JOIN;\nDONE:");
  for (uint32_t lane = 0; lane < 32; ++lane)
    EXPECT_EQ(result[lane], lane % 2 ? 11u : 12u);
}

// The loop's exit stands before its body.
TEST(Divergence, ExitsBeforeTheBodyMeet) {
  U32 result = meets("mov.u32 %d, 0; mov.u32 %t, 0; bra.uni HEAD;\n"
                     "LEAVE: add.u32 %d, %d, 1000; bra.uni DONE;\n"
                     "HEAD: setp.ge.u32 %p, %t, %a; @%p bra LEAVE;\n"
                     "add.u32 %t, %t, 1; add.u32 %d, %d, 1; bra HEAD;\nDONE:");
  for (uint32_t lane = 0; lane < 32; ++lane)
    EXPECT_EQ(result[lane], lane + 1000);
}

TEST(Divergence, LanesThatLeftAreNotWaitedFor) {
  Gpu gpu;
  gpu.load(kernel("setp.ge.u32 %p1, %r0, 8; @%p1 ret; mov.u32 %r1, 1; bar.warp.sync 0xff;"
                  "bar.sync 0; st.global.u32 [%rd0], %r1;"));
  CUdeviceptr out = gpu.upload(U32(64, 0)), in = gpu.upload(U32(64, 0));
  gpu.launch("test", {}, {64}, 0, out, in);
  EXPECT_TRUE(gpu.findings().empty());
  U32 result = gpu.download<uint32_t>(out, 64);
  EXPECT_EQ(std::accumulate(result.begin(), result.end(), 0u), 8u);
}

TEST(Barrier, NamedOnesLetProducersAndConsumersMeet) {
  // Warp 1 fills the tile and arrives; warp 0 waits, reads, and lets the other go on by barrier 2.
  std::string body = "setp.lt.u32 %p1, %r0, 32; and.b32 %r1, %r0, 31; shl.b32 %r2, %r1, 2;"
                     "mov.u32 %r3, tile; add.u32 %r3, %r3, %r2; @%p1 bra CONSUMER;\n"
                     "add.u32 %r4, %r1, 7; st.shared.u32 [%r3], %r4; bar.arrive 1, 64;"
                     "bar.sync 2, 64; st.shared.u32 [%r3], 0; bra.uni DONE;\n"
                     "CONSUMER: bar.sync 1, 64; ld.shared.u32 %r5, [%r3];"
                     "st.global.u32 [%rd0], %r5; bar.arrive 2, 64;\nDONE:";
  for (uint64_t seed : {0, 1, 2, 3}) {
    Gpu gpu;
    config().seed = seed;
    gpu.load(kernel(body));
    CUdeviceptr out = gpu.upload(U32(64, 0)), in = gpu.upload(U32(64, 0));
    gpu.launch("test", {}, {64}, 0, out, in);
    EXPECT_TRUE(gpu.findings().empty()) << seed;
    EXPECT_EQ(gpu.download<uint32_t>(out, 64)[31], 38u);
  }
}

TEST(Launch, NumbersThreadsAndBlocksOnThreeAxes) {
  Gpu gpu;
  gpu.load(
      ".visible .entry test(.param .u64 out) { .reg .b64 %rd<4>; .reg .b32 %r<20>;\n"
      "ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; mov.u32 %r2, %tid.y; mov.u32 %r3, %tid.z;"
      "mov.u32 %r4, %ntid.x; mov.u32 %r5, %ntid.y; mov.u32 %r6, %ctaid.x; mov.u32 %r7, %ctaid.y;"
      "mov.u32 %r8, %ctaid.z; mov.u32 %r9, %nctaid.x; mov.u32 %r10, %nctaid.y;"
      "mov.u32 %r16, %ntid.z; mov.u32 %r17, %nctaid.z;"
      // ((z*ny + y)*nx + x) of the block, times the threads, plus that of the thread
      "mad.lo.u32 %r11, %r8, %r10, %r7; mad.lo.u32 %r11, %r11, %r9, %r6;"
      "mad.lo.u32 %r12, %r3, %r5, %r2; mad.lo.u32 %r12, %r12, %r4, %r1;"
      "mul.lo.u32 %r13, %r4, %r5; mul.lo.u32 %r13, %r13, %r16; mad.lo.u32 %r14, %r11, %r13, %r12;"
      "mul.wide.u32 %rd2, %r14, 4; add.s64 %rd1, %rd1, %rd2; st.global.u32 [%rd1], %r14; ret; }");
  constexpr size_t count = 2 * 3 * 4 * 5 * 3 * 2;
  CUdeviceptr out = gpu.upload(U32(count, 0));
  gpu.launch("test", {2, 3, 4}, {5, 3, 2}, 0, out);
  EXPECT_TRUE(gpu.findings().empty());
  U32 expected(count);
  std::iota(expected.begin(), expected.end(), 0u);
  EXPECT_EQ(gpu.download<uint32_t>(out, count), expected);
}

} // namespace
} // namespace ptxsim
