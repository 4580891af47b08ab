#pragma once
// What a reader did with memory: every allocation of the test program is counted, and one of them
// can be made to fail.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::hostile {

/// Bytes now live, and the most since the last `startMeasuring`.
size_t liveBytes();
size_t peakBytes();
/// The peak starts again from what is live; the `failAt`-th allocation from now throws bad_alloc
/// (0: none).
void startMeasuring(size_t failAt = 0);
/// Whether that allocation was reached; ends the failing.
bool stopFailing();

/// Builds a little-endian file.
class Bytes {
public:
  template <typename T>
  Bytes &number(T value) {
    const auto p = reinterpret_cast<const char *>(&value);
    data.append(p, sizeof value);
    return *this;
  }
  Bytes &u32(uint32_t value) { return number(value); }
  Bytes &u64(uint64_t value) { return number(value); }
  Bytes &raw(std::string_view text) {
    data.append(text);
    return *this;
  }
  /// A u64 length and the text, as GGUF has it.
  Bytes &text(std::string_view value) { return u64(value.size()).raw(value); }
  Bytes &zeros(size_t count) {
    data.append(count, '\0');
    return *this;
  }
  Bytes &padTo(size_t alignment) {
    while (data.size() % alignment)
      data.push_back('\0');
    return *this;
  }
  std::vector<uint8_t> vector() const { return {data.begin(), data.end()}; }

  std::string data;
};

/// What a reader of a hostile file may use.
constexpr size_t memoryFor(size_t fileSize) { return (size_t(1) << 20) + 8 * fileSize; }
constexpr int64_t millisecondsAllowed = 100;

} // namespace lorac::hostile
