// What the machine code of the inner loops must look like: a scalarised or spilled tile is correct,
// silent and 20 times slower.

#include "tests/numerics/gemm/CompiledKernels.h"
#include <gmock/gmock.h>

using namespace lorac::testing;
using llvm::StringRef;

namespace {

// The loop of one basic block with the most FMAs.
std::string hottestLoop(const std::string &assembly, size_t &fmas) {
  std::string best;
  fmas = 0;
  llvm::SmallVector<StringRef> blocks, lines;
  StringRef(assembly).split(blocks, "\n.LBB");
  for (StringRef block : blocks) {
    StringRef label = block.take_until([](char c) { return c == ':'; });
    size_t count = 0;
    bool loops = false;
    lines.clear();
    block.split(lines, '\n');
    std::string body;
    for (StringRef line : lines) {
      count += line.contains("vfmadd") && line.contains("ymm");
      body += (line + "\n").str();
      loops = line.ltrim().starts_with("j") && line.ends_with((".LBB" + label).str());
      if (loops)
        break;
    }
    if (loops && count > fmas) {
      fmas = count;
      best = body;
    }
  }
  return best;
}

std::string linear(const char *format) {
  return "n = 576 : i64, k = 576 : i64, format = \"" + std::string(format) +
         "\", rank = 16 : i64, ldt = 16 : i64, scale = 2.0 : f64, residual = 1 : i64, ldx = 576 : "
         "i64, ldy = 576 : i64, ldr = "
         "576 : i64, lddy = 576 : i64, lddx = 576 : i64, lddt = 16 : i64, accumulate = 0 : i64";
}

class Assembly : public ::testing::TestWithParam<const char *> {};

TEST_P(Assembly, TileStaysInRegisters) {
  CompiledKernels kernels("x86-64-v3");
  kernels.add("kernel", GetParam(), linear("nf4<64, dq256>"));
  std::string text = kernels.assembly("kernel");
  size_t fmas = 0;
  std::string loop = hottestLoop(text, fmas);
  EXPECT_EQ(fmas, 48u) << "6 rows of 2 vectors, unrolled by 4";
  EXPECT_EQ(StringRef(loop).count("vbroadcastss"), 24u);
  llvm::SmallVector<StringRef> lines;
  StringRef(loop).split(lines, '\n');
  for (StringRef line : lines)
    EXPECT_FALSE(line.contains("ymm") && line.contains("%rsp")) << "spilled: " << line.str();
  EXPECT_EQ(StringRef(text).count("call"), 0u) << "kernels call nothing";
  EXPECT_EQ(StringRef(text).count("vpermd") + StringRef(text).count("vpermps"),
            StringRef(text).count("vblendvps") * 2)
      << "a 4-bit lookup is two permutes and a blend";
  EXPECT_GT(StringRef(text).count("vblendvps"), 0u);
}

INSTANTIATE_TEST_SUITE_P(Linear, Assembly, ::testing::Values("linear_forward", "linear_backward"),
                         [](const auto &info) {
                           return info.param == std::string("linear_forward") ? "Forward"
                                                                              : "Backward";
                         });

TEST(AssemblyOfOtherCpus, WideTargetsLookUpInOnePermute) {
  CompiledKernels kernels("x86-64-v4");
  kernels.add("kernel", "linear_forward", linear("nf4<64>"));
  std::string text = kernels.assembly("kernel");
  EXPECT_GT(StringRef(text).count("vperm"), 0u);
  EXPECT_EQ(StringRef(text).count("vblendvps"), 0u);
}

TEST(AssemblyOfOtherCpus, BaseUsesNothingBeyondSse2) {
  CompiledKernels kernels("x86-64");
  kernels.add("kernel", "linear_backward", linear("nf4<64, dq256>"));
  std::string text = kernels.assembly("kernel");
  EXPECT_EQ(StringRef(text).count("ymm"), 0u);
  EXPECT_EQ(StringRef(text).count("vfmadd"), 0u);
  EXPECT_EQ(StringRef(text).count("call"), 0u);
}

} // namespace
