#include "compiler/tools/HostNvrtc.h"
#include "compiler/codegen/cuda/Nvrtc.h"

lorac::tools::HostNvrtc lorac::tools::hostNvrtc() {
  llvm::Expected<cuda::Nvrtc> nvrtc = cuda::Nvrtc::open();
  if (!nvrtc)
    return {false, llvm::toString(nvrtc.takeError())};
  return {true, nvrtc->version() + ", " + nvrtc->path()};
}
