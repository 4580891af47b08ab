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

// 1/sqrt(mean(x²) + eps) of row m
static double inverseRms(const HostTensor &x, int64_t m, double eps) {
  double squares = 0;
  for (int64_t k = 0; k < x.columns(); ++k)
    squares += x.at(m, k) * x.at(m, k);
  return 1 / std::sqrt(squares / x.columns() + eps);
}

HostTensor lorac::reference::rmsNorm(const HostTensor &x, const HostTensor &w, double eps) {
  HostTensor y = HostTensor::zeros(x.shape);
  for (int64_t m = 0; m < x.rows(); ++m) {
    double s = inverseRms(x, m, eps);
    for (int64_t k = 0; k < x.columns(); ++k)
      y.at(m, k) = x.at(m, k) * s * w.data[k];
  }
  return y;
}

HostTensor lorac::reference::rmsNormBackward(const HostTensor &x, const HostTensor &w,
                                             const HostTensor &dy, double eps) {
  HostTensor dx = HostTensor::zeros(x.shape);
  for (int64_t m = 0; m < x.rows(); ++m) {
    double s = inverseRms(x, m, eps), mean = 0;
    for (int64_t k = 0; k < x.columns(); ++k)
      mean += dy.at(m, k) * w.data[k] * x.at(m, k) / x.columns();
    for (int64_t k = 0; k < x.columns(); ++k)
      dx.at(m, k) = s * dy.at(m, k) * w.data[k] - x.at(m, k) * s * s * s * mean;
  }
  return dx;
}

HostTensor lorac::reference::linear(const HostTensor &x, const HostTensor &w) {
  return matmulNT(x, w, 1);
}

HostTensor lorac::reference::linearBackward(const HostTensor &dy, const HostTensor &w) {
  return matmulNN(dy, w, 1);
}

HostTensor lorac::reference::rope(const HostTensor &x, const HostTensor &positions, double theta,
                                  bool inverse) {
  HostTensor y = HostTensor::zeros(x.shape);
  int64_t d = x.shape[2];
  for (int64_t m = 0; m < x.rows(); ++m)
    for (int64_t h = 0; h < x.shape[1]; ++h)
      for (int64_t i = 0; i < d / 2; ++i) {
        double angle = positions.data[m] * std::pow(theta, -2.0 * i / d) * (inverse ? -1 : 1);
        double c = std::cos(angle), s = std::sin(angle);
        y.at(m, h, i) = x.at(m, h, i) * c - x.at(m, h, i + d / 2) * s;
        y.at(m, h, i + d / 2) = x.at(m, h, i + d / 2) * c + x.at(m, h, i) * s;
      }
  return y;
}
