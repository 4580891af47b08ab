#include "runtime/train/Payload.h"

#include "runtime/UniqueFd.h"
#include "runtime/formats/DurableFile.h"
#include "runtime/formats/Hash.h"
#include "runtime/formats/Trust.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string_view>
#include <sys/stat.h>

namespace lorac::train {

namespace {

constexpr char magic[16] = {'l', 'o', 'r', 'a', 'c', ' ',  'p',  'a',
                            'y', 'l', 'o', 'a', 'd', '\r', '\n', '\x1a'};
constexpr size_t footerBytes = 64, hashBytes = 16;
constexpr uint32_t layoutVersion = 1,
                   mostFiles = 1 << 16; // two a kernel and architecture
constexpr uint64_t mostPayload = uint64_t(1) << 32;

struct Footer {
  uint64_t tableOffset = 0, tableSize = 0;
  uint32_t files = 0, version = 0;
  uint64_t begin = 0;
};

void put(std::string &out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i)
    out.push_back(char(value >> (8 * i)));
}

uint64_t take(std::string_view &in, int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; ++i)
    value |= uint64_t(uint8_t(in[size_t(i)])) << (8 * i);
  in.remove_prefix(size_t(bytes));
  return value;
}

Error failed(const std::string &what, const std::string &path) {
  return Error{"cannot " + what + " '" + path +
                   "': " + (errno ? std::strerror(errno) : "it ends early"),
               Exit::Failed};
}

/// Reads exactly [offset, offset + size).
bool readAt(const UniqueFd &file, uint64_t offset, uint64_t size, std::string &out) {
  out.resize(size);
  return lorac::readAt(*file, offset, out.data(), size) == size;
}

/// The footer of a file of `size` bytes; version 0 when the file has no payload.
Result<Footer> readFooter(const UniqueFd &file, uint64_t size, const std::string &path,
                          std::string &table) {
  std::string bytes;
  if (size < footerBytes || !readAt(file, size - footerBytes, footerBytes, bytes) ||
      std::memcmp(bytes.data() + 48, magic, sizeof magic) != 0)
    return Footer{};
  std::string_view in = bytes;
  Footer footer;
  footer.tableOffset = take(in, 8);
  footer.tableSize = take(in, 8);
  footer.files = uint32_t(take(in, 4));
  footer.version = uint32_t(take(in, 4));
  footer.begin = take(in, 8);
  uint64_t end = size - footerBytes;
  Error corrupt{"the payload of '" + path + "' is corrupt at its footer; compile the spec again",
                Exit::ForeignFile};
  if (footer.begin > footer.tableOffset || footer.tableOffset > end ||
      footer.tableSize != end - footer.tableOffset || end - footer.begin > mostPayload ||
      footer.files > mostFiles || !readAt(file, footer.tableOffset, footer.tableSize, table) ||
      formats::hashDigest(table + bytes.substr(0, 32)) != bytes.substr(32, hashBytes))
    return corrupt;
  if (footer.version != layoutVersion)
    return Error{"the payload of '" + path + "' has layout " + std::to_string(footer.version) +
                     ", known is 1; compile the spec again",
                 Exit::ForeignFile};
  return footer;
}

} // namespace

// `executable` and the files behind it.
static Result<void> writePayload(std::string_view executable, const std::vector<PayloadFile> &files,
                                 const std::string &outPath, mode_t mode) {
  std::string table;
  const uint64_t begin = executable.size();
  uint64_t offset = begin;
  for (const PayloadFile &file : files) {
    put(table, file.name.size(), 4);
    table += file.name;
    put(table, offset, 8);
    put(table, file.bytes.size(), 8);
    table += formats::hashDigest(file.bytes);
    offset += file.bytes.size();
  }
  std::string footer;
  put(footer, offset, 8);
  put(footer, table.size(), 8);
  put(footer, files.size(), 4);
  put(footer, layoutVersion, 4);
  put(footer, begin, 8);
  footer += formats::hashDigest(table + footer);
  footer.append(magic, sizeof magic);

  LORAC_TRY_ASSIGN(formats::DurableFile out, formats::DurableFile::create(outPath, mode));
  Result<void> written = out.write(executable);
  for (const PayloadFile &file : files)
    if (written)
      written = out.write(file.bytes);
  if (written)
    written = out.write(table + footer);
  return written ? out.commit() : written;
}

Result<void> writeTrainBinary(const std::string &runtimeExe, const std::vector<PayloadFile> &files,
                              const std::string &outPath) {
  const UniqueFd source(open(runtimeExe.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info;
  if (!source || fstat(*source, &info) != 0)
    return failed("open the runtime", runtimeExe);
  std::string table, executable;
  LORAC_TRY_ASSIGN(Footer old, readFooter(source, uint64_t(info.st_size), runtimeExe, table));
  const uint64_t begin = old.version ? old.begin : uint64_t(info.st_size);
  if (!readAt(source, 0, begin, executable))
    return failed("read the runtime", runtimeExe);

  return writePayload(executable, files, outPath, 0777);
}

Result<void> writeProgram(const std::vector<PayloadFile> &files, const std::string &outPath) {
  return writePayload("", files, outPath, 0600);
}

Result<Payload> Payload::read(const std::string &path, bool mustBeOurs) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | (mustBeOurs ? O_NOFOLLOW : 0)));
  struct stat info;
  if (!file || fstat(*file, &info) != 0)
    return failed("open", path);
  if (const std::string why = mustBeOurs ? formats::notOurs(info) : ""; !why.empty())
    return Error{"'" + path + "' " + why, Exit::ForeignFile};
  std::string table;
  LORAC_TRY_ASSIGN(Footer footer, readFooter(file, uint64_t(info.st_size), path, table));
  if (footer.version == 0)
    return Error{
        "'" + path +
            "' carries no program, or was cut short; 'lorac compile SPEC' writes one that does",
        Exit::ForeignFile};

  auto corrupt = [&](const std::string &what) {
    return Error{"the payload of '" + path + "' is corrupt: " + what + "; compile the spec again",
                 Exit::ForeignFile};
  };
  Payload payload;
  std::string_view in = table;
  uint64_t expected = footer.begin;
  for (uint32_t i = 0; i < footer.files; ++i) {
    if (in.size() < 4)
      return corrupt("its table ends early");
    uint64_t length = take(in, 4);
    if (in.size() < length || in.size() - length < 16 + hashBytes)
      return corrupt("its table ends early");
    std::string name(in.substr(0, length));
    in.remove_prefix(length);
    uint64_t offset = take(in, 8), size = take(in, 8);
    std::string hash(in.substr(0, hashBytes));
    in.remove_prefix(hashBytes);
    if (offset != expected || size > footer.tableOffset - offset)
      return corrupt("'" + name + "' lies outside of it");
    expected = offset + size;
    std::string bytes;
    if (!readAt(file, offset, size, bytes) || formats::hashDigest(bytes) != hash)
      return corrupt("the bytes of '" + name + "' have another hash");
    payload.files[name] = std::move(bytes);
  }
  if (expected != footer.tableOffset || !in.empty())
    return corrupt("its files do not fill it");
  return payload;
}

const std::string &Payload::file(const std::string &name) const {
  static const std::string none;
  auto it = files.find(name);
  return it == files.end() ? none : it->second;
}

std::vector<std::string> Payload::names() const {
  std::vector<std::string> out;
  for (const auto &[name, bytes] : files)
    out.push_back(name);
  return out;
}

} // namespace lorac::train
