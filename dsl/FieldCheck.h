#pragma once
// Bounds of single fields. Fields that were not given hold good defaults and are skipped.

#include "dsl/Diagnostics.h"
#include "dsl/Spec.h"
#include "dsl/Text.h"

#include <cmath>

namespace lorac::dsl {

constexpr int64_t MaxCount = int64_t(1)
                             << 31; // of steps, tokens and the like: products stay within 63 bits
constexpr int64_t MaxRank = 65536;

inline std::string shown(int64_t value) { return std::to_string(value); }
inline std::string shown(double value) { return shortest(value); }

class FieldCheck {
public:
  explicit FieldCheck(Diagnostics &diags) : diags(diags) {}

  template <class T>
  bool range(const std::string &key, const Field<T> &field, T low, T high) {
    if (!field.given() || field.refused || (field.value >= low && field.value <= high))
      return true;
    std::string want = field.value < low ? "at least " + shown(low) : "at most " + shown(high);
    if (field.value != field.value)
      want = "a number";
    diags.error(field.range, "'" + key + "' must be " + want + ", got " + shown(field.value));
    return false;
  }

  /// low <= value < high, or low < value < high.
  bool below(const std::string &key, const Field<double> &field, double low, double high,
             bool lowIn) {
    bool good = std::isfinite(field.value) && (lowIn ? field.value >= low : field.value > low) &&
                field.value < high;
    if (!field.given() || field.refused || good)
      return true;
    std::string want =
        std::isinf(high)
            ? (lowIn ? "at least " + shown(low) : "greater than " + shown(low))
            : std::string("in ") + (lowIn ? "[" : "(") + shown(low) + ", " + shown(high) + ")";
    diags.error(field.range, "'" + key + "' must be " + want + ", got " + shown(field.value));
    return false;
  }

  void positive(const std::string &key, const Field<double> &field) {
    below(key, field, 0, INFINITY, false);
  }

protected:
  Diagnostics &diags;
};

} // namespace lorac::dsl
