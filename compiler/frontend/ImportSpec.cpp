// Spec + bound architecture -> 10-model: each node of the described graph becomes one op, layer by
// layer.

#include "compiler/frontend/ImportSpec.h"
#include "compiler/dialect/LoraOps.h"
#include "compiler/frontend/Locations.h"
#include "dsl/Functions.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"

#include <cmath>

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

namespace {

class Importer {
public:
  Importer(MLIRContext &context, const ImportInput &input)
      : context(context), input(input), builder(&context),
        module(ModuleOp::create(builder,
                                locationOf(context, input.spec.model.range, input.spec.name))) {}

  OwningOpRef<ModuleOp> run() {
    describe();
    declareRopes();
    declareWeights();
    declareAdapters();
    buildHidden();
    buildHead();
    buildLoss();
    return std::move(module);
  }

private:
  MLIRContext &context;
  const ImportInput &input;
  OpBuilder builder;
  OwningOpRef<ModuleOp> module;
  llvm::StringMap<Type> weightTypes;        // by tensor name
  llvm::StringMap<std::string> tensorNames; // by module

  // While a section is built.
  int64_t layer = 0;
  Value ids, positions, segments;

  RankedTensorType rows(ArrayRef<int64_t> shape) {
    SmallVector<int64_t> all{ShapedType::kDynamic};
    llvm::append_range(all, shape);
    return RankedTensorType::get(all, builder.getF32Type());
  }
  RankedTensorType intRows() {
    return RankedTensorType::get({ShapedType::kDynamic}, builder.getI32Type());
  }

  void describe() {
    builder.setInsertionPointToEnd(module->getBody());
    SmallVector<NamedAttribute> hyper;
    for (const auto &[name, value] : input.model.hyper) {
      bool whole = value == std::floor(value) && std::abs(value) < 1e15;
      hyper.push_back(
          builder.getNamedAttr(name, whole ? Attribute(builder.getI64IntegerAttr(int64_t(value)))
                                           : Attribute(builder.getF64FloatAttr(value))));
    }
    const int64_t length = *input.spec.train.maxLength;
    module->setSymName(input.spec.name);
    ModelOp::create(builder, module->getLoc(), input.model.architecture,
                    builder.getDictionaryAttr(hyper));
    LimitsOp::create(builder, module->getLoc(), length * *input.spec.train.batchSize, length,
                     IntegerAttr(), IntegerAttr(), IntegerAttr());
  }

  // One for each module that the spec adapts, in the spec's order.
  void declareAdapters() {
    const StringAttr method = *input.spec.adapter.useDora   ? builder.getStringAttr("dora")
                              : *input.spec.adapter.useGate ? builder.getStringAttr("gated")
                                                            : StringAttr();
    for (const dsl::AdapterChoice &choice : input.adapters) {
      DenseI64ArrayAttr falls; // AdaLoRA: the run chooses the rank
      if (input.ranks)
        falls = builder.getDenseI64ArrayAttr({choice.r, *choice.minR, choice.most()});
      AdapterOp::create(builder, locationOf(context, choice.range, ""), choice.module,
                        tensorNames.lookup(choice.module), choice.r, llvm::APFloat(choice.scale),
                        builder.getF64FloatAttr(choice.dropout), method, falls);
    }
    if (input.ranks)
      AdaLoraOp::create(builder, module->getLoc(), input.ranks->initial, input.ranks->target,
                        llvm::APFloat(*input.spec.adapter.adalora->orthRegWeight));
  }

  // The storage of one frozen weight: what the spec asks for linears of a block, the file's own
  // type for embedding and head.
  WeightType weightType(const dsl::BoundWeight &weight, StringRef tensor) {
    if (weight.isVector())
      return WeightType::get(&context, weight.shape,
                             formats::WeightFormat{formats::WeightFormat::Vector});
    const dsl::QuantizationSpec &quantization = input.spec.quantization;
    const dsl::BaseFormat format = *quantization.format;
    const std::optional<formats::FourBit> codebook = codebookOf(format);
    if (weight.kind == dsl::WeightKind::Linear && codebook) {
      return WeightType::get(&context, weight.shape,
                             formats::WeightFormat::codes(*codebook, *quantization.blockSize,
                                                          *quantization.doubleQuant));
    }
    auto found = input.sourceFormats.find(tensor.str());
    return WeightType::get(&context, weight.shape,
                           format == dsl::BaseFormat::None || found == input.sourceFormats.end()
                               ? formats::WeightFormat::floats(formats::ElementType::F32)
                               : found->second);
  }

  void declareRopes() {
    for (const dsl::RopeFrequencies &rope : input.model.ropes)
      FrequenciesOp::create(builder, module->getLoc(), rope.name, rope.inverse,
                            llvm::APFloat(rope.factor));
  }

  void declareWeights() {
    for (const dsl::BoundWeight &weight : input.model.weights) {
      if (!weight.tiedTo.empty())
        continue;
      for (int64_t i = 0, n = weight.perLayer ? input.model.layers : 1; i < n; ++i) {
        std::string tensor = weight.hfName(i);
        WeightType type = weightType(weight, tensor);
        weightTypes[tensor] = type;
        tensorNames[weight.module(i)] = tensor;
        auto number = [&](bool isThere, int64_t n) {
          return isThere ? builder.getI64IntegerAttr(n) : IntegerAttr();
        };
        FrozenOp::create(builder, locationOf(context, weight.range, tensor), tensor, type,
                         number(weight.perLayer, i), builder.getStringAttr(weight.ggufName(i)),
                         builder.getStringAttr(dsl::toString(weight.kind)),
                         number(weight.permuteHeads != 0, weight.permuteHeads),
                         weight.hfAdd != 0 ? builder.getF64FloatAttr(weight.hfAdd) : FloatAttr());
      }
    }
  }

  std::string tensorOf(const std::string &key) {
    const dsl::BoundWeight *weight = input.model.weight(key);
    if (!weight->tiedTo.empty())
      weight = input.model.weight(weight->tiedTo);
    return weight->hfName(layer);
  }
  Value use(const dsl::GraphNode &node) {
    std::string tensor = tensorOf(node.weight);
    return UseOp::create(builder, locationFor(node), weightTypes.lookup(tensor), tensor);
  }
  Location locationFor(const dsl::GraphNode &node) {
    std::string name = node.name;
    if (!node.weight.empty())
      name = input.model.weight(node.weight)->module(layer);
    return locationOf(context, node.range, name);
  }

  ProgramOp openProgram(StringRef name, ArrayRef<Type> inputs, ArrayRef<Type> results,
                        ArrayRef<StringRef> names) {
    builder.setInsertionPointToEnd(module->getBody());
    auto program = ProgramOp::create(builder, module->getLoc(), When::Inference, name,
                                     builder.getFunctionType(inputs, results));
    Block *block = program.addEntryBlock();
    for (auto [argument, label] : llvm::zip(block->getArguments(), names))
      argument.setLoc(NameLoc::get(builder.getStringAttr(label)));
    builder.setInsertionPointToStart(block);
    return program;
  }

  // The values of the section's nodes, those behind `last` left out.
  SmallVector<Value> buildNodes(const dsl::GraphSection &section, Value x, int last) {
    SmallVector<Value> values;
    for (int id = 0; id <= last; ++id)
      values.push_back(buildNode(section, id, values, x));
    return values;
  }
  Value buildSection(const dsl::GraphSection &section, Value x) {
    return buildNodes(section, x, section.output).back();
  }

  // Null where it is a number, which the ops that read it hold.
  Value buildNode(const dsl::GraphSection &section, int id, ArrayRef<Value> values, Value x) {
    const dsl::GraphNode &node = section.nodes[id];
    auto in = [&](unsigned i) {
      return node.inputs[i] == dsl::SectionInput ? x : values[node.inputs[i]];
    };
    Location loc = locationFor(node);
    RankedTensorType type = rows(node.shape);
    switch (node.op) {
    case dsl::GraphOp::Number:
      return Value();
    case dsl::GraphOp::Row:
      return use(node);
    case dsl::GraphOp::Embed:
      return EmbedOp::create(builder, loc, type, ids, use(node));
    case dsl::GraphOp::RmsNorm:
      return RmsNormOp::create(builder, loc, type, in(0), use(node),
                               builder.getF64FloatAttr(node.number));
    case dsl::GraphOp::Linear:
      return LinearOp::create(builder, loc, type, in(0), use(node));
    case dsl::GraphOp::Heads:
      return ViewOp::create(builder, loc, type, in(0));
    case dsl::GraphOp::Rope:
      return RopeOp::create(builder, loc, type, in(0), positions,
                            FlatSymbolRefAttr::get(&context, node.what), UnitAttr());
    case dsl::GraphOp::Attention: {
      int64_t heads = cast<RankedTensorType>(in(0).getType()).getDimSize(1);
      return AttentionOp::create(
                 builder, loc, TypeRange{type, rows({heads})}, in(0), in(1), in(2), segments,
                 builder.getF64FloatAttr(node.number),
                 node.window ? builder.getI64IntegerAttr(node.window) : IntegerAttr(),
                 node.softcap != 0 ? builder.getF64FloatAttr(node.softcap) : FloatAttr())
          .getO();
    }
    default:
      break;
    }
    SmallVector<Value> operands;
    for (unsigned i = 0; i < node.inputs.size(); ++i)
      if (in(i))
        operands.push_back(in(i));
    return MapOp::of(builder, loc, operands, [&](ValueRange arguments) {
      SmallVector<Value> scalars;
      for (int input : node.inputs)
        if (input >= 0 && section.nodes[input].op == dsl::GraphOp::Number)
          scalars.push_back(constant(loc, section.nodes[input].number));
        else
          scalars.push_back(arguments.front()), arguments = arguments.drop_front();
      return scalar(node, scalars, loc);
    });
  }

  Value constant(Location loc, double value) {
    return arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(value));
  }

  // An elementwise node on one element.
  Value scalar(const dsl::GraphNode &node, ValueRange in, Location loc) {
    switch (node.op) {
    case dsl::GraphOp::Add:
      return arith::AddFOp::create(builder, loc, in[0], in[1]);
    case dsl::GraphOp::Sub:
      return arith::SubFOp::create(builder, loc, in[0], in[1]);
    case dsl::GraphOp::Mul:
      return arith::MulFOp::create(builder, loc, in[0], in[1]);
    case dsl::GraphOp::Div:
      return arith::DivFOp::create(builder, loc, in[0], in[1]);
    case dsl::GraphOp::Neg:
      return arith::NegFOp::create(builder, loc, in[0]);
    default:
      return call(node.what, in[0], loc);
    }
  }

  // A function of dsl/Functions.def: an op of its own, or its formula.
  Value call(StringRef name, Value x, Location loc) {
#define LORAC_SCALAR(word, op, value, gradient, vector)                                            \
  if (name == #word)                                                                               \
    return op::create(builder, loc, x);
#include "dsl/Functions.def"
    return formula(dsl::findFunction(name)->formula, x, loc);
  }

  Value formula(const dsl::Expr &expr, Value x, Location loc) {
    auto arg = [&](unsigned i) { return formula(expr.args[i], x, loc); };
    auto both = [&](auto make) -> Value {
      Value right = arg(1);
      return make(arg(0), right);
    };
    switch (expr.kind) {
    case dsl::ExprKind::Number:
      return constant(loc, expr.number);
    case dsl::ExprKind::Name:
      return x;
    case dsl::ExprKind::Call:
      return call(expr.name, arg(0), loc);
    case dsl::ExprKind::Neg:
      return arith::NegFOp::create(builder, loc, arg(0));
    case dsl::ExprKind::Add:
      return both([&](Value l, Value r) { return arith::AddFOp::create(builder, loc, l, r); });
    case dsl::ExprKind::Sub:
      return both([&](Value l, Value r) { return arith::SubFOp::create(builder, loc, l, r); });
    case dsl::ExprKind::Mul:
      return both([&](Value l, Value r) { return arith::MulFOp::create(builder, loc, l, r); });
    case dsl::ExprKind::Div:
      return both([&](Value l, Value r) { return arith::DivFOp::create(builder, loc, l, r); });
    default:
      llvm_unreachable("formulas of the table are made of + - * / and functions");
    }
  }

  const dsl::GraphNode &headProduct() const {
    return input.model.head.nodes[input.model.head.product];
  }

  // What follows the head's product, on one element.
  Value logit(Value product) {
    const dsl::GraphSection &head = input.model.head;
    SmallVector<Value> values(head.nodes.size());
    values[head.product] = product;
    for (int id = head.product + 1; id <= head.output; ++id) {
      const dsl::GraphNode &node = head.nodes[id];
      Location loc = locationFor(node);
      if (node.op == dsl::GraphOp::Number) {
        values[id] = constant(loc, node.number);
        continue;
      }
      SmallVector<Value> in;
      for (int at : node.inputs)
        in.push_back(values[at] ? values[at] : constant(loc, head.nodes[at].number));
      values[id] = scalar(node, in, loc);
    }
    return values[head.output];
  }
  bool headHasMore() const { return input.model.head.output != input.model.head.product; }

  void buildHidden() {
    RankedTensorType hidden = rows({input.model.hiddenSize});
    ProgramOp program = openProgram("hidden", {intRows(), intRows(), intRows()}, {hidden},
                                    {"ids", "positions", "segments"});
    ids = program.getArgument(0), positions = program.getArgument(1),
    segments = program.getArgument(2);
    layer = 0;
    Value x = buildSection(input.model.embed, Value());
    for (layer = 0; layer < input.model.layers; ++layer)
      x = buildSection(input.model.block(layer), x);
    layer = 0;
    int at = headProduct().inputs[0];
    SmallVector<Value> values = buildNodes(input.model.head, x, at);
    ReturnOp::create(builder, program.getLoc(), at == dsl::SectionInput ? x : values[at]);
  }

  void buildHead() {
    const dsl::GraphNode &product = headProduct();
    RankedTensorType logits = rows(product.shape);
    ProgramOp program = openProgram("head", {rows({input.model.hiddenSize})}, {logits}, {"h"});
    Value y = LinearOp::create(builder, locationFor(product), logits, program.getArgument(0),
                               use(product));
    if (headHasMore())
      y = MapOp::of(builder, locationFor(product), y, [&](ValueRange in) { return logit(in[0]); });
    ReturnOp::create(builder, program.getLoc(), y);
  }

  void buildLoss() {
    const dsl::GraphNode &product = headProduct();
    RankedTensorType losses = rows({});
    ProgramOp program =
        openProgram("loss", {rows({input.model.hiddenSize}), intRows()}, {losses}, {"h", "labels"});
    auto loss =
        CrossEntropyOp::create(builder, locationFor(product), losses, program.getArgument(0),
                               use(product), program.getArgument(1));
    if (headHasMore()) {
      OpBuilder::InsertionGuard guard(builder);
      Block *body =
          builder.createBlock(&loss.getBody(), {}, {builder.getF32Type()}, {loss.getLoc()});
      YieldOp::create(builder, loss.getLoc(), logit(body->getArgument(0)));
    }
    ReturnOp::create(builder, program.getLoc(), loss.getRowLoss());
  }
};

} // namespace

OwningOpRef<ModuleOp> lorac::importSpec(MLIRContext &context, const ImportInput &input) {
  return Importer(context, input).run();
}
