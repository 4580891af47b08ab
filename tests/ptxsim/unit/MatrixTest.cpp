// ldmatrix and movmatrix against the ISA's tables.
#include "tests/ptxsim/unit/Fragments.h"
#include "tests/ptxsim/unit/OneWarp.h"
#include <algorithm>

namespace ptxsim {
namespace {

// Element (row, column) of matrix m: all differ.
uint32_t element(int matrix, int row, int column) {
  return static_cast<uint32_t>(0x1000 + matrix * 256 + row * 16 + column);
}

// 32 rows of 16 bytes, 80 bytes apart, in an order that no formula for addresses has by chance.
constexpr int placeOfRow[32] = {9, 4,  21, 30, 2,  17, 11, 26, 0,  31, 13, 7,  24, 18, 5,  28,
                                3, 22, 15, 8,  29, 12, 1,  20, 27, 6,  16, 25, 10, 19, 23, 14};

void expectLoads(int count, bool transposed, bool generic) {
  OneWarp warp;
  warp.shared.assign(1024, 0xdeadbeef);
  Register addresses;
  addresses.fill(0xfffff0); // of lanes that give no row: never looked at
  for (int matrix = 0; matrix < count; ++matrix)
    for (int row = 0; row < 8; ++row) {
      int place = placeOfRow[8 * matrix + row] * 80;
      addresses[8 * matrix + row] = static_cast<uint32_t>(place);
      for (int column = 0; column < 8; column += 2)
        warp.shared[place / 4 + column / 2] =
            element(matrix, row, column) | element(matrix, row, column + 1) << 16;
    }
  const char *registers[] = {"{%o0}", "{%o0, %o1}", "", "{%o0, %o1, %o2, %o3}"};
  std::string code = "add.u32 %t, %s, %i0;\n" +
                     std::string(generic ? "cvt.u64.u32 %x, %t; cvta.shared.u64 %x, %x;\n" : "") +
                     "ldmatrix.sync.aligned.m8n8.x" + std::to_string(count) +
                     (transposed ? ".trans" : "") + (generic ? "" : ".shared") + ".b16 " +
                     registers[count - 1] + ", [" + (generic ? "%x" : "%t") + "];";
  std::vector<Register> result = warp.run(code, {addresses}, static_cast<size_t>(count));
  EXPECT_TRUE(warp.gpu.findings().empty()) << code;
  for (int matrix = 0; matrix < count; ++matrix)
    for (int row = 0; row < 8; ++row)
      for (int column = 0; column < 8; ++column) {
        int lane = transposed ? laneOf8x8[column][row] : laneOf8x8[row][column];
        int half = transposed ? row % 2 : column % 2;
        EXPECT_EQ(result[matrix][lane] >> 16 * half & 0xffff, element(matrix, row, column))
            << code << " matrix " << matrix << " row " << row << " column " << column;
      }
}

TEST(LoadMatrix, EachLaneHasItsElements) {
  for (int count : {1, 2, 4})
    for (bool transposed : {false, true})
      expectLoads(count, transposed, false);
}

TEST(LoadMatrix, GenericAddresses) { expectLoads(4, true, true); }

TEST(LoadMatrix, RowsAreAlignedTo16Bytes) {
  OneWarp warp;
  warp.shared.assign(1024, 0);
  Register addresses;
  for (uint32_t lane = 0; lane < 32; ++lane)
    addresses[lane] = 16 * lane + (lane == 5 ? 8 : 0);
  warp.run("add.u32 %t, %s, %i0; ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%o0}, [%t];",
           {addresses}, 1);
  EXPECT_EQ(warp.gpu.findings(), std::vector{ReportKind::Misaligned});
}

TEST(LoadMatrix, ReadsOfWhatNobodyWroteAreFound) {
  OneWarp warp;
  Register addresses;
  for (uint32_t lane = 0; lane < 32; ++lane)
    addresses[lane] = 16 * lane;
  warp.run("add.u32 %t, %s, %i0; ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%o0}, [%t];",
           {addresses}, 1);
  EXPECT_EQ(warp.gpu.findings(), std::vector{ReportKind::UninitialisedRead});
}

TEST(MoveMatrix, Transposes) {
  Register given{};
  for (int row = 0; row < 8; ++row)
    for (int column = 0; column < 8; ++column)
      given[laneOf8x8[row][column]] |= element(0, row, column) << 16 * (column % 2);
  OneWarp warp;
  Register result = warp.run("movmatrix.sync.aligned.m8n8.trans.b16 %o0, %i0;", {given}, 1).front();
  EXPECT_TRUE(warp.gpu.findings().empty());
  for (int row = 0; row < 8; ++row)
    for (int column = 0; column < 8; ++column)
      EXPECT_EQ(result[laneOf8x8[column][row]] >> 16 * (row % 2) & 0xffff, element(0, row, column));
}

} // namespace
} // namespace ptxsim
