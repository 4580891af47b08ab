// wgmma against a matrix product written down plainly: layouts of operands and accumulators by
// tables, and what must stand between a product and those who write its operands or read its sums.
#include "tests/ptxsim/unit/Fragments.h"
#include "tests/ptxsim/unit/Gpu.h"
#include <bit>
#include <random>

namespace ptxsim {
namespace {

// Where 16-byte piece p of row r of a pattern of eight rows of 128 bytes stands.
constexpr int swizzled128[8][8] = {
    {0, 1, 2, 3, 4, 5, 6, 7}, {1, 0, 3, 2, 5, 4, 7, 6}, {2, 3, 0, 1, 6, 7, 4, 5},
    {3, 2, 1, 0, 7, 6, 5, 4}, {4, 5, 6, 7, 0, 1, 2, 3}, {5, 4, 7, 6, 1, 0, 3, 2},
    {6, 7, 4, 5, 2, 3, 0, 1}, {7, 6, 5, 4, 3, 2, 1, 0},
};

uint16_t bf16Of(float value) { return static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16); }
// A binary16 of an integer up to 2048.
uint16_t f16Of(float value) {
  if (value == 0)
    return 0;
  uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits >> 16 & 0x8000) | ((bits >> 23 & 0xff) - 112) << 10 |
                               (bits >> 13 & 0x3ff));
}

// [outer][k] numbers of a matrix, outer: rows of A, columns of B.
struct Matrix {
  int outer, depth;
  std::vector<float> values;
  float &at(int o, int k) { return values[static_cast<size_t>(o * depth + k)]; }
};
Matrix integers(int outer, int depth, unsigned seed) {
  std::mt19937 random(seed);
  Matrix m{outer, depth, std::vector<float>(static_cast<size_t>(outer * depth))};
  for (float &value : m.values)
    value = static_cast<float>(static_cast<int>(random() % 31) - 15);
  return m;
}

struct Layout {
  bool transposed, swizzled;
};

constexpr uint32_t aBegin = 1024, bBegin = 17 * 1024, imageBytes = 49 * 1024;

class Warpgroup : public testing::Test {
protected:
  Warpgroup() : image(imageBytes, 0) { config().mma = MmaMode::Sequential; }

  void put(uint32_t at, float value) {
    uint16_t bits = bf16 ? bf16Of(value) : f16Of(value);
    std::memcpy(&image.at(at), &bits, 2);
  }

  // Lays a matrix of depth 64 from `begin` on; strides are those of `descriptorOf`.
  void lay(uint32_t begin, Matrix m, Layout layout) {
    for (int o = 0; o < m.outer; ++o)
      for (int k = 0; k < m.depth; ++k) {
        int outer = layout.transposed ? k : o, inner = layout.transposed ? o : k;
        int at = 0;
        if (!layout.swizzled) { // cores of 8 x 16 bytes: 128 apart along the outer, 2048 along k
          int core = o / 8 * 128 + k / 8 * 2048;
          at = core + outer % 8 * 16 + inner % 8 * 2;
        } else if (layout.transposed) { // 64 of the outer a row; 8 k's 1024 apart, next 64 8192
          at = o / 64 * 8192 + k / 8 * 1024 + k % 8 * 128 + swizzled128[k % 8][o % 64 / 8] * 16 +
               o % 8 * 2;
        } else { // 64 k's a row, 8 rows 1024 apart
          at = o / 8 * 1024 + o % 8 * 128 + swizzled128[o % 8][k / 8] * 16 + k % 8 * 2;
        }
        put(begin + static_cast<uint32_t>(at), m.at(o, k));
      }
  }
  // Of 16 steps of k from `step` * 16 on.
  static uint64_t descriptorOf(uint32_t begin, Layout layout, int step) {
    auto fields = [](uint64_t start, uint64_t leading, uint64_t stride, uint64_t swizzle) {
      return start / 16 | leading / 16 << 16 | stride / 16 << 32 | swizzle << 62;
    };
    uint64_t from = static_cast<uint64_t>(step);
    if (!layout.swizzled) // none, of either major: 8 of the outer by stride, 8 of k by leading
      return fields(begin + from * 2 * 2048, 2048, 128, 0);
    return layout.transposed ? fields(begin + from * 2048, 8192, 1024, 1)
                             : fields(begin + from * 32, 16, 1024, 1);
  }

  static std::string number(uint64_t value) { return std::to_string(value); }
  std::string sums() const {
    std::string text = "{";
    for (int k = 0; k < columns / 2; ++k)
      text += (k ? ", %d" : "%d") + number(static_cast<uint64_t>(k));
    return text + "}";
  }
  std::string product(uint64_t a, uint64_t b, const std::string &tail = "1, 1, 0, 0",
                      const std::string &adds = "%yes") const {
    std::string type = bf16 ? "bf16" : "f16";
    return "shr.u32 %v, %s, 4; cvt.u64.u32 %x, %v; add.s64 %da, %x, " + number(a) +
           "; add.s64 %db, %x, " + number(b) + ";\nwgmma.mma_async.sync.aligned.m64n" +
           number(static_cast<uint64_t>(columns)) + "k16.f32." + type + "." + type + " " + sums() +
           ", %da, %db, " + adds + ", " + tail + ";\n";
  }
  static std::string write() { return "st.shared.u32 [%at], 0;\n"; }

  // Runs 128 threads: the image is written to shared memory, then `filled`, then `code`; the sums
  // of each thread are returned. Accumulators begin as `initial`.
  std::vector<float> run(const std::string &code, const std::string &filled = fenceAndBarrier,
                         float initial = 0) {
    auto f = [](float value) { return "0f" + hex8(std::bit_cast<uint32_t>(value)); };
    std::string name = "test" + number(runs++);
    std::string ptx = ".version 8.0\n.target sm_90a\n.address_size 64\n"
                      ".extern .shared .align 1024 .b8 tile[];\n.visible .entry " +
                      name +
                      "(.param .u64 image, .param .u64 out)\n{\n.reg .b32 %t, %v, %at, %warp, %s;\n"
                      ".reg .f32 %d<128>;\n.reg .b64 %x, %from, %da, %db;\n"
                      ".reg .pred %p, %yes, %no;\n"
                      "setp.eq.u32 %yes, 0, 0; setp.ne.u32 %no, 0, 0;\n"
                      "mov.u32 %t, %tid.x; shr.u32 %warp, %t, 5; ld.param.u64 %from, [image];\n"
                      "mul.wide.u32 %x, %t, 4; add.s64 %from, %from, %x;\n"
                      "mov.u32 %s, tile; mad.lo.u32 %at, %t, 4, %s;\n";
    for (uint32_t at = 0; at < imageBytes; at += 512)
      ptx += "ld.global.u32 %v, [%from+" + number(at) + "]; st.shared.u32 [%at+" + number(at) +
             "], %v;\n";
    for (int k = 0; k < columns / 2; ++k)
      ptx += "mov.f32 %d" + number(static_cast<uint64_t>(k)) + ", " + f(initial) + ";\n";
    ptx += filled + code +
           "ld.param.u64 %from, [out]; mul.wide.u32 %x, %t, 512; "
           "add.s64 %from, %from, %x;\n";
    for (int k = 0; k < columns / 2; ++k)
      ptx += "st.global.f32 [%from+" + number(static_cast<uint64_t>(4 * k)) + "], %d" +
             number(static_cast<uint64_t>(k)) + ";\n";
    gpu.load(ptx + "ret;\n}\n");
    CUdeviceptr out = gpu.allocate(128 * 512);
    gpu.launch(name, {}, {128}, imageBytes, gpu.upload(image), out);
    return gpu.download<float>(out, 128 * 128);
  }
  static std::string hex8(uint32_t bits) {
    char text[9];
    std::snprintf(text, sizeof text, "%08x", bits);
    return text;
  }

  // The sum of row, column: four warps have 16 rows each, eight columns four registers.
  static float sumAt(const std::vector<float> &all, int row, int column) {
    int lane = laneOf8x8[row % 8][column % 8],
        reg = column / 8 * 4 + (row % 16 < 8 ? upperOfC : lowerOfC)[column % 8];
    return all[static_cast<size_t>((row / 16 * 32 + lane) * 128 + reg)];
  }

  using Kinds = std::vector<ReportKind>;
  static constexpr const char *fenceAndBarrier = "fence.proxy.async.shared::cta; bar.sync 0;\n";
  static constexpr const char *fence = "wgmma.fence.sync.aligned;\n";
  static constexpr const char *commit = "wgmma.commit_group.sync.aligned;\n";
  static std::string wait(int groups) {
    return "wgmma.wait_group.sync.aligned " + std::to_string(groups) + ";\n";
  }
  // One product between its fence and its wait.
  std::string whole(const std::string &products) const {
    return fence + products + commit + wait(0);
  }
  std::string one() const {
    Layout plain{false, true};
    return product(descriptorOf(aBegin, plain, 0), descriptorOf(bBegin, plain, 0));
  }

  Gpu gpu;
  std::vector<uint8_t> image;
  bool bf16 = true;
  int columns = 8;
  size_t runs = 0;
};

// a [64, 64], b [columns, 64] in each layout, in four steps of k onto accumulators that hold 5.
TEST_F(Warpgroup, OperandsAndSumsHaveTheirPlaces) {
  for (int n : {8, 64, 128, 200, 256})
    for (Layout a :
         {Layout{false, true}, Layout{false, false}, Layout{true, true}, Layout{true, false}})
      for (Layout b :
           {Layout{false, true}, Layout{false, false}, Layout{true, true}, Layout{true, false}}) {
        if ((!a.swizzled || !b.swizzled) && n > 128)
          continue; // their image has place for 128 columns
        columns = n;
        bf16 = n != 64;
        Matrix left = integers(64, 64, 1), right = integers(n, 64, 2);
        std::fill(image.begin(), image.end(), 0);
        lay(aBegin, left, a), lay(bBegin, right, b);
        std::string code;
        for (int step = 0; step < 4; ++step)
          code += product(descriptorOf(aBegin, a, step), descriptorOf(bBegin, b, step),
                          std::string("1, 1, ") + (a.transposed ? "1, " : "0, ") +
                              (b.transposed ? "1" : "0"));
        std::vector<float> sums = run(whole(code), fenceAndBarrier, 5);
        ASSERT_TRUE(gpu.findings().empty());
        for (int row = 0; row < 64; ++row)
          for (int column = 0; column < n; ++column) {
            float sum = 5;
            for (int k = 0; k < 64; ++k)
              sum += left.at(row, k) * right.at(column, k);
            ASSERT_EQ(sumAt(sums, row, column), sum)
                << row << " " << column << " of " << n << " a " << a.transposed << a.swizzled
                << " b " << b.transposed << b.swizzled;
          }
      }
}

TEST_F(Warpgroup, SignsAndFirstProducts) {
  Matrix left = integers(64, 16, 3), right = integers(8, 16, 4);
  lay(aBegin, left, {false, true}), lay(bBegin, right, {false, true});
  uint64_t a = descriptorOf(aBegin, {false, true}, 0), b = descriptorOf(bBegin, {false, true}, 0);
  float plain = 0;
  for (int k = 0; k < 16; ++k)
    plain += left.at(17, k) * right.at(3, k);
  EXPECT_EQ(sumAt(run(whole(product(a, b, "1, 1, 0, 0", "%no")), fenceAndBarrier, 9), 17, 3),
            plain);
  EXPECT_EQ(sumAt(run(whole(product(a, b, "-1, 1, 0, 0")), fenceAndBarrier, 9), 17, 3), 9 - plain);
  EXPECT_EQ(sumAt(run(whole(product(a, b, "1, -1, 0, 0")), fenceAndBarrier, 9), 17, 3), 9 - plain);
  EXPECT_EQ(sumAt(run(whole(product(a, b, "-1, -1, 0, 0")), fenceAndBarrier, 9), 17, 3), 9 + plain);
  EXPECT_TRUE(gpu.findings().empty());
}

// Three groups; after wait_group N the registers of all but the newest N hold their sums.
TEST_F(Warpgroup, GroupsCompleteInOrder) {
  Matrix left = integers(64, 16, 3), right = integers(8, 16, 4);
  lay(aBegin, left, {false, true}), lay(bBegin, right, {false, true});
  run(fence + one() + commit + one() + commit + wait(1) + wait(0));
  EXPECT_EQ(gpu.findings(), Kinds{});
  auto sums = run(fence + one() + commit + wait(1)); // still on its way
  EXPECT_EQ(std::bit_cast<uint32_t>(sumAt(sums, 0, 0)), 0xcdcdcdcdu);
  EXPECT_EQ(gpu.findings(), Kinds{ReportKind::PendingProduct});
  sums = run(fence + one() + wait(0)); // not committed
  EXPECT_EQ(gpu.findings(), Kinds{ReportKind::PendingProduct});
}

TEST_F(Warpgroup, AccumulatorsAreNobodysUntilTheWait) {
  run(fence + one() + commit + "add.f32 %d1, %d1, %d1;\n" + wait(0));
  EXPECT_EQ(gpu.findings(), Kinds{ReportKind::PendingProduct});
  run(fence + one() + commit + "mov.f32 %d3, 0f00000000;\n" + wait(0));
  EXPECT_EQ(gpu.findings(), Kinds{ReportKind::PendingProduct});
}

TEST_F(Warpgroup, RegistersNeedAFence) {
  run(one() + commit + wait(0));
  EXPECT_EQ(gpu.findings(), Kinds{ReportKind::UnfencedProduct});
  run(whole(one()) + "add.f32 %d1, %d1, %d1;\n" + one() + commit + wait(0));
  EXPECT_EQ(gpu.findings(), Kinds{ReportKind::UnfencedProduct});
  run(whole(one()) + one() + commit + wait(0)); // nobody else has touched them
  EXPECT_EQ(gpu.findings(), Kinds{});
}

TEST_F(Warpgroup, OperandsMustNotChangeUntilTheWait) {
  std::string place = "add.u32 %at, %s, 1024; mad.lo.u32 %at, %t, 8, %at;\n"; // of A
  run(place + fence + one() + commit + write() + wait(0));
  EXPECT_EQ(gpu.findings(), Kinds{ReportKind::SharedRace});
  run(place + whole(one()) + write()); // warps have waited for themselves, not for the others
  EXPECT_EQ(gpu.findings(), Kinds{ReportKind::SharedRace});
  run(place + whole(one()) + "bar.sync 0;\n" + write());
  EXPECT_EQ(gpu.findings(), Kinds{});
}

TEST_F(Warpgroup, WritersFenceTheProxyBeforeTheBarrier) {
  run(whole(one()), "fence.proxy.async; bar.sync 0;\n");
  EXPECT_EQ(gpu.findings(), Kinds{});
  run(whole(one()), "bar.sync 0;\n");
  EXPECT_EQ(gpu.findings(), Kinds{ReportKind::ProxyRace});
  run(whole(one()), "fence.proxy.async.global; bar.sync 0;\n");
  EXPECT_EQ(gpu.findings(), Kinds{ReportKind::ProxyRace});
  // Behind the barrier it is that of the reader, who has not written the bytes.
  run(whole(one()), "bar.sync 0; fence.proxy.async.shared::cta;\n");
  EXPECT_EQ(gpu.findings(), Kinds{ReportKind::ProxyRace});
  run(whole(one()), "fence.proxy.async.shared::cta;\n"); // the other warps' rows of B
  EXPECT_EQ(gpu.findings(),
            (Kinds{ReportKind::UninitialisedRead, ReportKind::SharedRace, ReportKind::ProxyRace}));
  // Only three of the warps.
  run(whole(one()), "setp.lt.u32 %p, %warp, 3; @%p fence.proxy.async.shared::cta; bar.sync 0;\n");
  EXPECT_EQ(gpu.findings(), Kinds{ReportKind::ProxyRace});
}

// A copy is a write of who waited for it.
TEST_F(Warpgroup, CopiesNeedTheFenceBehindTheirWait) {
  std::string copy =
      "bar.sync 0; add.u32 %at, %s, 1024; mad.lo.u32 %at, %t, 16, %at; ld.param.u64 %from, "
      "[image];\ncp.async.cg.shared.global [%at], [%from], 16;\n";
  run(whole(one()), copy + "cp.async.wait_all; fence.proxy.async; bar.sync 0;\n");
  EXPECT_EQ(gpu.findings(), Kinds{});
  run(whole(one()), copy + "fence.proxy.async; cp.async.wait_all; bar.sync 0;\n");
  EXPECT_EQ(gpu.findings(), Kinds{ReportKind::ProxyRace});
  run(whole(one()), copy + "fence.proxy.async; bar.sync 0;\n");
  EXPECT_EQ(gpu.findings(), Kinds{ReportKind::PendingCopy});
}

TEST_F(Warpgroup, FourWarpsDoTheSame) {
  run("setp.eq.u32 %p, %warp, 2; @%p bra.uni AROUND;\n" + whole(one()) + "AROUND:\n");
  EXPECT_EQ(gpu.findings(), Kinds{ReportKind::DivergentSync});
  std::string other =
      product(descriptorOf(aBegin, {false, true}, 1), descriptorOf(bBegin, {false, true}, 0));
  run("setp.eq.u32 %p, %warp, 2; @%p bra.uni OTHER;\n" + whole(one()) + "bra.uni DONE;\nOTHER:\n" +
      whole(other) + "DONE:\n");
  EXPECT_EQ(gpu.findings(), Kinds{ReportKind::DivergentSync});
}

TEST_F(Warpgroup, DescriptorsThatAreNotKnown) {
  uint64_t good = descriptorOf(aBegin, {false, true}, 0);
  auto tried = [&](uint64_t a) {
    run(whole(product(a, descriptorOf(bBegin, {false, true}, 0))));
    return gpu.findings();
  };
  EXPECT_EQ(tried(good), Kinds{});
  EXPECT_EQ(tried((good & ~(uint64_t(3) << 62)) | uint64_t(2) << 62),
            Kinds{ReportKind::BadOperand});
  EXPECT_EQ(tried(good | uint64_t(1) << 49), Kinds{ReportKind::BadOperand});
  EXPECT_EQ(tried(good + 128 / 16), Kinds{ReportKind::BadOperand}); // not at a multiple of 1024
  EXPECT_EQ(tried(good + 48 * 1024 / 16), Kinds{ReportKind::OutOfBounds});
}

} // namespace
} // namespace ptxsim
