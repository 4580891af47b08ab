// Packing, planning, compiling, launching on the simulator.

#include "tests/numerics/cuda/CudaProgram.h"
#include "compiler/codegen/cuda/Nvrtc.h"
#include "compiler/passes/Passes.h"
#include "compiler/pipeline/CudaTarget.h"
#include "mlir/Pass/PassManager.h"
#include "runtime/abi.h"
#include "tests/numerics/cuda/RowParts.h"
#include "tests/numerics/program/OneOp.h"
#include <gtest/gtest.h>

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;
using namespace lorac::reference;
using namespace lorac::test;

CudaProgram::CudaProgram(const std::string &text, std::map<std::string, HostTensor> given)
    : PlannedProgram(text, std::move(given)) {
  for (auto op : planned.module->getOps<FrozenOp>())
    pack(op);
  compile();
}

CudaProgram::~CudaProgram() {
  for (Simulator::Pointer memory : allocations)
    Simulator::get().free(memory);
}

void CudaProgram::pack(FrozenOp op) {
  auto type = cast<WeightType>(op.getType());
  formats::WeightFormat format = type.getFormat();
  HostTensor &values = seen[op.getSymName().str()];
  RowParts rows =
      packRows(format, type.getShape()[0], type.getShape().size() > 1 ? type.getShape()[1] : 0,
               {values.data.begin(), values.data.end()});
  std::copy(rows.values.begin(), rows.values.end(), values.data.begin());
  for (const std::vector<char> &bytes : rows.parts) {
    Simulator::Pointer memory = Simulator::get().allocate(bytes.size());
    Simulator::get().upload(memory, bytes.data(), bytes.size());
    allocations.push_back(memory);
    parts[op.getSymName().str()].push_back(memory);
  }
}

void CudaProgram::compile() {
  DialectRegistry registry;
  registerCudaDialects(registry);
  planned.context.appendDialectRegistry(registry);
  planned.context.loadAllAvailableDialects();
  PassManager pm(&planned.context);
  SelectKernelsOptions select;
  select.headRows = 10, select.device = "cuda", select.compute = "bf16";
  pm.addPass(createSelectKernels(select));
  pm.addPass(createStackLaunches());
  PlanMemoryOptions memory;
  memory.alignment = 256;
  pm.addPass(createPlanMemory(memory));
  ASSERT_TRUE(succeeded(pm.run(*planned.module)));
  kernels.compile(*planned.module);
}

Outcome CudaProgram::run(const std::string &name, const Inputs &inputs,
                         const Environment &environment) {
  Simulator &device = Simulator::get();
  auto plan = findOnly<ArenaOp>(*planned.module);
  if (!plan || kernels.empty())
    return {};
  Simulator::Pointer arena = device.allocate(plan.getBytes());
  ProgramOp function = planned.function(name);
  function.walk([&](BufferOp buffer) {
    if (auto bytes = contents(buffer, inputs))
      device.upload(arena + offsetOf(buffer), bytes->data(), bytes->size());
  });
  int64_t tokens = tokensOf(inputs);
  LoracStep step{tokens,
                 segmentsOf(inputs),
                 float(environment.lossScale),
                 environment.dropout.seed,
                 environment.dropout.step,
                 environment.dropout.micro};
  Simulator::Pointer stepMemory = device.allocate(sizeof(step));
  device.upload(stepMemory, &step, sizeof(step));

  function.walk([&](LaunchOp launch) {
    std::vector<Simulator::Pointer> pointers;
    for (Value operand : launch.getBuffers())
      if (auto use = operand.getDefiningOp<UseOp>())
        llvm::append_range(pointers, parts.at(use.getSymbol().str()));
      else
        pointers.push_back(arena + offsetOf(operand));
    kernels.launch(launch, pointers, stepMemory);
  });
  device.finish();
  Outcome result = outcome(name, tokens, [&](BufferOp buffer) {
    auto type = cast<MemRefType>(buffer.getMemory().getType());
    std::vector<char> bytes(type.getNumElements() * type.getElementTypeBitWidth() / 8);
    device.download(bytes.data(), arena + offsetOf(buffer), bytes.size());
    return bytes;
  });
  device.free(arena), device.free(stepMemory);
  return result;
}

std::unique_ptr<PlannedProgram> lorac::test::makeProgram(const std::string &text,
                                                         std::map<std::string, HostTensor> given) {
  return std::make_unique<CudaProgram>(text, std::move(given));
}
std::string lorac::test::whatIsMissing() {
  if (Simulator::path().empty())
    return "this build has no PTX simulator";
  llvm::Expected<cuda::Nvrtc> nvrtc = cuda::Nvrtc::open();
  return nvrtc ? "" : llvm::toString(nvrtc.takeError());
}
// Activations of 8 bits of mantissa: 2^-8 a rounding.
double lorac::test::looserThanFloat32() { return 1000; }
double lorac::test::roundingsOfAStep() { return 2; }
