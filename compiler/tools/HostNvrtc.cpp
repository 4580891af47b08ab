#include "compiler/tools/HostNvrtc.h"
#include "compiler/codegen/cuda/ArchLimits.h"
#include "compiler/codegen/cuda/Families.h"
#include "compiler/codegen/cuda/Nvrtc.h"
#include "compiler/codegen/cuda/Sass.h"

lorac::tools::HostNvrtc lorac::tools::hostNvrtc() {
  llvm::Expected<cuda::Nvrtc> nvrtc = cuda::Nvrtc::open();
  if (!nvrtc)
    return {false, llvm::toString(nvrtc.takeError())};
  return {true, nvrtc->version() + ", " + nvrtc->path()};
}

lorac::tools::HostNvrtc lorac::tools::hostNvdisasm() {
  std::optional<cuda::Disassembler> found = cuda::Disassembler::find();
  if (!found)
    return {false, "not found, so kernels.json has no instructions per mma; it comes with the CUDA "
                   "toolkit and with PyPI's nvidia-cuda-nvdisasm"};
  return {true, found->path()};
}

static int capabilityOf(llvm::StringRef arch) {
  int capability = 0;
  arch.consume_back("a");
  return arch.drop_front(3).getAsInteger(10, capability) ? 0 : capability;
}

std::string lorac::tools::archFor(int capability) {
  std::string best;
  for (const cuda::ArchLimits &limits : cuda::allLimits()) {
    const int own = capabilityOf(limits.arch);
    const bool runs = limits.arch.ends_with("a") ? own == capability
                                                 : own / 10 == capability / 10 && own <= capability;
    if (runs) // "sm_90a" stands behind "sm_90"
      best = limits.arch.str();
  }
  return best;
}

std::string lorac::tools::kernelsShown(const std::string &arch) {
  llvm::Expected<cuda::CudaTarget> target = cuda::CudaTarget::get({arch}, "bf16");
  if (!target)
    return llvm::toString(target.takeError());
  return arch + ": NF4 linears in tiles of " + cuda::largestLinearTile(*target) + ", " +
         std::to_string(target->sharedPerBlock >> 10) + " KiB of shared memory a block";
}
