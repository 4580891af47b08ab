#include "runtime/combine/Factors.h"
#include "runtime/train/Random.h"
#include "tests/unit/formats/Support.h"

#include <cmath>

namespace lorac::combine {
namespace {

using formats::take;

std::vector<float> numbers(const char *purpose, int64_t count) {
  const train::RandomStream random(5, purpose);
  std::vector<float> out;
  for (int64_t i = 0; i < count; ++i)
    out.push_back(random.normal(uint64_t(i)));
  return out;
}

double distance(const std::vector<float> &a, const std::vector<float> &b) {
  EXPECT_EQ(a.size(), b.size());
  double squares = 0;
  for (size_t i = 0; i < a.size(); ++i)
    squares += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
  return std::sqrt(squares);
}

// A matrix of known singular values: rows and columns of two diagonals of signs.
TEST(Factors, KeepTheLargestSingularValues) {
  const int64_t out = 4, in = 3;
  const std::vector<float> matrix = {0, 0, -5, 3, 0, 0, 0, 1, 0, 0, 0, 0};
  for (int64_t rank = 1; rank <= 3; ++rank) {
    const Factors factors = take(nearest(matrix, out, in, rank));
    EXPECT_EQ(factors.rank, rank);
    const double left[] = {0, std::sqrt(10), 1, 0}; // of the values 5, 3, 1
    EXPECT_NEAR(distance(product(factors, out, in, 1), matrix), left[rank], 1e-5) << rank;
  }
  EXPECT_EQ(take(nearest(matrix, out, in, 9)).rank, 3);
}

// Of a product the same as of the matrix, tall, wide and of a rank that is no low one.
TEST(Factors, OfAProduct) {
  for (const auto &[out, in, whole] : {std::array<int64_t, 3>{24, 10, 6}, {9, 31, 4}, {5, 7, 8}}) {
    const Factors factors = {whole, numbers("a", whole * in), numbers("b", out * whole)};
    const std::vector<float> matrix = product(factors, out, in, 1);
    for (const int64_t rank : {int64_t(2), int64_t(3), whole + 1}) {
      const Factors ofProduct = take(nearest(factors, out, in, rank)),
                    ofMatrix = take(nearest(matrix, out, in, rank));
      EXPECT_LE(ofProduct.rank, std::min(whole, rank));
      EXPECT_LT(distance(product(ofProduct, out, in, 1), product(ofMatrix, out, in, 1)), 1e-4)
          << out << " " << in << " " << rank;
    }
    EXPECT_LT(distance(product(take(nearest(factors, out, in, whole)), out, in, 2),
                       product(factors, out, in, 2)),
              1e-4);
  }
}

} // namespace
} // namespace lorac::combine
