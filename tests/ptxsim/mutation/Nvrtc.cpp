#include "tests/ptxsim/mutation/Nvrtc.h"
#include <cstdlib>
#include <dlfcn.h>
#include <glob.h>
#include <gtest/gtest.h>
#include <vector>

namespace ptxsim {
namespace {

std::vector<std::string> candidates() {
  if (const char *named = std::getenv("LORAC_NVRTC"))
    return {named};
  std::vector<std::string> all{"libnvrtc.so.13"};
  if (const char *tools = std::getenv("LORAC_CUDA_TOOLS")) {
    glob_t found;
    if (glob((std::string(tools) + "/nvidia/*/lib/libnvrtc.so.1[0-9]").c_str(), 0, nullptr,
             &found) == 0)
      all.insert(all.end(), found.gl_pathv, found.gl_pathv + found.gl_pathc);
    globfree(&found);
  }
  return all;
}

void *library() {
  static void *handle = [] {
    void *opened = nullptr;
    for (const std::string &name : candidates())
      if (!opened)
        opened = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    return opened;
  }();
  return handle;
}

template <class F>
F *find(const char *name) {
  return reinterpret_cast<F *>(dlsym(library(), name));
}

} // namespace

bool hasNvrtc() { return library() != nullptr; }

std::string compileCuda(const std::string &source) {
  using Program = void *;
  Program program = nullptr;
  find<int(Program *, const char *, const char *, int, const char *const *, const char *const *)>(
      "nvrtcCreateProgram")(&program, source.c_str(), "mutant.cu", 0, nullptr, nullptr);
  const char *options[] = {"--gpu-architecture=compute_80", "-default-device", "-lineinfo"};
  int status = find<int(Program, int, const char *const *)>("nvrtcCompileProgram")(
      program, std::size(options), options);
  auto read = [&](const char *sizeName, const char *name) {
    size_t size = 0;
    find<int(Program, size_t *)>(sizeName)(program, &size);
    std::string text(size, 0);
    find<int(Program, char *)>(name)(program, text.data());
    return text;
  };
  EXPECT_EQ(status, 0) << read("nvrtcGetProgramLogSize", "nvrtcGetProgramLog");
  std::string ptx = status == 0 ? read("nvrtcGetPTXSize", "nvrtcGetPTX") : "";
  find<int(Program *)>("nvrtcDestroyProgram")(&program);
  return ptx;
}

} // namespace ptxsim
