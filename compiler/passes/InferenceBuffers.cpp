#include "compiler/passes/InferenceBuffers.h"

using namespace mlir;
using namespace lorac::lora;

llvm::StringSet<> lorac::lora::inferenceBuffers(ModuleOp module) {
  llvm::StringSet<> labels;
  if (llvm::all_of(module.getOps<ProgramOp>(), [](ProgramOp of) { return of.isInference(); }))
    return labels;
  for (bool inference : {true, false})
    for (auto program : module.getOps<ProgramOp>())
      if (program.isInference() == inference)
        for (BufferOp buffer : program.getOps<BufferOp>())
          if (buffer.getRole() == BufferRole::IO)
            inference ? (void)labels.insert(buffer.getLabel())
                      : (void)labels.erase(buffer.getLabel());
  return labels;
}
