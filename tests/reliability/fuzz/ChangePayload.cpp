// A payload whose table, footer or files change, and whose hashes are then made right: what a bug
// of the writer could make.
#include "runtime/formats/Hash.h"
#include "tests/reliability/fuzz/Harness.h"

#include <algorithm>

namespace lorac::fuzz {

namespace {

constexpr size_t footerBytes = 64;

uint64_t numberAt(const std::string &bytes, size_t at, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i)
    value |= uint64_t(uint8_t(bytes[at + i])) << (8 * i);
  return value;
}

void setNumber(std::string &bytes, size_t at, size_t size, uint64_t value) {
  for (size_t i = 0; i < size; ++i)
    bytes[at + i] = char(value >> (8 * i));
}

} // namespace

std::string changePayload(const std::string &bytes, Draw &draw) {
  if (bytes.size() < footerBytes)
    return bytes;
  std::string out = bytes;
  const size_t footer = out.size() - footerBytes;
  const size_t table = size_t(std::min<uint64_t>(numberAt(out, footer, 8), footer));
  const size_t begin = size_t(std::min<uint64_t>(numberAt(out, footer + 24, 8), table));
  switch (draw() % 4) {
  case 0: // a byte of a file
    if (table > begin)
      out[begin + draw() % (table - begin)] = char(draw());
    break;
  case 1: // of the table: a length, a name, a place
    if (footer > table)
      out[table + draw() % (footer - table)] = char(draw());
    break;
  case 2: { // a number of the footer
    const size_t at = footer + 8 * (draw() % 4);
    setNumber(out, at, 8, numberAt(out, at, 8) + draw() % 5 - 2);
    break;
  }
  case 3:                             // the table is cut or grows
    if (draw() % 2 && footer > table) // else the footer would be cut
      out.erase(table + draw() % (footer - table), 1);
    else
      out.insert(table, 1, char(draw()));
    setNumber(out, out.size() - footerBytes + 8, 8, out.size() - footerBytes - table);
    break;
  }
  // Hashes of the files, as the table has them, then that of table and footer.
  const size_t end = out.size() - footerBytes;
  for (size_t at = table; at + 4 <= end;) {
    const uint64_t length = numberAt(out, at, 4);
    if (length > end - at - 4 || end - at - 4 - length < 32)
      break;
    const uint64_t offset = numberAt(out, at + 4 + length, 8),
                   size = numberAt(out, at + 12 + length, 8);
    if (offset <= table && size <= table - offset)
      out.replace(at + 20 + length, 16,
                  formats::hashDigest(std::string_view(out).substr(offset, size)));
    at += 36 + length;
  }
  if (draw() % 8)
    out.replace(end + 32, 16,
                formats::hashDigest(out.substr(table, end - table) + out.substr(end, 32)));
  return out;
}

} // namespace lorac::fuzz
