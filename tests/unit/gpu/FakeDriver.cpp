// A libcuda.so.1 that runs nothing: memory is the host's, launches are counted, and LORAC_FAKE_CUDA
// says what fails ("count=0,memory=1000000,launch=700@3,upload=700@2": the third launch, the second
// upload). Enough to see that every failure of a driver is told in words.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#define FAKE extern "C" __attribute__((visibility("default"))) int

namespace {

long setting(const char *key, long fallback, long *at = nullptr) {
  const char *text = std::getenv("LORAC_FAKE_CUDA");
  std::string all = std::string(",") + (text ? text : "") + ",";
  size_t found = all.find("," + std::string(key) + "=");
  if (found == std::string::npos)
    return fallback;
  const char *value = all.c_str() + found + std::strlen(key) + 2;
  char *end = nullptr;
  long number = std::strtol(value, &end, 10);
  if (at && *end == '@')
    *at = std::strtol(end + 1, nullptr, 10);
  return number;
}

size_t used = 0;
long launches = 0, uploads = 0, uploadThatFails = 0;
int sticky = 0;

struct Block {
  size_t bytes;
  alignas(256) char data[1];
};

} // namespace

FAKE cuGetErrorName(int status, const char **out) {
  static thread_local char text[64];
  std::snprintf(text, sizeof text, "CUDA_ERROR_%d", status);
  *out = text;
  return 0;
}
FAKE cuGetErrorString(int status, const char **out) {
  *out = "the fake driver was told to";
  return 0;
}
FAKE cuInit(unsigned) { return int(setting("init", 0)); }
FAKE cuDriverGetVersion(int *out) { return *out = int(setting("driver", 12080)), 0; }
FAKE cuDeviceGetCount(int *out) { return *out = int(setting("count", 1)), 0; }
FAKE cuDeviceGet(int *out, int ordinal) { return *out = ordinal, 0; }
FAKE cuDeviceGetName(char *out, int size, int) {
  std::snprintf(out, size_t(size), "Fake GPU");
  return 0;
}
FAKE cuDeviceGetAttribute(int *out, int attribute, int) {
  const long capability = setting("capability", 80);
  *out = attribute == 75   ? int(capability / 10)
         : attribute == 76 ? int(capability % 10)
         : attribute == 1  ? 1024
         : attribute == 16 ? 108
         : attribute == 97 ? int(setting("shared", 166912))
                           : 0;
  return 0;
}
FAKE cuDeviceTotalMem_v2(size_t *out, int) { return *out = size_t(setting("memory", 1 << 30)), 0; }
FAKE cuDevicePrimaryCtxRetain(void **out, int) { return *out = &used, int(setting("retain", 0)); }
FAKE cuDevicePrimaryCtxRelease_v2(int) { return 0; }
FAKE cuCtxSetCurrent(void *) { return 0; }
FAKE cuMemGetInfo_v2(size_t *free, size_t *total) {
  *total = size_t(setting("memory", 1 << 30));
  *free = *total - used;
  return 0;
}
FAKE cuMemAlloc_v2(uint64_t *out, size_t bytes) {
  if (long failed = setting("alloc", 0))
    return int(failed);
  if (used + bytes > size_t(setting("memory", 1 << 30)))
    return 2;
  used += bytes;
  auto block = static_cast<Block *>(aligned_alloc(256, (sizeof(Block) + bytes + 511) / 256 * 256));
  block->bytes = bytes;
  std::memset(block->data, 0xff, bytes); // NaN
  *out = reinterpret_cast<uint64_t>(block->data);
  return 0;
}
FAKE cuMemFree_v2(uint64_t memory) {
  auto block = reinterpret_cast<Block *>(memory - offsetof(Block, data));
  used -= block->bytes;
  std::free(block);
  return 0;
}
FAKE cuMemAllocHost_v2(void **out, size_t bytes) {
  if (long failed = setting("pin", 0))
    return int(failed);
  *out = std::malloc(bytes);
  return 0;
}
FAKE cuMemFreeHost(void *memory) { return std::free(memory), 0; }
FAKE cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *) {
  long at = 0;
  const long failed = setting("upload", 0, &at);
  if (at != uploadThatFails)
    uploads = 0, uploadThatFails = at;
  if (failed && ++uploads == at)
    return int(failed);
  std::memcpy(reinterpret_cast<void *>(to), from, bytes);
  return sticky;
}
FAKE cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *) {
  std::memcpy(to, reinterpret_cast<const void *>(from), bytes);
  return sticky;
}
FAKE cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *) {
  std::memmove(reinterpret_cast<void *>(to), reinterpret_cast<const void *>(from), bytes);
  return sticky;
}
FAKE cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void *) {
  std::memset(reinterpret_cast<void *>(to), value, bytes);
  return sticky;
}
/// An image that begins like an object is a cubin.
FAKE cuModuleLoadDataEx(void **out, const void *image, unsigned count, int *options,
                        void **values) {
  const bool cubin = std::memcmp(image, "\177ELF", 4) == 0;
  *out = const_cast<char *>(cubin ? "cubin" : "ptx");
  const long failed = setting(cubin ? "cubin" : "ptx", 0);
  if (failed && !cubin)
    for (unsigned i = 0; i < count; ++i)
      if (options[i] == 5)
        std::strcpy(static_cast<char *>(values[i]), "line 1: no such instruction\nand more");
  return int(failed);
}
FAKE cuModuleUnload(void *) { return 0; }
FAKE cuModuleGetFunction(void **out, void *module, const char *name) {
  *out = module;
  return std::strcmp(name, "absent") == 0 ? 500 : 0;
}
FAKE cuFuncGetAttribute(int *out, int attribute, void *) {
  *out = attribute == 0 ? int(setting("threads", 1024)) : 0;
  return 0;
}
/// Tells none unless "parameters" says how many.
FAKE cuFuncGetParamInfo(void *, size_t index, size_t *offset, size_t *bytes) {
  *offset = 8 * index, *bytes = 8;
  return index < size_t(setting("parameters", 0)) ? 0 : 1;
}
FAKE cuFuncSetAttribute(void *, int, int) { return int(setting("attribute", 0)); }
FAKE cuLaunchKernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                    void *, void **, void **) {
  long at = 1, failed = setting("launch", 0, &at);
  if (failed && ++launches == at)
    sticky = int(failed); // shows at the next call, as an illegal address does
  return 0;
}
FAKE cuStreamCreate(void **out, unsigned) { return *out = &used, 0; }
FAKE cuStreamDestroy_v2(void *) { return 0; }
FAKE cuStreamSynchronize(void *) { return sticky; }
FAKE cuEventCreate(void **out, unsigned) { return *out = &used, 0; }
FAKE cuEventDestroy_v2(void *) { return 0; }
FAKE cuEventRecord(void *, void *) { return sticky; }
FAKE cuEventSynchronize(void *) { return sticky; }
FAKE cuEventElapsedTime(float *out, void *, void *) { return *out = 1.5f, 0; }
