// Test buffers that end at a page which may not be touched, and activations whose padding is NaN.
#ifndef LORAC_TESTS_NUMERICS_ELEMENTWISE_PADDED_H
#define LORAC_TESTS_NUMERICS_ELEMENTWISE_PADDED_H

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

namespace lorac::testing {

/// `bytes` that end exactly before a protected page and begin after one, so an access outside them
/// is a crash.
class Guarded {
public:
  explicit Guarded(size_t bytes) {
    size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    size_t body = (bytes + page - 1) / page * page;
    mapped = body + 2 * page;
    base = static_cast<char *>(
        mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base, page, PROT_NONE);
    mprotect(base + page + body, page, PROT_NONE);
    start = base + page + body - bytes;
  }
  Guarded(Guarded &&other) noexcept
      : base(std::exchange(other.base, nullptr)), mapped(other.mapped), start(other.start) {}
  Guarded &operator=(Guarded &&) = delete;
  ~Guarded() {
    if (base)
      munmap(base, mapped);
  }
  void *data() const { return start; }

private:
  char *base;
  size_t mapped;
  char *start;
};

/// An array of exactly its elements.
template <typename T>
struct Array {
  explicit Array(const std::vector<T> &values) : count(values.size()), memory(count * sizeof(T)) {
    if (count)
      std::memcpy(memory.data(), values.data(), count * sizeof(T));
  }
  T *data() const { return static_cast<T *>(memory.data()); }
  T &operator[](int64_t i) const { return data()[i]; }
  std::vector<T> values() const { return std::vector<T>(data(), data() + count); }

  size_t count;
  Guarded memory;
};

/// The leading dimension of an activation with n columns.
inline int64_t padded(int64_t n) { return (n + 15) / 16 * 16; }

/// An activation [rows, n] as docs/plan.md lays it out; columns n..ld are NaN.
struct Padded {
  Padded(int64_t rows, int64_t n)
      : rows(rows), n(n), ld(padded(n)),
        memory(std::vector<float>(rows * ld, std::numeric_limits<float>::quiet_NaN())) {}
  Padded(int64_t rows, int64_t n, std::mt19937 &random, float scale = 1) : Padded(rows, n) {
    std::normal_distribution<float> normal(0, scale);
    for (int64_t m = 0; m < rows; ++m)
      for (int64_t i = 0; i < n; ++i)
        at(m, i) = normal(random);
  }
  float &at(int64_t m, int64_t i) const { return memory[m * ld + i]; }
  float *data() const { return memory.data(); }
  /// The values without padding.
  std::vector<float> dense() const {
    std::vector<float> values;
    for (int64_t m = 0; m < rows; ++m)
      values.insert(values.end(), data() + m * ld, data() + m * ld + n);
    return values;
  }
  std::vector<double> doubles() const {
    std::vector<float> values = dense();
    return std::vector<double>(values.begin(), values.end());
  }
  void assign(const Padded &other) const {
    for (int64_t m = 0; m < rows; ++m)
      for (int64_t i = 0; i < n; ++i)
        at(m, i) = other.at(m, i);
  }

  int64_t rows, n, ld;
  Array<float> memory;
};

/// The largest |actual - expected| / (absolute + |expected|); NaN or a wrong size count as
/// infinite.
inline double worst(std::span<const float> actual, std::span<const double> expected,
                    double absolute) {
  double largest = actual.size() == expected.size() ? 0 : std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < actual.size() && i < expected.size(); ++i) {
    double error = std::fabs(actual[i] - expected[i]) / (absolute + std::fabs(expected[i]));
    largest = error <= largest    ? largest
              : std::isnan(error) ? std::numeric_limits<double>::infinity()
                                  : error;
  }
  return largest;
}

} // namespace lorac::testing

#endif
