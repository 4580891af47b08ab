#include "compiler/codegen/cpu/Families.h"

using namespace lorac::cpu;

namespace lorac::cpu {
#define LORAC_FAMILY(name) extern const Family name##Family;
#include "compiler/codegen/cpu/Families.def"
#undef LORAC_FAMILY
} // namespace lorac::cpu

llvm::ArrayRef<const Family *> lorac::cpu::allFamilies() {
  static const Family *const table[] = {
#define LORAC_FAMILY(name) &name##Family,
#include "compiler/codegen/cpu/Families.def"
#undef LORAC_FAMILY
      nullptr};
  return llvm::ArrayRef<const Family *>(table).drop_back();
}

const Family *lorac::cpu::findFamily(llvm::StringRef name) {
  for (const Family *family : allFamilies())
    if (family->name == name)
      return family;
  return nullptr;
}

int64_t lorac::cpu::intParam(mlir::DictionaryAttr params, llvm::StringRef name) {
  auto value = params.getAs<mlir::IntegerAttr>(name);
  assert(value && "SelectKernels writes every parameter of the family");
  return value.getInt();
}

int64_t lorac::cpu::mostRank(mlir::DictionaryAttr params) {
  return intParam(params, params.contains("rank") ? "rank" : "most_rank");
}

double lorac::cpu::floatParam(mlir::DictionaryAttr params, llvm::StringRef name) {
  auto value = params.getAs<mlir::FloatAttr>(name);
  assert(value && "SelectKernels writes every parameter of the family");
  return value.getValueAsDouble();
}

llvm::StringRef lorac::cpu::stringParam(mlir::DictionaryAttr params, llvm::StringRef name) {
  auto value = params.getAs<mlir::StringAttr>(name);
  assert(value && "SelectKernels writes every parameter of the family");
  return value.getValue();
}
