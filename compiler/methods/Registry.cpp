#include "compiler/methods/Method.h"

using namespace lorac;
using namespace lorac::methods;

namespace lorac::methods {
#define LORAC_METHOD(Name) extern const Method method##Name;
#include "compiler/methods/Methods.def"
#undef LORAC_METHOD
} // namespace lorac::methods

llvm::ArrayRef<const Method *> lorac::methods::allMethods() {
  static const Method *const table[] = {
#define LORAC_METHOD(Name) &method##Name,
#include "compiler/methods/Methods.def"
#undef LORAC_METHOD
  };
  return table;
}

const Method *lorac::methods::methodOf(lora::AdapterOp adapter) {
  const llvm::StringRef name =
      adapter.getMethod().value_or(adapter.getFalls() ? "adalora" : "lora");
  for (const Method *method : allMethods())
    if (method->name == name)
      return method;
  return nullptr;
}
