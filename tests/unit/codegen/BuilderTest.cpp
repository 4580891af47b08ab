// Functions that KernelBuilder writes out because kernels have no libm, and the entry points of
// runtime/abi.h.

#include "compiler/codegen/cpu/GenerateKernels.h"
#include "compiler/codegen/cpu/KernelBuilder.h"
#include "compiler/codegen/cpu/LowerToLLVM.h"
#include "compiler/codegen/cpu/ObjectFile.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "runtime/abi.h"
#include "tests/numerics/gemm/CompiledKernels.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include <cmath>
#include <cstring>
#include <dlfcn.h>
#include <gmock/gmock.h>

using namespace lorac;
using cpu::KernelBuilder;
using mlir::Value;

namespace {

/// A module of kernels that a test writes itself, for one CPU.
struct Written {
  cpu::CpuTarget target;
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> planned, kernels;
  void *library = nullptr;

  explicit Written(const std::string &name) : target(llvm::cantFail(cpu::CpuTarget::get(name))) {
    mlir::DialectRegistry registry;
    lora::registerLoraDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    planned = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
    kernels = *cpu::generateKernels(*planned, target); // empty: loads what builders need
  }
  ~Written() {
    if (library)
      dlclose(library);
  }

  void write(const std::string &name, llvm::ArrayRef<mlir::MemRefType> buffers,
             llvm::function_ref<void(KernelBuilder &)> body) {
    mlir::OpBuilder builder = mlir::OpBuilder::atBlockEnd(planned->getBody());
    auto kernel =
        lora::KernelOp::create(builder, builder.getUnknownLoc(), name, "test",
                               lora::TileSpace::Rows, 1, 0, 4096, builder.getDictionaryAttr({}));
    builder.setInsertionPointToEnd(kernels->getBody());
    KernelBuilder k(kernel, builder, target, buffers);
    body(k);
  }

  llvm::Error link(llvm::StringRef path, unsigned threads = 2) {
    return cpu::writeSharedObject(*kernels, target, path, {"", threads});
  }

  LoracKernel load(const std::string &name) {
    if (!library) {
      llvm::SmallString<128> path;
      EXPECT_FALSE(llvm::sys::fs::createTemporaryFile("lorac-builder", "so", path));
      EXPECT_TRUE(succeeded(cpu::lowerToLLVM(*kernels)));
      llvm::cantFail(link(path));
      library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
      (void)llvm::sys::fs::remove(path);
    }
    return reinterpret_cast<LoracKernel>(dlsym(library, name.c_str()));
  }
};

class Builder : public ::testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    if (!lorac::testing::runsHere(GetParam()))
      GTEST_SKIP() << "this machine cannot run code for " << GetParam();
  }
};

void call(LoracKernel kernel, std::vector<void *> buffers, int64_t rows) {
  LoracStep step{7, 3, 0.25f, 11, 12, 13};
  alignas(64) char scratch[4096];
  kernel(buffers.data(), &step, rows, 5, 9, scratch, nullptr);
}

TEST_P(Builder, ExpIsAccurateAndNeverInfinite) {
  Written written(GetParam());
  auto type = KernelBuilder::dense({cpu::manyRows}, mlir::Float32Type::get(&written.context));
  written.write("exponential", {type, type}, [](KernelBuilder &k) {
    k.forLoop(k.index(0), k.rows(), k.lanes(),
              [&](Value i) { k.vstore(k.vexp(k.vload(k.buffer(0), {i})), k.buffer(1), {i}); });
  });
  std::vector<float> x;
  for (int i = -87000; i < 87000; ++i)
    x.push_back(i * 1e-3f);
  x.insert(x.end(), {-INFINITY, INFINITY, NAN, -1e30f, 1e30f, 0.0f, -0.0f, 1e-40f});
  x.resize(x.size() / 8 * 8);
  std::vector<float> y(x.size());
  call(written.load("exponential"), {x.data(), y.data()}, x.size());
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i])) { // what is no number is not hidden
      EXPECT_TRUE(std::isnan(y[i])) << y[i];
      continue;
    }
    ASSERT_TRUE(std::isfinite(y[i]) && y[i] > 0) << x[i];
    if (std::fabs(x[i]) < 87)
      worst = std::max(worst, std::fabs(y[i] / std::exp(double(x[i])) - 1));
  }
  EXPECT_LT(worst, GetParam() == std::string("x86-64")
                       ? 1e-6
                       : 2.5e-7); // without FMA the argument is reduced less exactly
}

TEST_P(Builder, EveryHalf) {
  Written written(GetParam());
  mlir::OpBuilder b(&written.context);
  auto halves = KernelBuilder::dense({cpu::manyRows}, b.getI16Type()),
       floats = KernelBuilder::dense({cpu::manyRows}, b.getF32Type());
  auto convert = [&](const char *name, Value (KernelBuilder::*function)(Value)) {
    written.write(name, {halves, floats}, [&](KernelBuilder &k) {
      k.forLoop(k.index(0), k.rows(), k.lanes(), [&](Value i) {
        k.vstore((k.*function)(k.vload(k.vec(k.i16(), k.lanes()), k.buffer(0), {i})), k.buffer(1),
                 {i});
      });
    });
  };
  convert("half", &KernelBuilder::f16ToF32);
  convert("bfloat", &KernelBuilder::bf16ToF32);
  std::vector<uint16_t> bits(65536);
  for (int i = 0; i < 65536; ++i)
    bits[i] = i;
  std::vector<float> half(65536), bfloat(65536);
  call(written.load("half"), {bits.data(), half.data()}, 65536);
  call(written.load("bfloat"), {bits.data(), bfloat.data()}, 65536);
  for (int i = 0; i < 65536; ++i) {
    int exponent = i >> 10 & 31, mantissa = i & 1023;
    double value =
        exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
    if (exponent == 31)
      ASSERT_TRUE(mantissa ? std::isnan(half[i]) : std::isinf(half[i])) << i;
    else
      ASSERT_EQ(half[i], i & 0x8000 ? -value : value) << i;
    uint32_t wide = uint32_t(i) << 16;
    ASSERT_EQ(std::memcmp(&bfloat[i], &wide, 4), 0) << i;
  }
}

// Every field of the launch arrives where the builder says.
TEST_P(Builder, EntryPointPassesTheLaunch) {
  Written written(GetParam());
  mlir::OpBuilder b(&written.context);
  written.write(
      "launch",
      {KernelBuilder::dense({16}, b.getI64Type()), KernelBuilder::dense({1}, b.getF32Type())},
      [](KernelBuilder &k) {
        mlir::Type i64 = k.builder().getI64Type();
        KernelBuilder::Values values{k.tokens(), k.segments(), k.rows(), k.begin(), k.end()};
        for (Value &value : values)
          value = k.fromIndex(value, i64);
        for (Value value : {k.seed(), k.step(), k.micro()})
          values.push_back(k.zext(value, i64));
        for (auto [i, value] : llvm::enumerate(values))
          k.store(value, k.buffer(0), {k.index(i)});
        k.store(k.lossScale(), k.buffer(1), {k.index(0)});
        Value bytes = k.scratch(64, {8}, k.i32());
        k.store(k.constI32(42), bytes, {k.index(3)});
        k.store(k.zext(k.load(bytes, {k.index(3)}), i64), k.buffer(0), {k.index(8)});
      });
  int64_t out[16] = {};
  float scale = 0;
  call(written.load("launch"), {out, &scale}, 4);
  EXPECT_THAT(std::vector<int64_t>(out, out + 9),
              ::testing::ElementsAre(7, 3, 4, 5, 9, 11, 12, 13, 42));
  EXPECT_EQ(scale, 0.25f);
  auto *version = static_cast<const uint32_t *>(dlsym(written.library, "lorac_abi_version"));
  ASSERT_NE(version, nullptr);
  EXPECT_EQ(*version, LORAC_ABI_VERSION);
}

TEST_P(Builder, MasksCutTails) {
  Written written(GetParam());
  auto type = KernelBuilder::dense({64}, mlir::Float32Type::get(&written.context));
  written.write("tails", {type, type}, [](KernelBuilder &k) {
    Value x = k.vloadMasked(k.buffer(0), {k.index(0)}, k.mask(k.rows()));
    k.vstoreMasked(k.addf(x, k.splatF32(1.0)), k.buffer(1), {k.index(0)}, k.mask(int64_t(3)));
    k.store(k.reduceAdd(x), k.buffer(1), {k.index(32)});
    k.store(k.reduceMax(x), k.buffer(1), {k.index(33)});
  });
  float x[64], y[64] = {};
  for (int i = 0; i < 64; ++i)
    x[i] = i + 1;
  call(written.load("tails"), {x, y}, 2);
  EXPECT_THAT(std::vector<float>(y, y + 5), ::testing::ElementsAre(2, 3, 1, 0, 0));
  EXPECT_EQ(y[32], 3);
  EXPECT_EQ(y[33], 2);
}

INSTANTIATE_TEST_SUITE_P(Cpu, Builder, ::testing::Values("x86-64-v3", "x86-64"),
                         [](const auto &info) {
                           return std::string(info.param) == "x86-64" ? "Portable" : "Avx2";
                         });

std::string bytesOf(llvm::StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  return buffer ? (*buffer)->getBuffer().str() : "";
}

TEST(ObjectFile, SameBytesOnAnyNumberOfThreads) {
  std::vector<std::string> images;
  for (unsigned threads : {1, 2, 2}) {
    Written written("x86-64-v3");
    auto type = KernelBuilder::dense({64}, mlir::Float32Type::get(&written.context));
    for (const char *name : {"one", "two", "three"})
      written.write(name, {type}, [&](KernelBuilder &k) {
        k.vstore(k.vexp(k.vload(k.buffer(0), {k.index(name[1])})), k.buffer(0), {k.index(0)});
      });
    ASSERT_TRUE(succeeded(cpu::lowerToLLVM(*written.kernels)));
    llvm::SmallString<128> path;
    ASSERT_FALSE(llvm::sys::fs::createTemporaryFile("lorac-object", "so", path));
    llvm::cantFail(written.link(path, threads));
    images.push_back(bytesOf(path));
    (void)llvm::sys::fs::remove(path);
  }
  EXPECT_GT(images[0].size(), 1000u);
  EXPECT_EQ(images[0], images[1]);
  EXPECT_EQ(images[1], images[2]);
}

TEST(ObjectFile, SaysWhatIsWrong) {
  Written written("x86-64-v3");
  ASSERT_TRUE(succeeded(cpu::lowerToLLVM(*written.kernels)));
  EXPECT_THAT(llvm::toString(written.link("/nonexistent-folder/module.so")),
              ::testing::HasSubstr("/nonexistent-folder/module.so"));
  EXPECT_THAT(llvm::toString(cpu::writeSharedObject(*written.kernels, written.target, "unused.so",
                                                    {"/nonexistent/ld", 1})),
              ::testing::HasSubstr("'/nonexistent/ld' cannot be executed"));
  mlir::OpBuilder builder = mlir::OpBuilder::atBlockEnd(written.kernels->getBody());
  auto type =
      mlir::LLVM::LLVMFunctionType::get(mlir::LLVM::LLVMVoidType::get(&written.context), {});
  mlir::LLVM::LLVMFuncOp::create(builder, builder.getUnknownLoc(), "memcpy", type);
  EXPECT_THAT(llvm::toString(written.link("unused.so")),
              ::testing::HasSubstr("kernels call 'memcpy', which nothing defines"));
}

} // namespace
