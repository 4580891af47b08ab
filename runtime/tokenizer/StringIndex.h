#pragma once
// Text -> id over strings that live elsewhere: open addressing, no node for each token.

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace lorac::tok {

class StringIndex {
public:
  /// Room for `count` strings.
  explicit StringIndex(size_t count = 0) {
    size_t size = 16;
    while (size < count * 2)
      size *= 2;
    slots.resize(size);
  }

  /// Adds `text`, which must outlive the index; the id that stands there already where it is not
  /// new, otherwise -1. At most the promised count may be added.
  int32_t add(std::string_view text, int32_t id) {
    uint64_t hash = hashOf(text);
    Slot &slot = slots[find(text, hash)];
    if (slot.id >= 0)
      return slot.id;
    slot = {text.data(), static_cast<uint32_t>(text.size()), id, static_cast<uint32_t>(hash >> 32)};
    return -1;
  }

  /// The id of `text`, or -1.
  int32_t lookup(std::string_view text) const { return slots[find(text, hashOf(text))].id; }

private:
  struct Slot {
    const char *data = nullptr;
    uint32_t size = 0;
    int32_t id = -1;
    uint32_t check = 0;
  };

  static uint64_t hashOf(std::string_view text) {
    uint64_t hash = text.size() * 0x9e3779b97f4a7c15u;
    const char *data = text.data();
    size_t left = text.size();
    while (left > 0) {
      uint64_t chunk = 0;
      size_t step = left < 8 ? left : 8;
      std::memcpy(&chunk, data, step);
      hash = (hash ^ chunk) * 0xd6e8feb86659fd93u;
      hash ^= hash >> 32;
      data += step;
      left -= step;
    }
    hash *= 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
  }

  size_t find(std::string_view text, uint64_t hash) const {
    size_t mask = slots.size() - 1;
    for (size_t at = hash & mask;; at = (at + 1) & mask) {
      const Slot &slot = slots[at];
      if (slot.id < 0)
        return at;
      if (slot.check == static_cast<uint32_t>(hash >> 32) && slot.size == text.size() &&
          std::memcmp(slot.data, text.data(), text.size()) == 0)
        return at;
    }
  }

  std::vector<Slot> slots;
};

} // namespace lorac::tok
