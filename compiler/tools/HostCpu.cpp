#include "compiler/tools/HostCpu.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/TargetParser/Host.h"

namespace lorac::tools {

HostCpu hostCpu() {
  HostCpu cpu{llvm::sys::getHostCPUName().str(), {}};
  const llvm::StringMap<bool> features = llvm::sys::getHostCPUFeatures();
  for (const char *name : {"avx", "avx2", "avx512f", "avx512vl", "avxvnni", "bmi2", "f16c", "fma"})
    if (features.lookup(name))
      cpu.features.push_back(name);
  return cpu;
}

} // namespace lorac::tools
