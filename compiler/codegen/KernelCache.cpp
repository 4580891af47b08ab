#include "compiler/codegen/KernelCache.h"

#include "runtime/formats/DurableFile.h"
#include "runtime/formats/Hash.h"
#include "runtime/formats/Trust.h"

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>

namespace lorac {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view magic = "lorac kernel 1\r\n";
constexpr size_t hashBytes = 16;
constexpr size_t headBytes = magic.size() + 8 + 8 + hashBytes; ///< before the checksum
constexpr uint64_t mostBytes = uint64_t(1) << 30;

/// Fields are set apart by their lengths, so that none runs into the next.
std::string hashOf(const CacheKey &key) {
  std::string text;
  for (const std::string *field : {&key.source, &key.options, &key.architecture, &key.compiler})
    text += std::to_string(field->size()) + ":" + *field;
  return formats::hashDigest(text);
}

void put(std::string &out, uint64_t value) {
  for (int i = 0; i < 8; ++i)
    out += char(value >> (8 * i));
}
uint64_t numberAt(std::string_view bytes, size_t at) {
  uint64_t value = 0;
  for (int i = 0; i < 8; ++i)
    value |= uint64_t(uint8_t(bytes[at + size_t(i)])) << (8 * i);
  return value;
}

std::string headOf(const std::string &keyHash, const StoredKernel &kernel) {
  std::string head(magic);
  put(head, kernel.binary.size());
  put(head, kernel.resources.size());
  return head + keyHash;
}

std::string checksum(std::string_view head, std::string_view body) {
  formats::Hasher hasher;
  hasher.add(head);
  hasher.add(body);
  return hasher.digest();
}

std::optional<StoredKernel> parseEntry(const std::string &bytes, const std::string &keyHash) {
  if (bytes.size() < headBytes + hashBytes || bytes.compare(0, magic.size(), magic) != 0)
    return std::nullopt;
  const std::string_view all = bytes, head = all.substr(0, headBytes),
                         sum = all.substr(headBytes, hashBytes),
                         body = all.substr(headBytes + hashBytes);
  const uint64_t binary = numberAt(all, magic.size()), resources = numberAt(all, magic.size() + 8);
  if (binary > body.size() || resources != body.size() - binary ||
      head.substr(magic.size() + 16) != keyHash || checksum(head, body) != sum)
    return std::nullopt;
  return StoredKernel{std::string(body.substr(0, binary)), std::string(body.substr(binary))};
}

} // namespace

std::string CacheKey::hash() const { return formats::hexOf(hashOf(*this)); }

KernelCache::KernelCache(std::string folder, std::function<void(const std::string &)> warn)
    : where(std::move(folder)), warn(std::move(warn)) {
  if (where.empty())
    return;
  if (Result<void> ours = formats::checkOwnFolder(where); !ours) {
    sayNotKept(ours.error().message);
    where.clear();
  }
}

void KernelCache::sayNotKept(const std::string &why) {
  if (warn)
    std::call_once(warned, [&] {
      warn("compiled kernels are not kept: " + why + "; LORAC_CACHE_DIR names another folder");
    });
}

std::string KernelCache::pathOf(const std::string &hash) const {
  return where + "/" + hash + ".kernel";
}

std::optional<StoredKernel> KernelCache::find(const CacheKey &key) {
  if (where.empty())
    return std::nullopt;
  const std::string keyHash = hashOf(key), path = pathOf(formats::hexOf(keyHash));
  const Result<std::string> bytes = formats::readOwnFile(path, mostBytes);
  std::optional<StoredKernel> kernel = bytes ? parseEntry(*bytes, keyHash) : std::nullopt;
  if (kernel) {
    ++foundCount;
    return kernel;
  }
  ++missedCount;
  // Another writer may just have set a whole one in its place: that one is made again, no more.
  std::error_code ignored;
  if (fs::is_regular_file(fs::symlink_status(path, ignored)) || fs::is_symlink(path, ignored))
    fs::remove(path, ignored);
  return std::nullopt;
}

void KernelCache::keep(const CacheKey &key, const StoredKernel &kernel) {
  if (where.empty())
    return;
  const std::string keyHash = hashOf(key), head = headOf(keyHash, kernel),
                    body = kernel.binary + kernel.resources;
  Result<void> written = formats::makeOwnFolder(where);
  if (written)
    written = formats::writeDurably(pathOf(formats::hexOf(keyHash)),
                                    head + checksum(head, body) + body, 0600);
  if (!written)
    sayNotKept(written.error().message);
}

} // namespace lorac
