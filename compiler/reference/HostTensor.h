#pragma once
// A dense tensor in float64, the only kind that the reference interpreter knows; integers are exact
// in it.

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lorac::reference {

struct HostTensor {
  std::vector<int64_t> shape;
  std::vector<double> data; // row-major

  /// A tensor of zeros.
  static HostTensor zeros(std::vector<int64_t> shape) {
    int64_t count = 1;
    for (int64_t n : shape)
      count *= n;
    return {std::move(shape), std::vector<double>(count, 0.0)};
  }

  int64_t size() const { return data.size(); }
  /// The first dimension; tokens, where the tensor is an activation.
  int64_t rows() const { return shape.front(); }
  /// Elements a row: the product of all other dimensions.
  int64_t columns() const {
    int64_t product = 1;
    for (std::size_t i = 1; i < shape.size(); ++i)
      product *= shape[i];
    return product;
  }

  /// Element `(row, column)` of the tensor seen as `[rows, columns]`.
  double &at(int64_t row, int64_t column) { return data[index(row, column)]; }
  double at(int64_t row, int64_t column) const { return data[index(row, column)]; }
  /// Element `(row, head, i)` of a tensor `[rows, heads, d]`.
  double &at(int64_t row, int64_t head, int64_t i) { return at(row, head * shape[2] + i); }
  double at(int64_t row, int64_t head, int64_t i) const { return at(row, head * shape[2] + i); }

private:
  int64_t index(int64_t row, int64_t column) const {
    assert(row >= 0 && row < rows() && column >= 0 && column < columns() &&
           "indices come from loops over the shape");
    return row * columns() + column;
  }
};

} // namespace lorac::reference
