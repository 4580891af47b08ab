// mma.sync against a matrix product written down plainly, through the ISA's tables of fragments.
#include "tests/ptxsim/unit/Fragments.h"
#include "tests/ptxsim/unit/OneWarp.h"
#include <bit>
#include <cmath>
#include <random>

namespace ptxsim {
namespace {

struct Matrices {
  double a[16][16] = {}, b[16][8] = {}, c[16][8] = {};
};

uint32_t bf16Of(double value) { return std::bit_cast<uint32_t>(static_cast<float>(value)) >> 16; }

// A binary16 by hand: values of the tests are its normal numbers, or 0.
uint32_t f16Of(double value) {
  if (value == 0)
    return 0;
  int exponent = std::ilogb(value);
  auto mantissa = static_cast<uint32_t>(std::ldexp(std::fabs(value), 10 - exponent)) & 0x3ff;
  return (value < 0 ? 0x8000u : 0u) | static_cast<uint32_t>(exponent + 15) << 10 | mantissa;
}

// d = a * b + c by the instruction; with k = 8 the right half of A and the lower of B stay out.
std::array<std::array<float, 8>, 16> multiply(const Matrices &m, bool bf16, MmaMode mode,
                                              int k = 16) {
  auto bits = bf16 ? bf16Of : f16Of;
  std::vector<Register> a(4), b(2), c(4);
  auto put = [&](std::vector<Register> &registers, int lane, int index, double value) {
    registers[index / 2][lane] |= bits(value) << 16 * (index % 2);
  };
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < k; ++column)
      put(a, laneOfA[row][column], (row < 8 ? upperOfA : lowerOfA)[column], m.a[row][column]);
  for (int row = 0; row < k; ++row)
    for (int column = 0; column < 8; ++column)
      put(b, laneOfB[row][column], indexOfB[row], m.b[row][column]);
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 8; ++column)
      c[(row < 8 ? upperOfC : lowerOfC)[column]][laneOf8x8[row % 8][column]] =
          std::bit_cast<uint32_t>(static_cast<float>(m.c[row][column]));
  std::vector<Register> inputs = a;
  inputs.insert(inputs.end(), b.begin(), b.end());
  inputs.insert(inputs.end(), c.begin(), c.end());
  std::string type = bf16 ? "bf16" : "f16";
  std::string code = "mma.sync.aligned.m16n8k" + std::to_string(k) + ".row.col.f32." + type + "." +
                     type + ".f32 {%o0, %o1, %o2, %o3}, " +
                     (k == 16 ? "{%i0, %i1, %i2, %i3}, {%i4, %i5}" : "{%i0, %i1}, {%i4}") +
                     ", {%i6, %i7, %i8, %i9};";
  OneWarp warp;
  config().mma = mode;
  std::vector<Register> d = warp.run(code, inputs, 4);
  EXPECT_TRUE(warp.gpu.findings().empty());
  std::array<std::array<float, 8>, 16> result;
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 8; ++column)
      result[row][column] = std::bit_cast<float>(
          d[(row < 8 ? upperOfC : lowerOfC)[column]][laneOf8x8[row % 8][column]]);
  return result;
}

constexpr MmaMode modes[] = {MmaMode::Sequential, MmaMode::Double, MmaMode::Truncating};

// Integers whose products and sums every mode has exactly.
Matrices integers(unsigned seed) {
  std::mt19937 random(seed);
  auto draw = [&] { return static_cast<double>(static_cast<int>(random() % 31) - 15); };
  Matrices m;
  for (auto &row : m.a)
    for (double &value : row)
      value = draw();
  for (auto &row : m.b)
    for (double &value : row)
      value = draw();
  for (auto &row : m.c)
    for (double &value : row)
      value = 100 * draw();
  return m;
}

// Numbers of 8 significant bits, of either sign, within [2^-4, 2^4).
Matrices fractions(unsigned seed) {
  std::mt19937 random(seed);
  auto draw = [&] {
    double value = std::ldexp(static_cast<double>(128 + random() % 128), -11 + int(random() % 8));
    return random() % 2 ? value : -value;
  };
  Matrices m = integers(seed);
  for (auto &row : m.a)
    for (double &value : row)
      value = draw();
  for (auto &row : m.b)
    for (double &value : row)
      value = draw();
  for (auto &row : m.c)
    for (double &value : row)
      value = draw() / 3;
  return m;
}

TEST(Mma, EachElementOfAHasItsPlace) {
  // One element of A at a time would be 256 launches: rows of B tell columns of A apart, and all
  // rows of A differ.
  for (int k = 0; k < 16; ++k)
    for (bool bf16 : {true, false}) {
      Matrices m;
      for (int row = 0; row < 16; ++row)
        for (int column = 0; column < 16; ++column)
          m.a[row][column] = row * 16 + column;
      for (int column = 0; column < 8; ++column)
        m.b[k][column] = column + 1;
      auto d = multiply(m, bf16, MmaMode::Sequential);
      for (int row = 0; row < 16; ++row)
        for (int column = 0; column < 8; ++column)
          EXPECT_EQ(d[row][column], (row * 16 + k) * (column + 1)) << row << " " << column;
    }
}

TEST(Mma, IntegersAreExactInEachMode) {
  for (MmaMode mode : modes)
    for (bool bf16 : {true, false})
      for (int k : {8, 16})
        for (unsigned seed = 1; seed <= 4; ++seed) {
          Matrices m = integers(seed);
          auto d = multiply(m, bf16, mode, k);
          for (int row = 0; row < 16; ++row)
            for (int column = 0; column < 8; ++column) {
              double sum = m.c[row][column];
              for (int j = 0; j < k; ++j)
                sum += m.a[row][j] * m.b[j][column];
              ASSERT_EQ(d[row][column], sum) << row << " " << column << " seed " << seed;
            }
        }
}

TEST(Mma, SequentialRoundsAfterEachProduct) {
  for (bool bf16 : {true, false})
    for (unsigned seed = 1; seed <= 4; ++seed) {
      Matrices m = fractions(seed);
      auto d = multiply(m, bf16, MmaMode::Sequential);
      for (int row = 0; row < 16; ++row)
        for (int column = 0; column < 8; ++column) {
          auto sum = static_cast<float>(m.c[row][column]);
          for (int j = 0; j < 16; ++j) // a product of two 8-bit numbers is a float
            sum += static_cast<float>(m.a[row][j] * m.b[j][column]);
          ASSERT_EQ(d[row][column], sum) << row << " " << column << " seed " << seed;
        }
    }
}

TEST(Mma, DoubleRoundsOnce) {
  for (bool bf16 : {true, false})
    for (unsigned seed = 1; seed <= 4; ++seed) {
      Matrices m = fractions(seed);
      auto d = multiply(m, bf16, MmaMode::Double);
      for (int row = 0; row < 16; ++row)
        for (int column = 0; column < 8; ++column) {
          double sum = static_cast<float>(m.c[row][column]);
          for (int j = 0; j < 16; ++j)
            sum += m.a[row][j] * m.b[j][column];
          ASSERT_EQ(d[row][column], static_cast<float>(sum)) << row << " " << column;
        }
    }
}

// Two sums of eight products; what a term has below 2^-25 of the largest is lost, the sum's rest
// too.
TEST(Mma, TruncatingLosesAFewOfTheLastBits) {
  for (bool bf16 : {true, false})
    for (unsigned seed = 1; seed <= 4; ++seed) {
      Matrices m = fractions(seed);
      auto d = multiply(m, bf16, MmaMode::Truncating);
      int below = 0, above = 0;
      for (int row = 0; row < 16; ++row)
        for (int column = 0; column < 8; ++column) {
          double sum = static_cast<float>(m.c[row][column]), largest = std::fabs(sum);
          for (int j = 0; j < 16; ++j) {
            double term = m.a[row][j] * m.b[j][column];
            sum += term;
            largest = std::max({largest, std::fabs(term), std::fabs(sum)});
          }
          double error = std::fabs(d[row][column]) - std::fabs(sum);
          ASSERT_LE(std::fabs(error), (18 / 4.0 + 2) * std::ldexp(largest, -22));
          below += error < 0;
          above += error > 0;
        }
      EXPECT_GT(below, 2 * above); // towards zero
    }
}

// c + a00 * b00 + a01 * b10 …, at one place.
float atOrigin(double c, double term, int terms, MmaMode mode) {
  Matrices m;
  m.c[0][0] = c;
  for (int j = 0; j < terms; ++j) {
    m.a[0][j] = term * 8192;
    m.b[j][0] = 1.0 / 8192;
  }
  return multiply(m, true, mode)[0][0];
}

TEST(Mma, ModesDifferWhereTheyShould) {
  // Sixteen terms of a quarter of what a float beside 1 can hold.
  double quarter = std::ldexp(1, -25);
  EXPECT_EQ(atOrigin(1, quarter, 16, MmaMode::Sequential), 1.0f);
  EXPECT_EQ(atOrigin(1, quarter, 16, MmaMode::Double), 1.0f + std::ldexp(1.0f, -21));
  EXPECT_EQ(atOrigin(1, quarter, 16, MmaMode::Truncating), 1.0f + std::ldexp(1.0f, -21));
  // Half of that is below the two extra bits.
  EXPECT_EQ(atOrigin(1, quarter / 2, 16, MmaMode::Double), 1.0f + std::ldexp(1.0f, -22));
  EXPECT_EQ(atOrigin(1, quarter / 2, 16, MmaMode::Truncating), 1.0f);
  // Three quarters of the last bit: to nearest, or cut towards zero on either side.
  EXPECT_EQ(atOrigin(1, 3 * quarter, 1, MmaMode::Sequential), 1.0f + std::ldexp(1.0f, -23));
  EXPECT_EQ(atOrigin(1, 3 * quarter, 1, MmaMode::Truncating), 1.0f);
  EXPECT_EQ(atOrigin(-1, -3 * quarter, 1, MmaMode::Truncating), -1.0f);
}

TEST(Mma, WholeWarpOnly) {
  OneWarp warp;
  warp.run("setp.lt.u32 %p, %lane, 16; @%p bra HERE; bra.uni DONE;\nHERE:\n"
           "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%o0, %o1, %o2, %o3}, {%i0, %i0},"
           " {%i0}, {%i0, %i0, %i0, %i0};\nDONE:",
           {Register{}}, 0);
  EXPECT_EQ(warp.gpu.findings(), std::vector{ReportKind::DivergentSync});
}

} // namespace
} // namespace ptxsim
