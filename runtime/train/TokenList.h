#pragma once
// Token ids and labels in memory: two bytes each where the vocabulary allows it, in blocks, so that
// a list that grows copies nothing.

#include "runtime/train/Arena.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <span>
#include <vector>

namespace lorac::train {

class TokenList {
public:
  static constexpr int32_t noLabel = -100;

  /// Values are 0..vocab-1 and -100.
  explicit TokenList(int64_t vocab = int64_t(1) << 31) : width(vocab < 0xffff ? 2 : 4) {}

  size_t size() const { return count; }
  bool empty() const { return count == 0; }

  int32_t operator[](size_t i) const {
    const std::byte *at = blocks[i / blockItems].get() + i % blockItems * width;
    if (width == 4)
      return *reinterpret_cast<const int32_t *>(at);
    const uint16_t value = *reinterpret_cast<const uint16_t *>(at);
    return value == 0xffff ? noLabel : int32_t(value);
  }

  void push_back(int32_t value) {
    if (count == blocks.size() * blockItems) // pages of a block count when they are written
      blocks.emplace_back(new std::byte[blockItems * width]);
    std::byte *at = blocks.back().get() + count % blockItems * width;
    if (width == 4)
      *reinterpret_cast<int32_t *>(at) = value;
    else
      *reinterpret_cast<uint16_t *>(at) = uint16_t(value < 0 ? 0xffff : value);
    ++count;
  }

  void append(std::span<const int32_t> values) {
    for (int32_t value : values)
      push_back(value);
  }
  void assign(size_t items, int32_t value) {
    shrink(0);
    while (count < items)
      push_back(value);
  }
  /// Keeps the first `items`.
  void shrink(size_t items) {
    count = std::min(count, items);
    blocks.resize((count + blockItems - 1) / blockItems);
  }

  /// Writes [begin, begin + items) to `out`.
  void copy(size_t begin, size_t items, int32_t *out) const {
    for (size_t i = 0; i < items; ++i)
      out[i] = (*this)[begin + i];
  }

  /// What lies in memory, in whole pages.
  uint64_t bytes() const {
    return (count * width + 4095) / 4096 * 4096 + blocks.size() * blockOverhead;
  }

  /// What of it is resident.
  uint64_t resident() const {
    uint64_t sum = 0;
    for (const auto &block : blocks)
      sum += residentIn(block.get(), blockItems * width);
    return sum;
  }

  class Iterator {
  public:
    using iterator_category = std::random_access_iterator_tag;
    using value_type = int32_t;
    using difference_type = std::ptrdiff_t;
    using pointer = const int32_t *;
    using reference = int32_t;

    Iterator(const TokenList &list, size_t at) : list(&list), at(at) {}
    int32_t operator*() const { return (*list)[at]; }
    Iterator &operator++() { return ++at, *this; }
    Iterator operator+(difference_type n) const { return {*list, at + size_t(n)}; }
    difference_type operator-(const Iterator &other) const {
      return difference_type(at) - difference_type(other.at);
    }
    Iterator &operator+=(difference_type n) { return at += size_t(n), *this; }
    bool operator==(const Iterator &other) const { return at == other.at; }
    bool operator!=(const Iterator &other) const { return at != other.at; }

  private:
    const TokenList *list;
    size_t at;
  };
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, count}; }

private:
  static constexpr size_t blockItems = size_t(1) << 19;
  static constexpr size_t blockOverhead = 4096; ///< malloc's, of one that has pages of its own

  size_t width, count = 0;
  std::vector<std::unique_ptr<std::byte[]>> blocks;
};

} // namespace lorac::train
