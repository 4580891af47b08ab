// cp.async: when the bytes are there, how many come from the source, what the forms demand.
#include "tests/ptxsim/unit/OneWarp.h"
#include <numeric>

namespace ptxsim {
namespace {

constexpr uint32_t poisonWord = 0xcdcdcdcd;

// Words 1000, 1001 … as the source, and a tile of known words.
class AsyncCopy : public testing::Test {
protected:
  AsyncCopy() {
    warp.global.resize(1024);
    std::iota(warp.global.begin(), warp.global.end(), 1000u);
    warp.shared.assign(1024, 7);
  }
  // %u is the lane's place in the tile and %x in the source, `bytes` for each lane.
  static std::string places(int bytes) {
    std::string size = std::to_string(bytes);
    return "mad.lo.u32 %u, %lane, " + size + ", %s; mul.wide.u32 %x, %lane, " + size +
           "; add.s64 %x, %in, %x;\n";
  }
  static std::string load(int result, int at = 0) {
    return "ld.shared.u32 %o" + std::to_string(result) + ", [%u+" + std::to_string(at) + "];\n";
  }
  using Kinds = std::vector<ReportKind>;
  OneWarp warp;
};

TEST_F(AsyncCopy, BytesAreThereAfterTheWait) {
  for (int bytes : {4, 8, 16})
    for (const char *cache : {"ca", "cg", "ca.L2::128B"}) {
      if (bytes != 16 && std::string(cache) == "cg")
        continue;
      std::string form = std::string("cp.async.") + cache;
      if (form.find("L2") != form.npos)
        form = "cp.async.ca.shared.global.L2::128B";
      else
        form += ".shared.global";
      auto result =
          warp.run(places(bytes) + form + " [%u], [%x], " + std::to_string(bytes) +
                       "; cp.async.commit_group; cp.async.wait_group 0;\n" + load(0, bytes - 4),
                   {}, 1);
      EXPECT_TRUE(warp.gpu.findings().empty());
      for (uint32_t lane = 0; lane < 32; ++lane)
        EXPECT_EQ(result[0][lane], 1000 + static_cast<uint32_t>(bytes) / 4 * (lane + 1) - 1);
    }
}

TEST_F(AsyncCopy, BytesAreNotThereBeforeTheWait) {
  for (const char *between : {"", "cp.async.commit_group;", "bar.sync 0;", "cp.async.wait_group 0;",
                              "cp.async.commit_group; cp.async.wait_group 1;"}) {
    auto result = warp.run(places(4) + "cp.async.ca.shared.global [%u], [%x], 4;" + between +
                               load(0) + "cp.async.wait_all;",
                           {}, 1);
    EXPECT_EQ(result[0][3], poisonWord) << between;
    EXPECT_EQ(warp.gpu.findings(), Kinds{ReportKind::PendingCopy}) << between;
  }
}

TEST_F(AsyncCopy, WaitAllNeedsNoCommit) {
  auto result = warp.run(places(4) +
                             "cp.async.ca.shared.global [%u], [%x], 4;"
                             "cp.async.wait_all;" +
                             load(0),
                         {}, 1);
  EXPECT_TRUE(warp.gpu.findings().empty());
  EXPECT_EQ(result[0][31], 1031u);
}

// Three groups; after wait_group N all but the newest N are there.
TEST_F(AsyncCopy, GroupsCompleteInOrder) {
  for (int pending = 0; pending <= 3; ++pending) {
    std::string code = places(4);
    for (int group : {0, 1, 2}) {
      std::string at = std::to_string(128 * group);
      code +=
          "cp.async.ca.shared.global [%u+" + at + "], [%x+" + at + "], 4; cp.async.commit_group;\n";
    }
    code += "cp.async.wait_group " + std::to_string(pending) + ";\n" + load(0) + load(1, 128) +
            load(2, 256) + "cp.async.wait_all;";
    auto result = warp.run(code, {}, 3);
    for (int group : {0, 1, 2})
      EXPECT_EQ(result[group][5],
                group < 3 - pending ? 1005u + 32 * static_cast<uint32_t>(group) : poisonWord)
          << "group " << group << ", wait_group " << pending;
    EXPECT_EQ(warp.gpu.findings(), pending ? Kinds{ReportKind::PendingCopy} : Kinds{});
  }
}

TEST_F(AsyncCopy, EmptyGroupsCount) {
  auto result = warp.run(places(4) +
                             "cp.async.ca.shared.global [%u], [%x], 4;"
                             "cp.async.commit_group; cp.async.commit_group;"
                             "cp.async.wait_group 1;" +
                             load(0),
                         {}, 1);
  EXPECT_TRUE(warp.gpu.findings().empty());
  EXPECT_EQ(result[0][0], 1000u);
}

TEST_F(AsyncCopy, WhatTheSourceSizeLeavesOutIsZero) {
  for (uint32_t size : {0u, 4u, 8u, 12u, 16u}) {
    Register sizes;
    sizes.fill(size);
    auto result = warp.run(places(16) +
                               "cp.async.cg.shared.global [%u], [%x], 16, %i0;"
                               "cp.async.wait_all;" +
                               load(0) + load(1, 4) + load(2, 8) + load(3, 12),
                           {sizes}, 4);
    EXPECT_TRUE(warp.gpu.findings().empty());
    for (uint32_t word = 0; word < 4; ++word)
      EXPECT_EQ(result[word][9], word * 4 < size ? 1036 + word : 0) << size;
  }
}

TEST_F(AsyncCopy, SourceSizesDifferByLane) {
  Register sizes;
  for (uint32_t lane = 0; lane < 32; ++lane)
    sizes[lane] = lane % 5 * 2;
  auto result = warp.run(places(8) +
                             "cp.async.ca.shared.global [%u], [%x], 8, %i0;"
                             "cp.async.wait_all;" +
                             load(0) + load(1, 4),
                         {sizes}, 2);
  EXPECT_TRUE(warp.gpu.findings().empty());
  EXPECT_EQ(result[0][5], 0u);     // 0 bytes
  EXPECT_EQ(result[0][11], 1022u); // 2 bytes; the number has no more
  EXPECT_EQ(result[1][14], 1029u); // 8 bytes
  EXPECT_EQ(result[1][12], 0u);    // 4 bytes
}

TEST_F(AsyncCopy, IgnoredSourcesAreZeroAndNotRead) {
  auto result = warp.run(places(16) +
                             "setp.ge.u32 %p, %lane, 2; selp.b64 %x, 0, %x, %p;"
                             "cp.async.cg.shared.global [%u], [%x], 16, %p;"
                             "cp.async.wait_all;" +
                             load(0),
                         {}, 1);
  EXPECT_TRUE(warp.gpu.findings().empty());
  EXPECT_EQ(result[0][1], 1004u);
  EXPECT_EQ(result[0][2], 0u);
}

TEST_F(AsyncCopy, NoBytesFromAnywhere) {
  Register sizes{};
  auto result = warp.run(places(16) +
                             "mov.u64 %x, 16; cp.async.cg.shared.global [%u], [%x], 16,"
                             " %i0; cp.async.wait_all;" +
                             load(3),
                         {sizes}, 4);
  warp.gpu.findings(); // %o0-%o2 were never written
  EXPECT_EQ(result[3][30], 0u);
}

TEST_F(AsyncCopy, SourcesAreReadAtTheWait) {
  // A store to the source between copy and wait: the ISA leaves open which of the two is seen, and
  // the simulator takes the later one.
  auto result = warp.run(places(4) +
                             "mul.wide.u32 %x, %lane, 4; add.s64 %x, %out, %x;"
                             "cp.async.ca.shared.global [%u], [%x], 4;"
                             "st.global.u32 [%x], 5; cp.async.wait_all;" +
                             load(0),
                         {}, 1);
  EXPECT_EQ(result[0][0], 5u);
}

TEST_F(AsyncCopy, EachFormDemandsItsAlignment) {
  for (int bytes : {4, 8, 16})
    for (bool source : {false, true}) {
      std::string half = std::to_string(bytes / 2);
      warp.run(places(bytes) + (source ? "add.s64 %x, %x, " : "add.u32 %u, %u, ") + half +
                   "; cp.async.ca.shared.global [%u], [%x], " + std::to_string(bytes) +
                   "; cp.async.wait_all;",
               {}, 0);
      EXPECT_EQ(warp.gpu.findings(), Kinds{ReportKind::Misaligned}) << bytes << source;
    }
}

TEST_F(AsyncCopy, SourcesAndTilesHaveBounds) {
  warp.run(places(16) + "add.s64 %x, %x, 3600; cp.async.cg.shared.global [%u], [%x], 16;"
                        "cp.async.wait_all;",
           {}, 0);
  EXPECT_EQ(warp.gpu.findings(), Kinds{ReportKind::OutOfBounds});
  warp.run(places(16) + "add.u32 %u, %u, 3600; cp.async.cg.shared.global [%u], [%x], 16;"
                        "cp.async.wait_all;",
           {}, 0);
  EXPECT_EQ(warp.gpu.findings(), Kinds{ReportKind::OutOfBounds});
}

TEST_F(AsyncCopy, ASourceSizeAboveTheCopysIsWrong) {
  Register sizes;
  sizes.fill(9);
  warp.run(places(8) + "cp.async.ca.shared.global [%u], [%x], 8, %i0; cp.async.wait_all;", {sizes},
           0);
  EXPECT_EQ(warp.gpu.findings(), Kinds{ReportKind::BadOperand});
}

TEST_F(AsyncCopy, OtherSizesAreNoInstruction) {
  for (const char *form : {"cp.async.cg.shared.global [tile], [%in], 8;",
                           "cp.async.ca.shared.global [tile], [%in], 2;",
                           "cp.async.ca.shared.global [tile], [%in], 32;"}) {
    std::string ptx = ".version 8.0\n.target sm_80\n.address_size 64\n"
                      ".shared .align 16 .b8 tile[64];\n"
                      ".visible .entry test(.param .u64 in) { .reg .b64 %in;\n"
                      "ld.param.u64 %in, [in];\n" +
                      std::string(form) + "\nret; }\n";
    CUmodule module = nullptr;
    EXPECT_NE(cuModuleLoadData(&module, ptx.c_str()), CUDA_SUCCESS) << form;
  }
}

// A store over a copy that nobody has waited for.
TEST_F(AsyncCopy, NobodyMayWriteWhereACopyIsUnderWay) {
  warp.run(places(4) + "cp.async.ca.shared.global [%u], [%x], 4; st.shared.u32 [%u], 5;"
                       "cp.async.wait_all;",
           {}, 0);
  EXPECT_EQ(warp.gpu.findings(), Kinds{ReportKind::SharedRace});
}

} // namespace
} // namespace ptxsim
