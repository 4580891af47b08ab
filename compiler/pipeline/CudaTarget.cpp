// What the pipeline asks of the CUDA target.

#include "compiler/pipeline/CudaTarget.h"

using namespace mlir;

LogicalResult lorac::emitCuda(ModuleOp module, const CompileRequest &request, CompileResult &result) {
  return module.emitError("the CUDA target is not in this build");
}
