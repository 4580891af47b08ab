// Embedding, norm, products with frozen weights, rotary positions.

#include "compiler/reference/Ops.h"
#include <cmath>

using namespace lorac::reference;

HostTensor lorac::reference::embed(const HostTensor &ids, const HostTensor &w) {
  HostTensor y = HostTensor::zeros({ids.rows(), w.columns()});
  for (int64_t m = 0; m < y.rows(); ++m)
    for (int64_t k = 0; k < y.columns(); ++k)
      y.at(m, k) = w.at(int64_t(ids.data[m]), k);
  return y;
}

// The same numbers as rows of w's length: those of [tokens, heads, d] are heads.
static HostTensor rowsAs(const HostTensor &x, const HostTensor &w) {
  HostTensor rows = x;
  rows.shape = {x.size() / w.size(), w.size()};
  return rows;
}

// 1/sqrt(mean(x²) + eps) of row m
static double inverseRms(const HostTensor &x, int64_t m, double eps) {
  double squares = 0;
  for (int64_t k = 0; k < x.columns(); ++k)
    squares += x.at(m, k) * x.at(m, k);
  return 1 / std::sqrt(squares / x.columns() + eps);
}

HostTensor lorac::reference::rmsNorm(const HostTensor &all, const HostTensor &w, double eps) {
  const HostTensor x = rowsAs(all, w);
  HostTensor y = HostTensor::zeros(x.shape);
  for (int64_t m = 0; m < x.rows(); ++m) {
    double s = inverseRms(x, m, eps);
    for (int64_t k = 0; k < x.columns(); ++k)
      y.at(m, k) = x.at(m, k) * s * w.data[k];
  }
  y.shape = all.shape;
  return y;
}

HostTensor lorac::reference::rmsNormBackward(const HostTensor &all, const HostTensor &w,
                                             const HostTensor &ofAll, double eps) {
  const HostTensor x = rowsAs(all, w), dy = rowsAs(ofAll, w);
  HostTensor dx = HostTensor::zeros(x.shape);
  for (int64_t m = 0; m < x.rows(); ++m) {
    double s = inverseRms(x, m, eps), mean = 0;
    for (int64_t k = 0; k < x.columns(); ++k)
      mean += dy.at(m, k) * w.data[k] * x.at(m, k) / x.columns();
    for (int64_t k = 0; k < x.columns(); ++k)
      dx.at(m, k) = s * dy.at(m, k) * w.data[k] - x.at(m, k) * s * s * s * mean;
  }
  dx.shape = all.shape;
  return dx;
}

HostTensor lorac::reference::linear(const HostTensor &x, const HostTensor &w) {
  return matmulNT(x, w, 1);
}

HostTensor lorac::reference::linearBackward(const HostTensor &dy, const HostTensor &w) {
  return matmulNN(dy, w, 1);
}

HostTensor lorac::reference::rope(const HostTensor &x, const HostTensor &positions,
                                  const std::vector<double> &frequencies, double factor,
                                  bool inverse) {
  HostTensor y = HostTensor::zeros(x.shape);
  int64_t d = x.shape[2];
  for (int64_t m = 0; m < x.rows(); ++m)
    for (int64_t h = 0; h < x.shape[1]; ++h)
      for (int64_t i = 0; i < d / 2; ++i) {
        double angle = positions.data[m] * frequencies[i] * (inverse ? -1 : 1);
        double c = factor * std::cos(angle), s = factor * std::sin(angle);
        y.at(m, h, i) = x.at(m, h, i) * c - x.at(m, h, i + d / 2) * s;
        y.at(m, h, i + d / 2) = x.at(m, h, i + d / 2) * c + x.at(m, h, i) * s;
      }
  return y;
}
