// Sectors, wavefronts and their ideals, for accesses whose cost one can count on one's fingers.
#include "tests/ptxsim/machine/Counters.h"
#include "tests/ptxsim/unit/OneWarp.h"

namespace ptxsim {
namespace {

// %u: a place in the tile, `stride` bytes from lane to lane; %x likewise in global memory.
std::string places(int stride) {
  std::string bytes = std::to_string(stride);
  return "mad.lo.u32 %u, %lane, " + bytes + ", %s; mul.wide.u32 %x, %lane, " + bytes +
         "; add.s64 %x, %in, %x;\n";
}

// What the code adds to the counters of its kernel.
TrafficCounters counted(const std::string &code) {
  OneWarp warp;
  config().counterFile = "/dev/null";
  config().check = false; // nobody has written the tile
  TrafficCounters before = countersOf("test0");
  warp.run(code, {}, 0);
  TrafficCounters after = countersOf(warp.name);
  for (uint64_t TrafficCounters::*value :
       {&TrafficCounters::globalLoadSectors, &TrafficCounters::globalLoadIdeal,
        &TrafficCounters::globalStoreSectors, &TrafficCounters::globalStoreIdeal,
        &TrafficCounters::sharedLoadWavefronts, &TrafficCounters::sharedLoadIdeal,
        &TrafficCounters::sharedStoreWavefronts, &TrafficCounters::sharedStoreIdeal,
        &TrafficCounters::copyBytes})
    after.*value -= before.*value;
  return after;
}

void expectLoads(const TrafficCounters &counters, uint64_t actual, uint64_t ideal) {
  EXPECT_EQ(counters.sharedLoadWavefronts, actual);
  EXPECT_EQ(counters.sharedLoadIdeal, ideal);
}

TEST(Counters, BanksOfWords) {
  expectLoads(counted(places(4) + "ld.shared.u32 %t, [%u];"), 1, 1);
  expectLoads(counted(places(8) + "ld.shared.u32 %t, [%u];"), 2, 1);
  expectLoads(counted(places(128) + "ld.shared.u32 %t, [%u];"), 32, 1);
  expectLoads(counted(places(124) + "ld.shared.u32 %t, [%u];"), 1, 1); // 31 words: no conflict
  expectLoads(counted(places(0) + "ld.shared.u32 %t, [%u];"), 1, 1);   // one word for all
  expectLoads(counted(places(2) + "ld.shared.u16 %t, [%u];"), 1, 1);   // two lanes a word
}

TEST(Counters, BanksOfVectors) {
  std::string load = ".reg .b32 %v<4>; ld.shared.v4.u32 {%v0, %v1, %v2, %v3}, [%u];";
  expectLoads(counted(places(16) + load), 4, 4);
  expectLoads(counted(places(32) + load), 8, 4);
  expectLoads(counted(places(128) + load), 32, 4);
  expectLoads(counted(places(8) + ".reg .b32 %v<2>; ld.shared.v2.u32 {%v0, %v1}, [%u];"), 2, 2);
}

TEST(Counters, BanksOfMatrices) {
  std::string load = "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%o0, %o1, %o2, %o3}, [%u];";
  expectLoads(counted(places(16) + load), 4, 4);
  expectLoads(counted(places(64) + load), 16, 4); // four rows stand in other banks
  expectLoads(counted(places(128) + load), 32, 4);
  expectLoads(counted(places(112) + load), 4, 4); // seven pieces of 16 bytes: no conflict
}

TEST(Counters, Sectors) {
  auto load = [](int stride) {
    TrafficCounters counters = counted(places(stride) + "ld.global.u32 %t, [%x];");
    return std::pair(counters.globalLoadSectors, counters.globalLoadIdeal);
  };
  EXPECT_EQ(load(4), std::pair(uint64_t(4), uint64_t(4)));
  EXPECT_EQ(load(8), std::pair(uint64_t(8), uint64_t(4)));
  EXPECT_EQ(load(32), std::pair(uint64_t(32), uint64_t(4)));
  EXPECT_EQ(load(0), std::pair(uint64_t(1), uint64_t(1)));
  TrafficCounters store = counted("mul.wide.u32 %x, %lane, 16; add.s64 %x, %out, %x;"
                                  "st.global.u32 [%x], %lane;");
  EXPECT_EQ(store.globalStoreSectors, 16u);
  EXPECT_EQ(store.globalStoreIdeal, 4u);
}

TEST(Counters, CopiesAreBoth) {
  TrafficCounters copy =
      counted(places(32) + "cp.async.cg.shared.global [%u], [%x], 16; cp.async.wait_all;");
  EXPECT_EQ(copy.copyBytes, 512u);
  EXPECT_EQ(copy.globalLoadSectors, 32u);
  EXPECT_EQ(copy.globalLoadIdeal, 16u);
  EXPECT_EQ(copy.sharedStoreWavefronts, 8u);
  EXPECT_EQ(copy.sharedStoreIdeal, 4u);
}

} // namespace
} // namespace ptxsim
