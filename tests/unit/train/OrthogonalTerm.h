#pragma once
// AdaLoRA's orthogonality term in float64, as it is written: weight · mean over all A and B of
// ‖M Mᵀ - I‖_F, with M = A and M = Bᵀ (PEFT tuners/adalora/model.py; the norm, not its square).

#include <cmath>
#include <cstdint>
#include <vector>

namespace lorac::train::test {

/// A row a triplet.
struct Matrix {
  int64_t rank = 0, length = 0;
  std::vector<double> values;

  static Matrix rows(const float *a, int64_t rank, int64_t in) {
    return {rank, in, {a, a + rank * in}};
  }
  static Matrix columns(const float *b, int64_t out, int64_t rank) {
    Matrix m{rank, out, std::vector<double>(size_t(rank * out))};
    for (int64_t i = 0; i < rank; ++i)
      for (int64_t j = 0; j < out; ++j)
        m.values[size_t(i * out + j)] = b[j * rank + i];
    return m;
  }
  double at(int64_t row, int64_t column) const { return values[size_t(row * length + column)]; }

  /// M Mᵀ - I.
  std::vector<double> excess() const {
    std::vector<double> out;
    for (int64_t i = 0; i < rank; ++i)
      for (int64_t j = 0; j < rank; ++j) {
        double sum = i == j ? -1 : 0;
        for (int64_t k = 0; k < length; ++k)
          sum += at(i, k) * at(j, k);
        out.push_back(sum);
      }
    return out;
  }
};

inline double norm(const std::vector<double> &values) {
  double sum = 0;
  for (double value : values)
    sum += value * value;
  return std::sqrt(sum);
}

inline double orthogonalTerm(const std::vector<Matrix> &matrices, double weight) {
  double sum = 0;
  for (const Matrix &matrix : matrices)
    sum += norm(matrix.excess());
  return weight * sum / double(matrices.size());
}

/// d/dM ‖M Mᵀ - I‖_F = 2 (M Mᵀ - I) M / ‖M Mᵀ - I‖_F, and 0 where the norm is 0, as in torch.
inline std::vector<Matrix> orthogonalGradient(const std::vector<Matrix> &matrices, double weight) {
  std::vector<Matrix> out;
  for (const Matrix &matrix : matrices) {
    const std::vector<double> excess = matrix.excess();
    const double n = norm(excess);
    const double factor = n > 0 ? 2 * weight / double(matrices.size()) / n : 0;
    Matrix &gradient = out.emplace_back(matrix);
    for (int64_t i = 0; i < matrix.rank; ++i)
      for (int64_t k = 0; k < matrix.length; ++k) {
        double sum = 0;
        for (int64_t j = 0; j < matrix.rank; ++j)
          sum += excess[size_t(i * matrix.rank + j)] * matrix.at(j, k);
        gradient.values[size_t(i * matrix.length + k)] = factor * sum;
      }
  }
  return out;
}

} // namespace lorac::train::test
