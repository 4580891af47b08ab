// A GGUF file taken apart into its keys, tensors and data, changed, and put together with the right
// counts.
#include "tests/reliability/fuzz/Harness.h"

#include <algorithm>
#include <cstring>

namespace lorac::fuzz {

namespace {

/// Takes numbers and texts from the front; `good` is false once there was too little.
struct Cursor {
  std::string_view in;
  bool good = true;
  template <typename T>
  T number() {
    T value{};
    if (in.size() < sizeof value) {
      good = false;
      return value;
    }
    std::memcpy(&value, in.data(), sizeof value);
    in.remove_prefix(sizeof value);
    return value;
  }
  void skip(uint64_t count) {
    good = good && count <= in.size();
    in.remove_prefix(size_t(std::min<uint64_t>(count, in.size())));
  }
  void text() { skip(number<uint64_t>()); }
  void value(uint32_t type, int depth = 0) {
    constexpr int sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type == 8)
      return text();
    if (type == 9) {
      const uint32_t element = number<uint32_t>();
      const uint64_t count = number<uint64_t>();
      for (uint64_t i = 0; good && i < count && depth < 4; ++i)
        value(element, depth + 1);
      return;
    }
    if (type > 12)
      good = false;
    else
      skip(uint64_t(sizes[type]));
  }
};

struct Parts {
  std::vector<std::string> keys, tensors;
  std::string rest; ///< from behind the last tensor's line: padding and data
  bool good = false;
};

Parts takeApart(const std::string &bytes) {
  Parts parts;
  Cursor in{bytes};
  in.skip(8);
  const uint64_t tensors = in.number<uint64_t>(), keys = in.number<uint64_t>();
  auto entry = [&](std::vector<std::string> &list, auto read) {
    const std::string_view before = in.in;
    read();
    list.emplace_back(before.substr(0, before.size() - in.in.size()));
  };
  for (uint64_t i = 0; in.good && i < keys; ++i)
    entry(parts.keys, [&] { in.text(), in.value(in.number<uint32_t>()); });
  for (uint64_t i = 0; in.good && i < tensors; ++i)
    entry(parts.tensors, [&] {
      in.text();
      in.skip(8 * uint64_t(in.number<uint32_t>()));
      in.skip(12);
    });
  parts.rest = in.in;
  parts.good = in.good;
  return parts;
}

void changeList(std::vector<std::string> &list, Draw &draw) {
  if (list.empty())
    return;
  const size_t at = draw() % list.size(), other = draw() % list.size();
  switch (draw() % 5) {
  case 0:
    list.erase(list.begin() + long(at));
    break;
  case 1: {
    std::string copy = list[at];
    list.insert(list.begin() + long(other), std::move(copy));
    break;
  }
  case 2:
    std::swap(list[at], list[other]);
    break;
  default: { // behind the name's length a byte, or a number at the end
    std::string &entry = list[at];
    if (entry.size() > 8 && draw() % 2)
      entry[8 + draw() % (entry.size() - 8)] = char(draw());
    else if (entry.size() >= 8) {
      const uint64_t value = draw() % 3 ? draw() % 64 : draw();
      std::memcpy(entry.data() + entry.size() - 8, &value, 1 + draw() % 8);
    }
  }
  }
}

} // namespace

std::string changeGguf(const std::string &bytes, Draw &draw) {
  Parts parts = takeApart(bytes);
  if (!parts.good)
    return bytes;
  changeList(draw() % 2 ? parts.keys : parts.tensors, draw);
  const uint64_t counts[] = {parts.tensors.size(), parts.keys.size()};
  std::string out =
      bytes.substr(0, 8) + std::string(reinterpret_cast<const char *>(counts), sizeof counts);
  for (const auto *list : {&parts.keys, &parts.tensors})
    for (const std::string &entry : *list)
      out += entry;
  // The data begins at a multiple of 32 (unless the file says otherwise, which then is one more
  // change).
  const size_t oldHead = bytes.size() - parts.rest.size(), padding = (32 - oldHead % 32) % 32;
  out.resize((out.size() + 31) / 32 * 32);
  return out + (parts.rest.size() > padding ? parts.rest.substr(padding) : std::string());
}

} // namespace lorac::fuzz
