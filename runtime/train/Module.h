#pragma once
// module.so from memory: the kernels by name.

#include "runtime/Result.h"
#include "runtime/abi.h"

#include <memory>
#include <string>
#include <string_view>

namespace lorac::train {

class Module {
public:
  /// Loads the shared object in `bytes` (through memfd, so no file is left behind) and checks its
  /// ABI version.
  static Result<Module> load(std::string_view bytes);

  Result<LoracKernel> kernel(const std::string &name) const;

private:
  std::shared_ptr<void> handle;
};

} // namespace lorac::train
