#include "tests/ptxsim/unit/Gpu.h"
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

namespace ptxsim {

Gpu::Gpu() : before(config()) {
  // Reports are what tests look at; they do not stop the device.
  config().keepGoing = true;
  clearReports();
  EXPECT_EQ(cuInit(0), CUDA_SUCCESS);
  CUcontext context = nullptr;
  EXPECT_EQ(cuDevicePrimaryCtxRetain(&context, 0), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSetCurrent(context), CUDA_SUCCESS);
}

Gpu::~Gpu() {
  for (CUmodule module : modules)
    cuModuleUnload(module);
  for (CUdeviceptr buffer : buffers)
    cuMemFree_v2(buffer);
  cuDevicePrimaryCtxRelease_v2(0);
  clearReports();
  config() = before;
}

void Gpu::load(const std::string &ptx) {
  static const char *head = ".version 8.0\n.target sm_80\n.address_size 64\n";
  std::string text = ptx.find(".version") == ptx.npos ? head + ptx : ptx;
  // What the tests load can be looked at, and given to ptxas.
  if (const char *folder = std::getenv("PTXSIM_TEST_DUMP")) {
    static int number = 0;
    std::ofstream(std::string(folder) + "/" + std::to_string(number++) + ".ptx") << text;
  }
  CUmodule module = nullptr;
  ASSERT_EQ(cuModuleLoadData(&module, text.c_str()), CUDA_SUCCESS);
  modules.push_back(module);
}

CUfunction Gpu::function(const std::string &kernel) {
  CUfunction found = nullptr;
  for (CUmodule module : modules)
    if (cuModuleGetFunction(&found, module, kernel.c_str()) == CUDA_SUCCESS)
      return found;
  ADD_FAILURE() << "no kernel '" << kernel << "'";
  return nullptr;
}

CUdeviceptr Gpu::allocate(size_t bytes) {
  CUdeviceptr address = 0;
  EXPECT_EQ(cuMemAlloc_v2(&address, bytes), CUDA_SUCCESS);
  buffers.push_back(address);
  return address;
}

std::vector<ReportKind> Gpu::findings() {
  std::set<ReportKind> kinds;
  for (const Report &report : reports())
    kinds.insert(report.kind);
  clearReports();
  return {kinds.begin(), kinds.end()};
}

std::ostream &operator<<(std::ostream &out, ReportKind kind) { return out << nameOf(kind); }

std::string kernelFile(const std::string &name) {
  std::ifstream file(std::string(PTXSIM_KERNELS) + "/" + name);
  EXPECT_TRUE(file) << name;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

} // namespace ptxsim
