#include "tests/numerics/gemm/CompiledKernels.h"
#include "compiler/codegen/cpu/GenerateKernels.h"
#include "compiler/codegen/cpu/LowerToLLVM.h"
#include "compiler/codegen/cpu/ObjectFile.h"
#include "mlir/AsmParser/AsmParser.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include <cstring>
#include <dlfcn.h>
#include <unistd.h>

using namespace lorac;
using namespace lorac::testing;

Aligned::Aligned(size_t bytes) : size((bytes + 64 + 63) / 64 * 64) {
  base = std::aligned_alloc(64, size);
  std::memset(base, 0, size);
}

Aligned::~Aligned() { std::free(base); }

static cpu::CpuTarget targetOf(const std::string &cpu) {
  llvm::Expected<cpu::CpuTarget> target = cpu::CpuTarget::get(cpu);
  if (!target)
    llvm::report_fatal_error(target.takeError());
  return *target;
}

CompiledKernels::CompiledKernels(const std::string &cpu) : target(targetOf(cpu)) {
  mlir::DialectRegistry registry;
  lora::registerLoraDialects(registry);
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
  planned = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
}

CompiledKernels::~CompiledKernels() {
  if (library)
    dlclose(library);
}

void CompiledKernels::add(const std::string &name, const std::string &family,
                          const std::string &params) {
  auto attributes = llvm::dyn_cast_or_null<mlir::DictionaryAttr>(
      mlir::parseAttribute("{" + params + "}", &context));
  const cpu::Family *known = cpu::findFamily(family);
  if (!attributes || !known)
    llvm::report_fatal_error("no such family, or bad parameters");
  mlir::OpBuilder builder = mlir::OpBuilder::atBlockEnd(planned->getBody());
  mlir::FailureOr<cpu::KernelShape> shape =
      known->describe(builder.getUnknownLoc(), attributes, target);
  if (failed(shape))
    llvm::report_fatal_error("the family refuses the parameters");
  lora::KernelOp::create(builder, builder.getUnknownLoc(), name, family, shape->space, shape->tile,
                         shape->count, shape->scratch, attributes);
  kernels[name] = {*shape, nullptr, known->flops(attributes, 1)};
}

mlir::ModuleOp CompiledKernels::lowered() {
  if (!low) {
    auto generated = cpu::generateKernels(*planned, target);
    if (failed(generated) || failed(cpu::lowerToLLVM(**generated)))
      llvm::report_fatal_error("kernels cannot be generated");
    low = std::move(*generated);
  }
  return *low;
}

void CompiledKernels::compile() {
  llvm::SmallString<128> path;
  if (llvm::sys::fs::createTemporaryFile("lorac-gemm", "so", path))
    llvm::report_fatal_error("no temporary file");
  if (llvm::Error error = cpu::writeSharedObject(lowered(), target, path))
    llvm::report_fatal_error(std::move(error));
  library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  const char *message = library ? nullptr : dlerror();
  (void)llvm::sys::fs::remove(path);
  if (!library)
    llvm::report_fatal_error(message);
  for (auto &[name, kernel] : kernels) {
    kernel.function = reinterpret_cast<LoracKernel>(dlsym(library, name.c_str()));
    if (!kernel.function)
      llvm::report_fatal_error("a kernel is missing in the module");
  }
}

std::string CompiledKernels::assembly(const std::string &name) {
  llvm::Expected<std::string> text = cpu::assembleKernel(lowered(), target, name);
  if (!text)
    llvm::report_fatal_error(text.takeError());
  return *text;
}

int64_t CompiledKernels::Kernel::tiles(int64_t rows) const {
  return shape.space == lora::TileSpace::Rows ? cpu::ceilDiv(rows, shape.tile) : shape.count;
}

void CompiledKernels::Kernel::run(const std::vector<void *> &buffers, int64_t rows, int64_t begin,
                                  int64_t end, const std::vector<int64_t> &scalars) const {
  Aligned scratch(shape.scratch);
  std::memset(scratch.data(), 0xff, shape.scratch);
  LoracStep step{rows, 1, 1.0f, 0, 0, 0};
  function(buffers.data(), &step, rows, begin, end, scratch.data(), scalars.data());
}

bool lorac::testing::runsHere(const std::string &cpu) {
  auto has = targetOf("native").featureNames(), wanted = targetOf(cpu).featureNames();
  return llvm::all_of(wanted,
                      [&](const std::string &feature) { return llvm::is_contained(has, feature); });
}
