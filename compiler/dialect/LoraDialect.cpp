// The dialect itself and its weight type.

#include "compiler/dialect/LoraOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace lorac::lora;

#include "compiler/dialect/LoraDialect.cpp.inc"
#include "compiler/dialect/LoraEnums.cpp.inc"
#include "compiler/dialect/LoraInterfaces.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "compiler/dialect/LoraTypes.cpp.inc"

void LoraDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "compiler/dialect/LoraTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "compiler/dialect/LoraOps.cpp.inc"
      >();
}

std::string WeightType::formatName() const {
  std::string name = stringifyFormatKind(getFormat()).str();
  if (getFormat() == FormatKind::NF4 || getFormat() == FormatKind::FP4)
    name += "<" + std::to_string(getBlock()) + (getDoubleQuant() ? ", dq256>" : ">");
  return name;
}

// `<64x176, nf4<64, dq256>>`
void WeightType::print(AsmPrinter &printer) const {
  printer << "<";
  llvm::interleave(getShape(), [&](int64_t n) { printer << n; }, [&] { printer << "x"; });
  printer << ", " << formatName() << ">";
}

Type WeightType::parse(AsmParser &parser) {
  SmallVector<int64_t> shape;
  StringRef kindName;
  SMLoc kindLoc;
  if (parser.parseLess() ||
      parser.parseDimensionList(shape, /*allowDynamic=*/false, /*withTrailingX=*/false) ||
      parser.parseComma() || parser.getCurrentLocation(&kindLoc) || parser.parseKeyword(&kindName))
    return {};
  std::optional<FormatKind> kind = symbolizeFormatKind(kindName);
  if (!kind) {
    parser.emitError(kindLoc, "no storage format is named '") << kindName << "'";
    return {};
  }
  int64_t block = 0;
  bool doubleQuant = false;
  if (*kind == FormatKind::NF4 || *kind == FormatKind::FP4) {
    if (parser.parseLess() || parser.parseInteger(block))
      return {};
    if (succeeded(parser.parseOptionalComma())) {
      if (parser.parseKeyword("dq256"))
        return {};
      doubleQuant = true;
    }
    if (parser.parseGreater())
      return {};
  }
  if (parser.parseGreater())
    return {};
  return parser.getChecked<WeightType>(parser.getContext(), shape, *kind, block, doubleQuant);
}

LogicalResult WeightType::verify(llvm::function_ref<InFlightDiagnostic()> emitError,
                                 ArrayRef<int64_t> shape, FormatKind format, int64_t block,
                                 bool doubleQuant) {
  size_t rank = format == FormatKind::Vector ? 1 : 2;
  if (shape.size() != rank)
    return emitError() << "a weight in format '" << stringifyFormatKind(format) << "' has " << rank
                       << " dimension(s), got " << shape.size();
  bool blocked = format == FormatKind::NF4 || format == FormatKind::FP4;
  if (blocked && (block < 32 || block > 4096 || (block & (block - 1)) != 0))
    return emitError() << "block size must be a power of two from 32 to 4096, got " << block;
  bool ggufBlocks =
      format == FormatKind::Q8_0 || format == FormatKind::Q4_0 || format == FormatKind::Q4_1;
  if (ggufBlocks && shape[1] % 32 != 0)
    return emitError() << "rows of format '" << stringifyFormatKind(format)
                       << "' are multiples of 32, got " << shape[1];
  return success();
}

int64_t lorac::lora::columns(RankedTensorType type) {
  int64_t product = 1;
  for (int64_t n : type.getShape().drop_front())
    product *= n;
  return product;
}

void lorac::lora::registerLoraDialects(DialectRegistry &registry) {
  registry.insert<LoraDialect, arith::ArithDialect, func::FuncDialect, math::MathDialect,
                  memref::MemRefDialect>();
}
