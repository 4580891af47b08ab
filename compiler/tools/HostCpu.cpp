#include "compiler/tools/HostCpu.h"

#include "compiler/codegen/cpu/Target.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"
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

Result<void> checkCpuName(const std::string &name) {
  if (name.empty())
    return {};
  llvm::Expected<cpu::CpuTarget> target = cpu::CpuTarget::get(name);
  if (!target)
    return Error{"--cpu: " + llvm::toString(target.takeError()), Exit::Usage};
  return {};
}

} // namespace lorac::tools
