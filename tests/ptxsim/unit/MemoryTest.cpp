// ld, st, atom and red in every space, and addresses that are generic.
#include "tests/ptxsim/unit/Evaluate.h"
#include <numeric>

namespace ptxsim {
namespace {

using U32 = std::vector<uint32_t>;

// Runs the kernel of this body with 32 threads on 32 words in, and returns those out.
U32 run(const std::string &body, U32 in, unsigned threads = 32) {
  Gpu gpu;
  gpu.load(kernel(body));
  in.resize(std::max<size_t>(in.size(), threads), 0);
  CUdeviceptr to = gpu.upload(U32(std::max<size_t>(32, threads), 0)), from = gpu.upload(in);
  gpu.launch("test", {}, {threads}, 0, to, from);
  EXPECT_TRUE(gpu.findings().empty());
  return gpu.download<uint32_t>(to, 32);
}

TEST(Memory, LoadsExtendToTheRegister) {
  U32 in(32, 0x8081fffe);
  EXPECT_EQ(run("ld.global.u8 %r1, [%rd1]; st.global.u32 [%rd0], %r1;", in)[0], 0xfeu);
  EXPECT_EQ(run("ld.global.s8 %r1, [%rd1]; st.global.u32 [%rd0], %r1;", in)[0], 0xfffffffeu);
  EXPECT_EQ(run("ld.global.u16 %r1, [%rd1+2]; st.global.u32 [%rd0], %r1;", in)[0], 0x8081u);
  EXPECT_EQ(run("ld.global.s16 %r1, [%rd1+2]; st.global.u32 [%rd0], %r1;", in)[0], 0xffff8081u);
  EXPECT_EQ(
      run("ld.global.nc.L1::no_allocate.u32 %r1, [%rd1]; st.global.cs.u32 [%rd0], %r1;", in)[0],
      0x8081fffeu);
}

TEST(Memory, StoresTheLowBytes) {
  EXPECT_EQ(run("mov.u32 %r1, 0x12345678; st.global.u8 [%rd0+1], %r1; st.global.u16 [%rd0+2], %r1;",
                {})[3],
            0x56787800u);
}

TEST(Memory, VectorsGoInOrder) {
  U32 in(128);
  std::iota(in.begin(), in.end(), 0u);
  // Thread t reads words 4t.. of `in` and writes the sum of the first and last.
  EXPECT_EQ(run("shl.b32 %r1, %r0, 4; cvt.u64.u32 %rd3, %r1; add.s64 %rd3, %in, %rd3;"
                "ld.global.v4.u32 {%r2, %r3, %r4, %r5}, [%rd3]; sub.s32 %r6, %r5, %r2;"
                "mad.lo.s32 %r6, %r3, 1000, %r6; st.global.u32 [%rd0], %r6;",
                in)[5],
            21003u);
  EXPECT_EQ(run("and.b32 %r1, %r0, 15; shl.b32 %r1, %r1, 3; cvt.u64.u32 %rd3, %r1;"
                "add.s64 %rd3, %out, %rd3; mov.u32 %r2, 7; mov.u32 %r3, 9;"
                "st.global.v2.b32 [%rd3], {%r2, %r3};",
                in)[31],
            9u);
}

TEST(Memory, SharedAndLocalHaveTheirOwnAddresses) {
  // Reversed through shared memory.
  U32 in(32);
  std::iota(in.begin(), in.end(), 100u);
  EXPECT_EQ(run("mov.u32 %r1, tile; shl.b32 %r2, %r0, 2; add.u32 %r1, %r1, %r2;"
                "ld.global.u32 %r3, [%rd1]; st.shared.u32 [%r1], %r3; bar.sync 0;"
                "mov.u32 %r1, tile; sub.u32 %r2, 124, %r2; add.u32 %r1, %r1, %r2;"
                "ld.shared.u32 %r3, [%r1]; st.global.u32 [%rd0], %r3;",
                in)[0],
            131u);
  EXPECT_EQ(run(".local .align 8 .b8 mine[16];\n"
                "mov.u64 %rd3, mine; st.local.u32 [%rd3+4], %r0; ld.local.u32 %r1, [mine+4];"
                "st.global.u32 [%rd0], %r1;",
                {})[9],
            9u);
}

TEST(Memory, GenericAddressesReachAllSpaces) {
  EXPECT_EQ(
      run(".local .align 8 .b8 mine[16];\n"
          "mov.u64 %rd3, tile; cvta.shared.u64 %rd3, %rd3; add.s64 %rd3, %rd3, %rd2;"
          "mov.u64 %rd4, mine; cvta.local.u64 %rd4, %rd4;"
          "st.u32 [%rd3], %r0; st.u32 [%rd4+8], 1000; ld.u32 %r1, [%rd3]; ld.u32 %r2, [%rd4+8];"
          "add.u32 %r1, %r1, %r2; st.u32 [%rd0], %r1;",
          {})[7],
      1007u);
  EXPECT_EQ(run("mov.u64 %rd3, tile; cvta.shared.u64 %rd4, %rd3; cvta.to.shared.u64 %rd4, %rd4;"
                "sub.u64 %rd3, %rd4, %rd3; cvt.u32.u64 %r1, %rd3; st.global.u32 [%rd0], %r1;",
                {})[0],
            0u);
}

TEST(Memory, AtomicsReturnWhatWasThere) {
  U32 out = run("atom.global.add.u32 %r1, [%out], 2; st.global.u32 [%rd0+4], %r1;", {}, 1);
  EXPECT_EQ(out[0], 2u);
  EXPECT_EQ(out[1], 0u);
  EXPECT_EQ(run("red.global.add.u32 [%out], 3;", {})[0], 96u);
  EXPECT_EQ(run("red.global.max.u32 [%out], %r0;", {})[0], 31u);
  EXPECT_EQ(run("atom.global.min.s32 %r1, [%out], -5;", {})[0], 0xfffffffbu);
  EXPECT_EQ(run("atom.global.cas.b32 %r1, [%out], 0, 17;", {})[0], 17u);
  EXPECT_EQ(run("atom.global.exch.b32 %r1, [%out], 5;", {}, 1)[0], 5u);
  EXPECT_EQ(run("atom.global.or.b32 %r1, [%out], %r0;", {})[0], 31u);
  EXPECT_EQ(run("atom.global.inc.u32 %r1, [%out], 2;", {}, 4)[0], 1u); // 0 1 2 0 1
  EXPECT_EQ(run("mov.f32 %f1, 0f3FC00000; red.global.add.f32 [%out], %f1;", {})[0],
            std::bit_cast<uint32_t>(48.0f));
  EXPECT_EQ(run("red.relaxed.gpu.global.add.u32 [%out], 1;", {})[0], 32u);
}

TEST(Memory, AtomicsOnSharedMemoryOfSeveralWarps) {
  EXPECT_EQ(run("setp.eq.u32 %p1, %r0, 0; @%p1 st.shared.u32 [tile], 0; bar.sync 0;"
                "atom.shared.add.u32 %r1, [tile], 1; bar.sync 0; ld.shared.u32 %r2, [tile];"
                "@%p1 st.global.u32 [%rd0], %r2;",
                {}, 128)[0],
            128u);
}

TEST(Memory, ParametersOfAllSizes) {
  Gpu gpu;
  gpu.load(".visible .entry test(.param .u64 out, .param .u8 a, .param .u16 b, .param .f32 c,"
           " .param .align 8 .b8 d[16])\n{\n.reg .b64 %rd<4>; .reg .b32 %r<6>; .reg .b16 %h<4>;"
           " .reg .f32 %f<4>;\nld.param.u64 %rd1, [out]; ld.param.u8 %h1, [a];"
           " ld.param.u16 %h2, [b]; ld.param.f32 %f1, [c]; ld.param.u32 %r1, [d+12];"
           " st.global.u16 [%rd1], %h1; st.global.u16 [%rd1+2], %h2; st.global.f32 [%rd1+4], %f1;"
           " st.global.u32 [%rd1+8], %r1; ret; }");
  struct alignas(8) Block {
    uint32_t words[4];
  };
  CUdeviceptr out = gpu.upload(U32(3, 0));
  gpu.launch("test", {}, {1}, 0, out, uint8_t(200), uint16_t(60000), 1.5f, Block{{1, 2, 3, 4}});
  EXPECT_TRUE(gpu.findings().empty());
  EXPECT_EQ(gpu.download<uint32_t>(out, 3),
            (U32{200u | 60000u << 16, std::bit_cast<uint32_t>(1.5f), 4}));
}

TEST(Memory, VariablesOfTheModule) {
  Gpu gpu;
  gpu.load(".global .align 4 .u32 count = 41;\n.const .align 4 .b32 table[4] = {1, 2, 3};\n" +
           kernel("ld.global.u32 %r1, [count]; mov.u64 %rd3, table; ld.const.u32 %r2, [%rd3+8];"
                  "ld.const.u32 %r3, [table+12]; add.u32 %r1, %r1, %r2; add.u32 %r1, %r1, %r3;"
                  "st.global.u32 [%rd0], %r1;"));
  CUdeviceptr out = gpu.upload(U32(32, 0)), in = gpu.upload(U32(32, 0));
  gpu.launch("test", {}, {32}, 0, out, in);
  EXPECT_TRUE(gpu.findings().empty());
  EXPECT_EQ(gpu.download<uint32_t>(out, 1)[0], 44u);
}

TEST(Memory, DynamicSharedBeginsAtItsOwnAlignmentOnly) {
  Gpu gpu;
  gpu.load(".extern .shared .align 16 .b8 dynamic[];\n"
           ".visible .entry test(.param .u64 out) { .reg .b64 %rd<4>; .reg .b32 %r<4>;\n"
           "ld.param.u64 %rd1, [out]; mov.u32 %r1, dynamic; st.global.u32 [%rd1], %r1;"
           " st.shared.u32 [dynamic+60], 5; ret; }");
  CUdeviceptr out = gpu.allocate(4);
  gpu.launch("test", {}, {1}, 64, out);
  EXPECT_TRUE(gpu.findings().empty());
  EXPECT_EQ(gpu.download<uint32_t>(out, 1)[0] % 32, 16u);
  gpu.launch("test", {}, {1}, 60, out);
  EXPECT_EQ(gpu.findings(), std::vector{ReportKind::OutOfBounds});
}

} // namespace
} // namespace ptxsim
