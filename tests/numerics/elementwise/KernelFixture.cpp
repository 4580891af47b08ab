#include "tests/numerics/elementwise/KernelFixture.h"

#include "compiler/codegen/cpu/GenerateKernels.h"
#include "compiler/codegen/cpu/LowerToLLVM.h"
#include "compiler/codegen/cpu/ObjectFile.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Parser/Parser.h"

#include <cstdio>
#include <cstdlib>

#include <dlfcn.h>

namespace lorac::testing {
namespace {

[[noreturn]] void fail(const std::string &what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::abort();
}

cpu::CpuTarget targetFor(const std::string &name) {
  llvm::Expected<cpu::CpuTarget> target = cpu::CpuTarget::get(name);
  if (!target)
    fail(llvm::toString(target.takeError()));
  return *target;
}

std::string kernelText(const std::string &family, const cpu::KernelShape &shape,
                       const std::string &params, const std::string &body) {
  std::string region = body.empty() ? "" : " body {" + body + "\n}";
  return llvm::formatv("lora.kernel @k family \"{0}\" {1} tile {2} count {3} scratch {4} {{{5}}{6}",
                       family, lora::stringifyTileSpace(shape.space), shape.tile, shape.count,
                       shape.scratch, params, region);
}

std::shared_ptr<void> loadModule(mlir::ModuleOp lowered, const cpu::CpuTarget &target) {
  char folder[] = "/tmp/lorac-kernel-XXXXXX";
  if (!mkdtemp(folder))
    fail("no temporary folder");
  std::string path = std::string(folder) + "/module.so";
  if (llvm::Error error = cpu::writeSharedObject(lowered, target, path))
    fail(llvm::toString(std::move(error)));
  void *handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    fail(dlerror());
  std::remove(path.c_str());
  rmdir(folder);
  return std::shared_ptr<void>(handle, dlclose);
}

} // namespace

Kernel Kernel::compile(const std::string &cpu, const std::string &family, const std::string &params,
                       const std::string &body) {
  cpu::CpuTarget target = targetFor(cpu);
  mlir::DialectRegistry registry;
  registry.insert<lora::LoraDialect, mlir::arith::ArithDialect, mlir::math::MathDialect>();
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();

  Kernel kernel;
  auto attributes = mlir::dyn_cast_or_null<mlir::DictionaryAttr>(
      mlir::parseAttribute("{" + params + "}", &context));
  const cpu::Family *known = cpu::findFamily(family);
  if (!attributes || !known)
    fail("no kernel " + family + " {" + params + "}");
  auto shape = known->describe(mlir::UnknownLoc::get(&context), attributes, target);
  if (mlir::failed(shape))
    fail(family + " declines {" + params + "}");
  kernel.size = *shape;
  auto planned =
      mlir::parseSourceString<mlir::ModuleOp>(kernelText(family, *shape, params, body), &context);
  if (!planned)
    fail("the kernel's text does not parse");
  auto lowered = cpu::generateKernels(*planned, target);
  if (mlir::failed(lowered) || mlir::failed(cpu::lowerToLLVM(lowered->get())))
    fail(family + " cannot be generated");
  kernel.module = loadModule(lowered->get(), target);
  kernel.entry = reinterpret_cast<LoracKernel>(dlsym(kernel.module.get(), "k"));
  if (!kernel.entry)
    fail("the module has no symbol 'k'");
  return kernel;
}

int64_t Kernel::tiles(int64_t rows, int64_t segments) const {
  switch (size.space) {
  case lora::TileSpace::Rows:
    return cpu::ceilDiv(rows, size.tile);
  case lora::TileSpace::Const:
    return size.count;
  case lora::TileSpace::Segments:
    return segments * size.count;
  }
  return 0;
}

void Kernel::runRange(const std::vector<void *> &buffers, int64_t rows, const LoracStep &step,
                      int64_t begin, int64_t end) const {
  Array<float> scratch(std::vector<float>(cpu::roundUp(size.scratch, 64) / 4,
                                          std::numeric_limits<float>::quiet_NaN()));
  entry(buffers.data(), &step, rows, begin, end, scratch.data(), nullptr);
}

void Kernel::run(const std::vector<void *> &buffers, int64_t rows, const LoracStep &step) const {
  runRange(buffers, rows, step, 0, tiles(rows, step.segments));
}

void Kernel::runInPieces(const std::vector<void *> &buffers, int64_t rows,
                         const LoracStep &step) const {
  int64_t end = tiles(rows, step.segments);
  for (int64_t piece = 1; end > 0; piece = piece % 3 + 1) {
    int64_t begin = std::max<int64_t>(0, end - piece);
    runRange(buffers, rows, step, begin, end);
    end = begin;
  }
}

void KernelTest::SetUp() {
  if (GetParam() == std::string("x86-64-v3") &&
      !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")))
    GTEST_SKIP() << "this machine has no AVX2";
  if (GetParam() == std::string("x86-64-v4") &&
      !(__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq")))
    GTEST_SKIP() << "this machine has no AVX-512";
}

} // namespace lorac::testing
