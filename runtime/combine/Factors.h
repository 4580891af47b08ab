#pragma once
// Products of two small matrices, and matrices as such products: by Eigen, which only Factors.cpp
// includes.

#include "runtime/Result.h"

#include <cstdint>
#include <span>
#include <vector>

namespace lorac::combine {

/// B·A: B [out, rank], A [rank, in].
struct Factors {
  int64_t rank = 0;
  std::vector<float> a, b;
};

/// scale · B·A, [out, in].
std::vector<float> product(const Factors &factors, int64_t out, int64_t in, double scale);

/// The product of this rank, or of the matrix's own, that is nearest to the matrix [out, in], by
/// its singular values: rows of A are right singular vectors, columns of B left ones times their
/// values. Error: the SVD does not converge.
Result<Factors> nearest(std::span<const float> matrix, int64_t out, int64_t in, int64_t rank);
/// The same of a product, which is not formed where its rank is below out and in.
Result<Factors> nearest(const Factors &factors, int64_t out, int64_t in, int64_t rank);

} // namespace lorac::combine
