#include "runtime/combine/Factors.h"

#include <Eigen/Core>
#include <Eigen/QR>
#include <Eigen/SVD>

#include <algorithm>

namespace lorac::combine {
namespace {

using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Eigen::MatrixXd;

Eigen::Map<const Rows> viewed(std::span<const float> values, int64_t rows, int64_t columns) {
  return {values.data(), rows, columns};
}

std::vector<float> valuesOf(const Rows &matrix) {
  return {matrix.data(), matrix.data() + matrix.size()};
}

/// left · matrix · rightᵀ, where left and right have orthonormal columns, at a lower rank.
template <typename Widen>
Result<Factors> cut(const MatrixXd &matrix, int64_t rank, Widen widen) {
  const Eigen::BDCSVD<MatrixXd> svd(matrix, Eigen::ComputeThinU | Eigen::ComputeThinV);
  if (svd.info() != Eigen::Success)
    return Error{"the singular value decomposition does not converge"};
  rank = std::min<int64_t>(rank, svd.singularValues().size());
  const auto [left, right] =
      widen(MatrixXd(svd.matrixU().leftCols(rank)), MatrixXd(svd.matrixV().leftCols(rank)));
  const Rows a = right.transpose().template cast<float>();
  const Rows b = (left * svd.singularValues().head(rank).asDiagonal()).template cast<float>();
  return Factors{rank, valuesOf(a), valuesOf(b)};
}

/// Orthonormal columns times an upper triangle.
struct Triangle {
  explicit Triangle(const MatrixXd &matrix)
      : qr(matrix), columns(qr.householderQ() * MatrixXd::Identity(matrix.rows(), matrix.cols())),
        upper(qr.matrixQR().topRows(matrix.cols()).triangularView<Eigen::Upper>()) {}

  Eigen::HouseholderQR<MatrixXd> qr;
  MatrixXd columns, upper;
};

} // namespace

std::vector<float> product(const Factors &factors, int64_t out, int64_t in, double scale) {
  return valuesOf(viewed(factors.b, out, factors.rank) * viewed(factors.a, factors.rank, in) *
                  float(scale));
}

Result<Factors> nearest(std::span<const float> matrix, int64_t out, int64_t in, int64_t rank) {
  return cut(viewed(matrix, out, in).cast<double>(), rank,
             [](MatrixXd left, MatrixXd right) { return std::pair(left, right); });
}

Result<Factors> nearest(const Factors &factors, int64_t out, int64_t in, int64_t rank) {
  if (factors.rank >= std::min(out, in))
    return nearest(product(factors, out, in, 1), out, in, rank);
  const Triangle b(viewed(factors.b, out, factors.rank).cast<double>());
  const Triangle a(viewed(factors.a, factors.rank, in).transpose().cast<double>());
  return cut(b.upper * a.upper.transpose(), rank, [&](MatrixXd left, MatrixXd right) {
    return std::pair<MatrixXd, MatrixXd>(b.columns * left, a.columns * right);
  });
}

} // namespace lorac::combine
