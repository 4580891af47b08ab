// The kernels of a module, by content.

#include "compiler/passes/KernelTable.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace lorac::lora;

// What tells kernels of a family apart most: nf4_1536x576_low_rank_residual; r: any rank.
static std::string shownParams(DictionaryAttr params, StringRef rows = "") {
  std::string name;
  auto integer = [&](StringRef param) {
    if (param == "n" && !rows.empty())
      return rows.str();
    auto value = params.getAs<IntegerAttr>(param);
    return value ? std::to_string(value.getInt()) : std::string();
  };
  auto isScalar = [&](StringRef param) { // a rank, which comes with the launch
    auto scalars = params.getAs<ArrayAttr>("scalars");
    return scalars && llvm::is_contained(scalars.getAsValueRange<StringAttr>(), param);
  };
  if (auto format = params.getAs<StringAttr>("format"))
    name += "_" + format.getValue().split('<').first.str();
  std::string sizes;
  for (StringRef param : {"heads", "kv_heads", "head_dim", "vocab", "i", "n", "j", "k", "cols"})
    if (std::string value = isScalar(param) ? "r" : integer(param); !value.empty())
      sizes += (sizes.empty() ? "" : "x") + value;
  if (!sizes.empty())
    name += "_" + sizes;
  if (isScalar("rank"))
    name += "_low_rank";
  if (std::string rank = integer("rank"); !rank.empty() && rank != "0")
    name += "_r" + rank;
  for (StringRef param : {"low_rank", "residual", "accumulate", "exact", "inverse", "backward"})
    if (auto value = params.getAs<BoolAttr>(param); value && value.getValue())
      name += "_" + param.str();
  return name;
}

// linear_forward_nf4_1536x576_low_rank, linear_forward_nf4_576_192_192x576_low_rank_rope,
// each_adamw.
static std::string readableName(const KernelKey &key, DictionaryAttr params) {
  std::string name = key.family;
  if (auto what = params.getAs<StringAttr>("what"))
    name += "_" + what.getValue().str();
  SmallVector<DictionaryAttr> parts{params};
  if (auto several = params.getAs<ArrayAttr>("parts"))
    parts = llvm::to_vector(several.getAsRange<DictionaryAttr>());
  std::string rows;
  if (parts.size() > 1)
    for (DictionaryAttr part : parts)
      rows += (rows.empty() ? "" : "_") + std::to_string(part.getAs<IntegerAttr>("n").getInt());
  name += shownParams(parts.front(), rows);
  llvm::StringSet<> epilogues;
  for (DictionaryAttr part : parts)
    if (auto epilogue = part.getAs<StringAttr>("epilogue");
        epilogue && epilogues.insert(epilogue.getValue()).second)
      name += "_" + epilogue.getValue().str();
  return name;
}

FlatSymbolRefAttr KernelTable::get(const KernelKey &key, Location loc) {
  MLIRContext *context = module.getContext();
  auto params = DictionaryAttr::get(context, key.params);
  std::string content = key.family;
  llvm::raw_string_ostream os(content);
  os << params;
  if (key.body) {
    // Values print by their order in the body, so equal bodies print alike.
    llvm::DenseMap<Value, int> number;
    for (BlockArgument argument : key.body->getArguments())
      number.try_emplace(argument, number.size());
    for (Operation &op : key.body->front()) {
      os << op.getName() << op.getAttrDictionary();
      for (Value operand : op.getOperands())
        os << ' ' << number.lookup(operand);
      for (Value result : op.getResults())
        number.try_emplace(result, number.size());
    }
  }
  FlatSymbolRefAttr &symbol = byContent[content];
  if (symbol)
    return symbol;

  std::string name = readableName(key, params);
  if (int copies = names[name]++)
    name += "_" + std::to_string(copies + 1);
  OpBuilder b(context);
  b.setInsertionPoint(*module.getOps<ProgramOp>().begin());
  auto kernel =
      KernelOp::create(b, loc, b.getStringAttr(name), b.getStringAttr(key.family),
                       TileSpaceAttr::get(context, TileSpace::Rows), b.getI64IntegerAttr(0),
                       b.getI64IntegerAttr(0), b.getI64IntegerAttr(0), params);
  if (key.body) {
    IRMapping copy;
    key.body->cloneInto(&kernel.getBody(), copy);
  } else if (key.family == "map") {
    Block *block = b.createBlock(&kernel.getBody(), {}, {b.getF32Type()}, {loc});
    YieldOp::create(b, loc, ValueRange{block->getArgument(0)});
  }
  return symbol = FlatSymbolRefAttr::get(context, name);
}

std::string lorac::lora::elementsOf(ValueRange operands) {
  std::string names;
  llvm::raw_string_ostream os(names);
  for (Value operand : operands)
    if (auto memory = dyn_cast<MemRefType>(operand.getType()))
      os << (names.empty() ? "" : " ") << memory.getElementType();
  return names;
}
