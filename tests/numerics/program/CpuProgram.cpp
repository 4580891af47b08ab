// Packing, planning, launching on the CPU.

#include "tests/numerics/program/CpuProgram.h"
#include "compiler/passes/Passes.h"
#include "compiler/pipeline/CpuTarget.h"
#include "mlir/Pass/PassManager.h"
#include "runtime/formats/PackedLayout.h"
#include "runtime/formats/PackedWeight.h"
#include "tests/numerics/program/CodedRows.h"
#include "tests/numerics/program/OneOp.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;
using namespace lorac::reference;
using namespace lorac::test;

// The first address at or after the vector's begin that is a multiple of 64.
static char *aligned(std::vector<char> &bytes) {
  return reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(bytes.data()) + 63) / 64 * 64);
}

CpuProgram::CpuProgram(const std::string &text, std::map<std::string, HostTensor> given)
    : PlannedProgram(text, std::move(given)) {
  for (auto op : planned.module->getOps<FrozenOp>())
    pack(op);
  compile();
}

void CpuProgram::pack(FrozenOp op) {
  auto type = cast<WeightType>(op.getType());
  formats::WeightFormat format = type.getFormat();
  bool isVector = format.kind == formats::WeightFormat::Vector;
  int64_t n = type.getShape()[0], k = isVector ? 1 : type.getShape()[1];
  HostTensor &values = seen[op.getSymName().str()];
  std::vector<float> dense(values.data.begin(), values.data.end());
  auto &store = parts[op.getSymName().str()];
  std::vector<void *> to;
  std::vector<const void *> from;
  for (int part = 0; part < formats::partCount(format); ++part)
    store.emplace_back(formats::partBytes(format, part, n, k) + 64);
  for (std::vector<char> &bytes : store)
    to.push_back(aligned(bytes)), from.push_back(aligned(bytes));
  auto source =
      isVector ? formats::denseRows(dense.data(), 1, n) : rowsFor(format, dense.data(), n, k);
  Result<void> packed = formats::packWeight(*source, format, to);
  ASSERT_TRUE(bool(packed)) << packed.error().message;
  if (isVector)
    return;
  std::vector<float> row(k);
  for (int64_t i = 0; i < n; ++i) {
    formats::unpackRow(format, n, k, from, i, row.data());
    std::copy(row.begin(), row.end(), values.data.begin() + i * k);
  }
}

void CpuProgram::compile() {
  DialectRegistry registry;
  registerCpuDialects(registry);
  planned.context.appendDialectRegistry(registry);
  planned.context.loadAllAvailableDialects();
  PassManager pm(&planned.context);
  pm.addPass(createSelectKernels({/*headRows=*/10}));
  addDescribeKernels(pm, "native");
  pm.addPass(createPlanMemory());
  ASSERT_TRUE(succeeded(pm.run(*planned.module)));
  CompileRequest request;
  CompileResult result;
  ASSERT_TRUE(succeeded(emitCpu(*planned.module, request, result)));
  Result<train::Module> module = train::Module::load(result.files["module.so"]);
  ASSERT_TRUE(bool(module)) << module.error().message;
  kernels = *module;

  arena.resize(findOnly<ArenaOp>(*planned.module).getBytes() + 64);
  int64_t most = 0;
  for (auto kernel : planned.module->getOps<KernelOp>())
    most = std::max<int64_t>(most, kernel.getScratch());
  scratch.resize(most + 64);
}

Outcome CpuProgram::run(const std::string &name, const Inputs &inputs,
                        const Environment &environment) {
  if (!kernels)
    return {};
  std::fill_n(reinterpret_cast<float *>(aligned(arena)), (arena.size() - 64) / 4, NAN);
  ProgramOp function = planned.function(name);
  auto address = [&](Value buffer) { return aligned(arena) + offsetOf(buffer); };
  function.walk([&](BufferOp buffer) {
    if (auto bytes = contents(buffer, inputs))
      std::memcpy(address(buffer), bytes->data(), bytes->size());
  });

  int64_t tokens = tokensOf(inputs), segments = segmentsOf(inputs);
  LoracStep step{tokens,
                 segments,
                 float(environment.lossScale),
                 environment.dropout.seed,
                 environment.dropout.step,
                 environment.dropout.micro};
  function.walk([&](LaunchOp launch) {
    auto kernel = planned.module->lookupSymbol<KernelOp>(launch.getKernel());
    Result<LoracKernel> entry = kernels->kernel(kernel.getSymName().str());
    ASSERT_TRUE(bool(entry)) << entry.error().message;
    std::vector<void *> buffers;
    for (Value operand : launch.getBuffers()) {
      if (auto use = operand.getDefiningOp<UseOp>())
        for (std::vector<char> &bytes : parts.at(use.getSymbol().str()))
          buffers.push_back(aligned(bytes));
      else
        buffers.push_back(address(operand));
    }
    int64_t rows = launch.getFixed() ? int64_t(launch.getCount())
                                     : std::clamp<int64_t>(tokens - int64_t(launch.getBegin()), 0,
                                                           int64_t(launch.getCount()));
    if (rows == 0 && kernel.getFamily() != "matmul_tn")
      return;
    int64_t tiles = kernel.getCount();
    if (kernel.getSpace() == TileSpace::Rows)
      tiles = (rows + int64_t(kernel.getTile()) - 1) / int64_t(kernel.getTile());
    else if (kernel.getSpace() == TileSpace::Segments)
      tiles *= segments;
    std::vector<int64_t> scalars;
    if (auto given = launch.getScalars())
      scalars.assign(given->begin(), given->end());
    auto tilesOf = [&](int64_t begin, int64_t end) {
      (*entry)(buffers.data(), &step, rows, begin, end, aligned(scratch), scalars.data());
    };
    tilesOf(tiles / 2, tiles);
    if (tiles / 2 > 0)
      tilesOf(0, tiles / 2);
  });
  return outcome(name, tokens, [&](BufferOp buffer) {
    auto type = cast<MemRefType>(buffer.getMemory().getType());
    char *from = address(buffer);
    return std::vector<char>(from,
                             from + type.getNumElements() * type.getElementTypeBitWidth() / 8);
  });
}

std::unique_ptr<PlannedProgram> lorac::test::makeProgram(const std::string &text,
                                                         std::map<std::string, HostTensor> given) {
  return std::make_unique<CpuProgram>(text, std::move(given));
}
std::string lorac::test::whatIsMissing() { return ""; }
double lorac::test::looserThanFloat32() { return 1; }
double lorac::test::roundingsOfAStep() { return 1; }
