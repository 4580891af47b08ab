#pragma once
// A kernel of a family and one launch of it, in the simulator.

#include "compiler/pipeline/CudaTarget.h"
#include "tests/numerics/cuda/DeviceKernels.h"
#include "tests/numerics/interpreter/Support.h"
#include "tests/numerics/program/OneOp.h"

#include <gtest/gtest.h>

#include <map>

namespace lorac::test {

class OneKernel {
public:
  /// `params` as the attribute dictionary prints, without braces; `body` is the kernel's region.
  OneKernel(std::string family, std::string params, std::string body, int64_t rows)
      : family(std::move(family)), params(std::move(params)), body(std::move(body)), rows(rows) {}
  ~OneKernel() {
    for (const Buffer &buffer : buffers)
      Simulator::get().free(buffer.memory);
  }
  OneKernel(const OneKernel &) = delete;

  /// The next buffer, with these values; its number. `row` is a memref's type behind its rows:
  /// "4xi32", "f32".
  template <typename T>
  size_t add(const std::vector<T> &values, const std::string &row) {
    const size_t bytes = values.size() * sizeof(T);
    const std::map<std::string, size_t> bytesOf{
        {"4xi32", 16}, {"5xi32", 20}, {"f32", 4}, {"f64", 8}, {"i8", 1}};
    buffers.push_back({Simulator::get().allocate(std::max<size_t>(bytes, 4)), bytes,
                       "memref<" + std::to_string(bytes / bytesOf.at(row)) + "x" + row + ">"});
    if (bytes > 0)
      Simulator::get().upload(buffers.back().memory, values.data(), bytes);
    again(buffers.size() - 1);
    return buffers.size() - 1;
  }
  /// The next buffer is one that was added.
  void again(size_t buffer) { taken.push_back(buffer); }

  void run() {
    std::string operands, types, text;
    for (size_t i = 0; i < taken.size(); ++i) {
      const std::string name = "%b" + std::to_string(i), &type = buffers[taken[i]].type;
      text += "  " + name + " = lora.buffer io \"b\" at 0 : " + type + "\n";
      operands += (i ? ", " : "") + name, types += (i ? ", " : "") + type;
    }
    Program program("lora.kernel @k family \"" + family + "\" rows tile 0 count 0 scratch 0 {" +
                    params + "} body {" + body + "\n}\nlora.program micro_batch @once() {\n" +
                    text + "  lora.launch @k(" + operands + ") rows [0, " + std::to_string(rows) +
                    "] fixed : " + types + "\n  lora.return\n}\n");
    mlir::DialectRegistry registry;
    registerCudaDialects(registry);
    program.context.appendDialectRegistry(registry);
    program.context.loadAllAvailableDialects();
    DeviceKernels kernels;
    kernels.compile(*program.module);
    ASSERT_FALSE(kernels.empty());
    std::vector<Simulator::Pointer> pointers;
    for (size_t buffer : taken)
      pointers.push_back(buffers[buffer].memory);
    program.module->walk(
        [&](lora::LaunchOp launch) { kernels.launch(launch, pointers, /*step=*/0); });
    Simulator::get().finish();
  }

  template <typename T>
  std::vector<T> get(size_t buffer) const {
    std::vector<T> values(buffers[buffer].bytes / sizeof(T));
    Simulator::get().download(values.data(), buffers[buffer].memory, buffers[buffer].bytes);
    return values;
  }

private:
  struct Buffer {
    Simulator::Pointer memory;
    size_t bytes;
    std::string type;
  };
  std::string family, params, body;
  int64_t rows;
  std::vector<Buffer> buffers;
  std::vector<size_t> taken;
};

/// Skipped where there is no simulator or no compiler of CUDA.
class OneKernelTest : public ::testing::Test {
protected:
  void SetUp() override {
    if (std::string why = whatIsMissing(); !why.empty())
      GTEST_SKIP() << why;
  }
};

} // namespace lorac::test
