#include "compiler/codegen/cuda/Families.h"
#include "compiler/codegen/cuda/ArchLimits.h"
#include "runtime/formats/WeightFormat.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Error.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
#define LORAC_FAMILY(name) extern const Family name##Family;
#include "compiler/codegen/cuda/Families.def"
#undef LORAC_FAMILY
} // namespace lorac::cuda

const Family *lorac::cuda::findFamily(StringRef name) {
  static const Family *const table[] = {
#define LORAC_FAMILY(name) &name##Family,
#include "compiler/codegen/cuda/Families.def"
#undef LORAC_FAMILY
  };
  for (const Family *family : table)
    if (family->name == name)
      return family;
  return nullptr;
}

llvm::Expected<CudaTarget> CudaTarget::get(llvm::ArrayRef<std::string> archs, StringRef compute) {
  CudaTarget target;
  target.compute = compute.str();
  target.archs.assign(archs.begin(), archs.end());
  target.sharedPerBlock = INT64_MAX;
  for (const std::string &arch : archs) {
    const ArchLimits *limits = findLimits(arch);
    if (!limits) {
      SmallVector<StringRef> names;
      for (const ArchLimits &one : allLimits())
        names.push_back(one.arch);
      return llvm::createStringError("no architecture is named '" + arch + "'; known are " +
                                     llvm::join(names, ", "));
    }
    target.multiprocessors = limits->multiprocessors;
    target.sharedPerBlock = std::min(target.sharedPerBlock, limits->sharedPerBlock);
  }
  return target;
}

Type CudaTarget::computeType(MLIRContext *context) const {
  return compute == "f16" ? Type(Float16Type::get(context)) : Type(BFloat16Type::get(context));
}

Type Kernel::element(unsigned buffer) {
  SmallVector<StringRef> names;
  string("elements").split(names, ' ');
  StringRef name = names[buffer];
  MLIRContext *context = op.getContext();
  if (name == "i32" || name == "i8")
    return IntegerType::get(context, name == "i8" ? 8 : 32);
  if (name == "f64")
    return Float64Type::get(context);
  return name == "f32"   ? Type(Float32Type::get(context))
         : name == "f16" ? Type(Float16Type::get(context))
                         : Type(BFloat16Type::get(context));
}

static MemRefType flat(Type element) { return MemRefType::get({ShapedType::kDynamic}, element); }

DeviceBuilder::Argument Kernel::argument(StringRef name, unsigned buffer, bool written) {
  return {name.str(), flat(element(buffer)), written};
}

SmallVector<DeviceBuilder::Argument> Kernel::weightArguments() {
  std::optional<formats::WeightFormat> format = formats::parseWeightFormat(string("format"));
  assert(format && "SelectKernels writes formats that the dialect knows");
  return weightArguments(*format);
}

SmallVector<DeviceBuilder::Argument> Kernel::weightArguments(const formats::WeightFormat &format) {
  MLIRContext *context = op.getContext();
  const Type elements[] = {Float32Type::get(context), Float16Type::get(context),
                           BFloat16Type::get(context), IntegerType::get(context, 8)};
  SmallVector<DeviceBuilder::Argument> arguments;
  for (const formats::FormatPart &part : partsOf(format)) {
    const bool isNumbers = part.role == formats::FormatPart::Values;
    const bool isCompute = format.kind == formats::WeightFormat::Floats;
    arguments.push_back({isNumbers ? "w" : std::string(part.name),
                         flat(isCompute ? compute() : elements[size_t(part.element)])});
  }
  return arguments;
}

int64_t lorac::cuda::intParam(DictionaryAttr params, StringRef name) {
  auto value = params.getAs<IntegerAttr>(name);
  assert(value && "SelectKernels writes every parameter of the family");
  return value.getInt();
}
StringRef lorac::cuda::stringParam(DictionaryAttr params, StringRef name) {
  auto value = params.getAs<StringAttr>(name);
  assert(value && "SelectKernels writes every parameter of the family");
  return value.getValue();
}
