// Dense products, the low-rank update and its gradient, dropout.

#include "compiler/reference/Ops.h"

#include <cmath>

#define R123_USE_SSE 0
#define R123_THROW(x) __builtin_trap() // built without exceptions
#include <Random123/philox.h>

using namespace lorac::reference;

HostTensor lorac::reference::matmulNT(const HostTensor &a, const HostTensor &b, double scale) {
  assert(a.columns() == b.columns());
  HostTensor c = HostTensor::zeros({a.rows(), b.rows()});
  for (int64_t m = 0; m < c.rows(); ++m)
    for (int64_t j = 0; j < c.columns(); ++j) {
      double sum = 0;
      for (int64_t k = 0; k < a.columns(); ++k)
        sum += a.at(m, k) * b.at(j, k);
      c.at(m, j) = scale * sum;
    }
  return c;
}

HostTensor lorac::reference::matmulNN(const HostTensor &a, const HostTensor &b, double scale) {
  assert(a.columns() == b.rows());
  HostTensor c = HostTensor::zeros({a.rows(), b.columns()});
  for (int64_t m = 0; m < c.rows(); ++m)
    for (int64_t j = 0; j < c.columns(); ++j) {
      double sum = 0;
      for (int64_t k = 0; k < a.columns(); ++k)
        sum += a.at(m, k) * b.at(k, j);
      c.at(m, j) = scale * sum;
    }
  return c;
}

HostTensor lorac::reference::matmulTN(const HostTensor &a, const HostTensor &b, double scale) {
  assert(a.rows() == b.rows());
  HostTensor c = HostTensor::zeros({a.columns(), b.columns()});
  for (int64_t i = 0; i < c.rows(); ++i)
    for (int64_t j = 0; j < c.columns(); ++j) {
      double sum = 0;
      for (int64_t m = 0; m < a.rows(); ++m)
        sum += a.at(m, i) * b.at(m, j);
      c.at(i, j) = scale * sum;
    }
  return c;
}

OrthogonalTerm lorac::reference::orthogonalTerm(const HostTensor &gram, double scale, bool whole) {
  HostTensor gradient = gram, norm = HostTensor::zeros({1});
  double squares = 0;
  for (int64_t i = 0; i < gram.rows(); ++i) {
    if (whole || gram.at(i, i) != 0)
      gradient.at(i, i) -= 1;
    for (int64_t j = 0; j < gram.columns(); ++j)
      squares += gradient.at(i, j) * gradient.at(i, j);
  }
  norm.data[0] = std::sqrt(squares);
  for (double &value : gradient.data)
    value *= squares > 0 ? scale / norm.data[0] : 0;
  return {gradient, norm};
}

HostTensor lorac::reference::lowRank(const HostTensor &x, const HostTensor &a, const HostTensor &b,
                                     double scale) {
  return matmulNT(matmulNT(x, a, 1), b, scale);
}

LowRankGradient lorac::reference::lowRankBackward(const HostTensor &x, const HostTensor &a,
                                                  const HostTensor &b, const HostTensor &dy,
                                                  double scale) {
  HostTensor dt = matmulNN(dy, b, scale);
  return {matmulTN(dt, x, 1), matmulTN(dy, matmulNT(x, a, 1), scale), matmulNN(dt, a, 1)};
}

HostTensor lorac::reference::weightNorm(const HostTensor &w, const HostTensor &a,
                                        const HostTensor &b, double scale) {
  HostTensor update = matmulNN(b, a, scale), norm = HostTensor::zeros({w.rows()});
  for (int64_t i = 0; i < w.rows(); ++i) {
    double squares = 0;
    for (int64_t k = 0; k < w.columns(); ++k) {
      const double value = w.at(i, k) + update.at(i, k);
      squares += value * value;
    }
    norm.data[i] = std::sqrt(squares);
  }
  return norm;
}

HostTensor lorac::reference::sumRows(const HostTensor &x) {
  HostTensor y = HostTensor::zeros({x.columns()});
  for (int64_t m = 0; m < x.rows(); ++m)
    for (int64_t j = 0; j < x.columns(); ++j)
      y.data[j] += x.at(m, j);
  return y;
}

HostTensor lorac::reference::dropout(const HostTensor &x, double p, int64_t stream,
                                     DropoutKey key) {
  HostTensor y = HostTensor::zeros(x.shape);
  uint32_t threshold = uint32_t(p * 4294967296.0);
  for (int64_t e = 0; e < x.size(); ++e) {
    uint64_t block = uint64_t(e) / 4;
    r123::Philox4x32::ctr_type counter = {
        {uint32_t(block), uint32_t(block >> 32), uint32_t(stream), key.micro}};
    r123::Philox4x32::key_type words = {{key.seed, key.step}};
    bool keep = r123::Philox4x32()(counter, words)[e % 4] >= threshold;
    y.data[e] = keep ? x.data[e] / (1 - p) : 0;
  }
  return y;
}

HostTensor lorac::reference::rowsOf(const HostTensor &x, int64_t from, int64_t n) {
  HostTensor y = HostTensor::zeros({n, x.columns()});
  for (int64_t m = 0; m < n; ++m)
    for (int64_t j = 0; j < x.columns(); ++j)
      y.at(m, j) = x.at(from + m, j);
  return y;
}

HostTensor lorac::reference::columnsOf(const HostTensor &x, int64_t from, int64_t n) {
  HostTensor y = HostTensor::zeros({x.rows(), n});
  for (int64_t m = 0; m < x.rows(); ++m)
    for (int64_t j = 0; j < n; ++j)
      y.at(m, j) = x.at(m, from + j);
  return y;
}

HostTensor lorac::reference::stackRows(const std::vector<HostTensor> &parts) {
  HostTensor y = parts.front();
  for (size_t i = 1; i < parts.size(); ++i) {
    assert(parts[i].columns() == y.columns());
    y.data.insert(y.data.end(), parts[i].data.begin(), parts[i].data.end());
    y.shape.front() += parts[i].rows();
  }
  return y;
}

HostTensor lorac::reference::concatColumns(const std::vector<HostTensor> &parts) {
  int64_t n = 0, from = 0;
  for (const HostTensor &part : parts)
    n += part.columns();
  HostTensor y = HostTensor::zeros({parts.front().rows(), n});
  for (const HostTensor &part : parts) {
    for (int64_t m = 0; m < y.rows(); ++m)
      for (int64_t j = 0; j < part.columns(); ++j)
        y.at(m, from + j) = part.at(m, j);
    from += part.columns();
  }
  return y;
}

HostTensor lorac::reference::add(const HostTensor &a, const HostTensor &b) {
  assert(a.shape == b.shape);
  HostTensor sum = a;
  for (int64_t e = 0; e < sum.size(); ++e)
    sum.data[e] += b.data[e];
  return sum;
}
