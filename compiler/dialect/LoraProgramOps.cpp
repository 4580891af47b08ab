// Programs as text, and what holds of them.

#include "compiler/dialect/LoraOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/Interfaces/FunctionImplementation.h"

using namespace mlir;
using namespace lorac::lora;

LogicalResult LimitsOp::verify() {
  for (std::optional<int64_t> number :
       {std::optional<int64_t>(getTokens()), std::optional<int64_t>(getLength()),
        std::optional<int64_t>(getHeadRows()), std::optional<int64_t>(getMemory()),
        std::optional<int64_t>(getWorkers()), std::optional<int64_t>(getSequences())})
    if (number && *number < 1) // limits_c1
      return emitOpError("has a limit of ") << *number << ", expected a positive number";
  return success();
}

void ProgramOp::build(OpBuilder &b, OperationState &state, When runs, StringRef name,
                      FunctionType type) {
  state.addAttribute(getRunsAttrName(state.name), WhenAttr::get(b.getContext(), runs));
  state.addAttribute(getSymNameAttrName(state.name), b.getStringAttr(name));
  state.addAttribute(getFunctionTypeAttrName(state.name), TypeAttr::get(type));
  state.addRegion();
}

// `inference @head(%h: tensor<?x64xf32>) -> tensor<?x512xf32> { … }`
ParseResult ProgramOp::parse(OpAsmParser &parser, OperationState &result) {
  Builder &b = parser.getBuilder();
  StringRef word;
  SMLoc at = parser.getCurrentLocation();
  if (parser.parseKeyword(&word))
    return failure();
  std::optional<When> runs = symbolizeWhen(word);
  if (!runs)
    return parser.emitError(at, "no time of a program is named '") << word << "'";
  result.addAttribute(getRunsAttrName(result.name), WhenAttr::get(b.getContext(), *runs));
  StringAttr name;
  if (parser.parseSymbolName(name, getSymNameAttrName(result.name), result.attributes))
    return failure();
  SmallVector<OpAsmParser::Argument> arguments;
  SmallVector<Type> results, inputs;
  SmallVector<DictionaryAttr> ofResults;
  bool isVariadic = false;
  if (function_interface_impl::parseFunctionSignatureWithArguments(
          parser, /*allowVariadic=*/false, arguments, isVariadic, results, ofResults))
    return failure();
  for (const OpAsmParser::Argument &argument : arguments)
    inputs.push_back(argument.type);
  result.addAttribute(getFunctionTypeAttrName(result.name),
                      TypeAttr::get(b.getFunctionType(inputs, results)));
  return parser.parseRegion(*result.addRegion(), arguments);
}

void ProgramOp::print(OpAsmPrinter &p) {
  p << ' ' << stringifyWhen(getRuns()) << ' ';
  p.printSymbolName(getSymName());
  function_interface_impl::printFunctionSignature(p, *this, getArgumentTypes(),
                                                  /*isVariadic=*/false, getResultTypes());
  p << ' ';
  p.printRegion(getBody(), /*printEntryBlockArgs=*/false, /*printBlockTerminators=*/true);
}

LogicalResult ReturnOp::verify() {
  auto program = cast<ProgramOp>((*this)->getParentOp());
  if (program.getResultTypes() != TypeRange(getValues().getTypes())) // return_c1
    return emitOpError("gives other types than program '") << program.getSymName() << "' states";
  return success();
}
