#include "tests/numerics/cuda/DeviceKernels.h"

#include "compiler/codegen/cuda/CudaPrinter.h"
#include "compiler/codegen/cuda/GenerateKernels.h"
#include "compiler/codegen/cuda/Nvrtc.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>

using namespace mlir;
using namespace lorac;
using namespace lorac::test;

void DeviceKernels::compile(ModuleOp planned) {
  // LORAC_TEST_ARCH: an architecture with warpgroups, or not. LORAC_TEST_MULTIPROCESSORS: few make
  // blocks large.
  const char *named = std::getenv("LORAC_TEST_ARCH"),
             *few = std::getenv("LORAC_TEST_MULTIPROCESSORS");
  const std::string arch = named ? named : "sm_80";
  llvm::Expected<cuda::CudaTarget> target = cuda::CudaTarget::get({arch}, "bf16");
  ASSERT_TRUE(bool(target)) << llvm::toString(target.takeError());
  if (few)
    target->multiprocessors = std::atoi(few);
  const std::string virtualArch = "compute_" + arch.substr(3);
  auto generated = cuda::generateKernels(planned, *target);
  ASSERT_TRUE(succeeded(generated) && succeeded(cuda::setGrids(planned, *target)));
  llvm::Expected<cuda::Nvrtc> nvrtc = cuda::Nvrtc::open();
  ASSERT_TRUE(bool(nvrtc)) << llvm::toString(nvrtc.takeError());
  std::map<std::string, std::string> ptx;
  std::map<std::string, Kernel> made;
  for (auto function : (*generated)->getOps<func::FuncOp>()) {
    std::string name = function.getName().str();
    FailureOr<std::string> source = cuda::printCuda(function, "a test's kernel");
    ASSERT_TRUE(succeeded(source));
    if (const char *folder = std::getenv("LORAC_TEST_DUMP")) // to look at what failed
      std::ofstream(std::string(folder) + "/" + name + ".cu") << *source;
    auto compiled = nvrtc->compile(*source, name, virtualArch);
    ASSERT_TRUE(bool(compiled)) << llvm::toString(compiled.takeError()) << *source;
    auto attribute = [&](StringRef key) {
      return int(function->getAttrOfType<IntegerAttr>(key).getInt());
    };
    made[name] = {nullptr, attribute("cuda.threads"), attribute("cuda.shared")};
    ptx[name] = compiled->ptx;
  }
  for (auto &[name, kernel] : made)
    kernel.function = Simulator::get().load(ptx[name], name, kernel.shared);
  kernels = std::move(made);
}

void DeviceKernels::launch(lora::LaunchOp launch, std::vector<Simulator::Pointer> pointers,
                           Simulator::Pointer step) const {
  pointers.push_back(step);
  int32_t begin = launch.getFixed() ? -1 : int32_t(launch.getBegin()),
          count = int32_t(launch.getCount());
  std::vector<void *> arguments;
  for (Simulator::Pointer &pointer : pointers)
    arguments.push_back(&pointer);
  arguments.push_back(&begin), arguments.push_back(&count);
  std::vector<int32_t> scalars;
  if (auto given = launch.getScalars())
    scalars.assign(given->begin(), given->end());
  for (int32_t &scalar : scalars)
    arguments.push_back(&scalar);
  auto grid = launch->getAttrOfType<DenseI64ArrayAttr>("grid").asArrayRef();
  const Kernel &kernel = kernels.at(launch.getKernel().str());
  Simulator::get().launch(kernel.function, {grid[0], grid[1], grid[2]}, kernel.threads,
                          kernel.shared, arguments);
}
