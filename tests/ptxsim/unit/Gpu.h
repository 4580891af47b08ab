// A simulated GPU for one test: a context, buffers, launches, and what the checks reported.
#ifndef PTXSIM_UNIT_GPU_H
#define PTXSIM_UNIT_GPU_H

#include "tests/ptxsim/driver/CudaApi.h"
#include "tests/ptxsim/machine/Config.h"
#include "tests/ptxsim/machine/Report.h"
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace ptxsim {

struct Shape {
  unsigned x = 1, y = 1, z = 1;
};

class Gpu {
public:
  Gpu();
  ~Gpu();
  Gpu(const Gpu &) = delete;

  /// Loads PTX; the head of a module (.version …) is put before it where it has none.
  void load(const std::string &ptx);
  CUfunction function(const std::string &kernel);

  /// Device memory with these values.
  template <class T>
  CUdeviceptr upload(const std::vector<T> &values) {
    CUdeviceptr address = allocate(values.size() * sizeof(T));
    EXPECT_EQ(cuMemcpyHtoD_v2(address, values.data(), values.size() * sizeof(T)), CUDA_SUCCESS);
    return address;
  }
  /// Device memory that nobody has written.
  CUdeviceptr allocate(size_t bytes);
  template <class T>
  std::vector<T> download(CUdeviceptr address, size_t count) {
    std::vector<T> values(count);
    EXPECT_EQ(cuMemcpyDtoH_v2(values.data(), address, count * sizeof(T)), CUDA_SUCCESS);
    return values;
  }

  template <class... Args>
  void launch(const std::string &kernel, Shape grid, Shape block, unsigned shared, Args... args) {
    void *pointers[] = {&args..., nullptr};
    CUfunction handle = function(kernel);
    if (shared > 49152) {
      EXPECT_EQ(cuFuncSetAttribute(handle, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                   static_cast<int>(shared)),
                CUDA_SUCCESS);
    }
    EXPECT_EQ(cuLaunchKernel(handle, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared,
                             nullptr, pointers, nullptr),
              CUDA_SUCCESS);
    EXPECT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  }

  /// Kinds of reports since the last call, each once, in a fixed order.
  std::vector<ReportKind> findings();

private:
  std::vector<CUmodule> modules;
  std::vector<CUdeviceptr> buffers;
  Config before; // restored at the end
};

/// The kinds as text, for messages of tests.
std::ostream &operator<<(std::ostream &out, ReportKind kind);

/// A file of unit/kernels.
std::string kernelFile(const std::string &name);

} // namespace ptxsim

#endif
