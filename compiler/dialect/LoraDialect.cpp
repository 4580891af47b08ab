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
using namespace lorac;
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

// `<64x176, nf4<64, dq256>>`
void WeightType::print(AsmPrinter &printer) const {
  printer << "<";
  llvm::interleave(getShape(), [&](int64_t n) { printer << n; }, [&] { printer << "x"; });
  printer << ", " << toString(getFormat()) << ">";
}

// A word, and between <> words and numbers.
static ParseResult parseFormat(AsmParser &parser, std::string &text) {
  StringRef word;
  if (parser.parseKeyword(&word))
    return failure();
  text = word.str();
  if (failed(parser.parseOptionalLess()))
    return success();
  char before = '<';
  do {
    int64_t number;
    OptionalParseResult isNumber = parser.parseOptionalInteger(number);
    if (isNumber.has_value() ? failed(*isNumber) : failed(parser.parseKeyword(&word)))
      return failure();
    text += before + (isNumber.has_value() ? std::to_string(number) : word.str());
    before = ',';
  } while (succeeded(parser.parseOptionalComma()));
  text += '>';
  return parser.parseGreater();
}

static LogicalResult sayUnknown(InFlightDiagnostic error, StringRef format) {
  return error
         << "no storage format is written '" << format
         << "'; there are f32, f16, bf16, vector, int4<BLOCK, f16|f32[, min]> and int8<…> with "
            "blocks of 16, 32 or 64, nf4<BLOCK[, dq256]> and fp4<…> with blocks of 32, 64, … 4096";
}

Type WeightType::parse(AsmParser &parser) {
  SmallVector<int64_t> shape;
  std::string text;
  if (parser.parseLess() ||
      parser.parseDimensionList(shape, /*allowDynamic=*/false, /*withTrailingX=*/false) ||
      parser.parseComma() || parseFormat(parser, text) || parser.parseGreater())
    return {};
  std::optional<formats::WeightFormat> format = formats::parseWeightFormat(text);
  if (!format)
    return (void)sayUnknown(parser.emitError(parser.getNameLoc()), text), Type();
  return parser.getChecked<WeightType>(parser.getContext(), shape, *format);
}

LogicalResult WeightType::verify(llvm::function_ref<InFlightDiagnostic()> emitError,
                                 ArrayRef<int64_t> shape, formats::WeightFormat format) {
  using formats::WeightFormat;
  const std::string text = toString(format);
  if (formats::parseWeightFormat(text) != format)
    return sayUnknown(emitError(), text);
  size_t rank = format.kind == WeightFormat::Vector ? 1 : 2;
  if (shape.size() != rank)
    return emitError() << "a weight in format '" << text << "' has " << rank
                       << " dimension(s), got " << shape.size();
  if (format.kind == WeightFormat::Integers && shape[1] % format.block != 0)
    return emitError() << "rows of format '" << text << "' are multiples of " << format.block
                       << ", got " << shape[1];
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
