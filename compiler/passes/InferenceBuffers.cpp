#include "compiler/passes/InferenceBuffers.h"

using namespace mlir;
using namespace lorac::lora;

bool lorac::lora::isInference(func::FuncOp func) {
  return llvm::is_contained({"hidden", "loss", "head"}, func.getName());
}

llvm::StringSet<> lorac::lora::inferenceBuffers(ModuleOp module) {
  llvm::StringSet<> labels;
  if (!module.lookupSymbol("train"))
    return labels;
  for (bool inference : {true, false})
    for (auto func : module.getOps<func::FuncOp>())
      if (isInference(func) == inference)
        for (BufferOp buffer : func.getOps<BufferOp>())
          if (buffer.getRole() == BufferRole::IO)
            inference ? (void)labels.insert(buffer.getLabel())
                      : (void)labels.erase(buffer.getLabel());
  return labels;
}
