// Ops over rows of tokens that hold no product with a weight: embedding, norms, rope, attention,
// maps, dropout.

#include "compiler/passes/select/Selector.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace lorac::lora;

void Selector::selectOp(EmbedOp op) {
  Value y = fresh(op.getY(), op.getLoc(), "out");
  auto shape = cast<WeightType>(op.getWeight().getType()).getShape();
  launch(op.getLoc(),
         {"embed",
          {integer("n", shape[0]), integer("k", shape[1]), integer("ldy", ld(op.getY())),
           formatOf(op.getWeight())}},
         {in(op.getIds()), weight(op.getWeight()), y}, 0);
  buffers[op.getY()] = y;
}

// A norm's length; of [tokens, heads, d] there are several in a row.
SmallVector<NamedAttribute> Selector::normParams(Value x, Value w, double eps) {
  const int64_t n = cast<WeightType>(w.getType()).getShape()[0], heads = cols(x) / n;
  SmallVector<NamedAttribute> params{integer("n", n), integer("ldx", ld(x)), number("eps", eps)};
  if (heads > 1)
    params.push_back(integer("heads", heads));
  return params;
}

void Selector::selectOp(RmsNormOp op) {
  Value y = fresh(op.getY(), op.getLoc(), "norm");
  auto params = normParams(op.getX(), op.getWeight(), op.getEps().convertToDouble());
  params.push_back(integer("ldy", ld(op.getY())));
  launch(op.getLoc(), {"rms_norm_forward", params}, {in(op.getX()), weight(op.getWeight()), y},
         tokens() * 4 * cols(op.getX()));
  buffers[op.getY()] = y;
}

void Selector::selectOp(RmsNormBackwardOp op) {
  Value dx = op.getOnto() ? onto(op.getOnto(), op.getDx(), op.getLoc())
                          : fresh(op.getDx(), op.getLoc(), "dnorm");
  auto params = normParams(op.getX(), op.getWeight(), op.getEps().convertToDouble());
  params.append({integer("lddy", ld(op.getDy())), integer("lddx", ld(op.getDx())),
                 flag("accumulate", bool(op.getOnto()))});
  launch(op.getLoc(), {"rms_norm_backward", params},
         {in(op.getX()), weight(op.getWeight()), in(op.getDy()), dx},
         tokens() * 10 * cols(op.getX()));
  buffers[op.getDx()] = dx;
}

// Heads that a block of 128 columns holds whole, in halves of whole pieces.
int64_t Selector::headDim(RopeOp op) {
  return cast<RankedTensorType>(op.getX().getType()).getDimSize(2);
}

Value Selector::ropeTable(RopeOp op) {
  Value table = place(BufferRole::Table, op.getFrequencies(),
                      MemRefType::get({maxLength, headDim(op)}, b.getF32Type()));
  table.getDefiningOp<BufferOp>().setFrequenciesAttr(op.getFrequenciesAttr());
  return table;
}

void Selector::selectOp(RopeOp op) {
  auto type = cast<RankedTensorType>(op.getX().getType());
  int64_t d = type.getDimSize(2);
  Value y = over(op.getX(), op.getY(), op.getLoc(), "rope");
  launch(
      op.getLoc(),
      {"rope",
       {integer("heads", type.getDimSize(1)), integer("head_dim", d), integer("ldx", ld(op.getX())),
        integer("ldy", ld(op.getY())), flag("inverse", op.getInverse())}},
      {in(op.getX()), in(op.getPositions()), ropeTable(op), y}, tokens() * 3 * cols(op.getX()));
  buffers[op.getY()] = y;
}

// A window that no sample leaves is none.
template <typename Op>
void Selector::addMasks(Op op, SmallVectorImpl<NamedAttribute> &params) {
  if (op.getWindow() && int64_t(*op.getWindow()) < maxLength)
    params.push_back(integer("window", *op.getWindow()));
  if (op.getSoftcap())
    params.push_back(number("softcap", op.getSoftcap()->convertToDouble()));
}

template <typename Op>
SmallVector<NamedAttribute> Selector::attentionParams(Op op) {
  Value q = op.getQ(), k = op.getK();
  auto qType = cast<RankedTensorType>(q.getType()), kType = cast<RankedTensorType>(k.getType());
  int64_t heads = qType.getDimSize(1);
  SmallVector<NamedAttribute> params{integer("heads", heads),
                                     integer("kv_heads", kType.getDimSize(1)),
                                     integer("head_dim", qType.getDimSize(2)),
                                     integer("ldq", ld(q)),
                                     integer("ldk", ld(k)),
                                     integer("ldv", ld(op.getV())),
                                     integer("ldo", ld(op.getO())),
                                     integer("ldl", leadingDimension(heads)),
                                     number("scale", op.getScale().convertToDouble()),
                                     integer("max_segment", maxLength)};
  addMasks(op, params);
  return params;
}

void Selector::selectOp(AttentionOp op) {
  Value o = fresh(op.getO(), op.getLoc(), "attention"),
        lse = fresh(op.getLse(), op.getLoc(), "lse");
  launch(op.getLoc(), {"attention_forward", attentionParams(op)},
         {in(op.getQ()), in(op.getK()), in(op.getV()),
          target.isCuda ? positions() : in(op.getSegments()), o, lse},
         2 * tokens() * maxLength * cols(op.getO()));
  buffers[op.getO()] = o, buffers[op.getLse()] = lse;
}

void Selector::selectOp(AttentionBackwardOp op) {
  Value dq = fresh(op.getDq(), op.getLoc(), "dq"), dk = fresh(op.getDk(), op.getLoc(), "dk"),
        dv = fresh(op.getDv(), op.getLoc(), "dv");
  auto params = attentionParams(op);
  params.append({integer("lddo", ld(op.getDout())), integer("lddq", ld(op.getDq())),
                 integer("lddk", ld(op.getDk())), integer("lddv", ld(op.getDv()))});
  if (target.isCuda)
    return selectAttentionBackwardCuda(op, params, dq, dk, dv);
  launch(op.getLoc(), {"attention_backward", params},
         {in(op.getQ()), in(op.getK()), in(op.getV()), in(op.getSegments()), in(op.getO()),
          in(op.getLse()), in(op.getDout()), dq, dk, dv},
         5 * tokens() * maxLength * cols(op.getO()));
  buffers[op.getDq()] = dq, buffers[op.getDk()] = dk, buffers[op.getDv()] = dv;
}

CachePlan::CachePlan(CachedAttentionOp op, int64_t sequences, int64_t length) {
  auto type = cast<RankedTensorType>(op.getK().getType());
  const int64_t heads = type.getDimSize(1), dim = type.getDimSize(2);
  positions = llvm::alignTo(length, 16); // a panel of keys
  valueColumns = heads * llvm::alignTo(dim, 8);
  keys = sequences * positions * heads * dim;
  values = sequences * positions * valueColumns;
}

// The new rows' keys and values first, then their queries.
void Selector::selectOp(CachedAttentionOp op) {
  const CachePlan plan(op, target.sequences, maxLength);
  auto region = program->getParentOfType<ModuleOp>().lookupSymbol<RegionOp>("kv_cache");
  auto part = [&](int64_t floats) -> Value {
    Value whole = place(BufferRole::Region, region.getSymName(),
                        MemRefType::get({int64_t(region.getCount())}, b.getF32Type()));
    Value memory = SliceOp::create(b, op.getLoc(), MemRefType::get({floats}, b.getF32Type()), whole,
                                   4 * cached);
    cached += floats;
    return memory;
  };
  Value keys = part(plan.keys), values = part(plan.values);
  Value o = fresh(op.getO(), op.getLoc(), "attention");
  auto kType = cast<RankedTensorType>(op.getK().getType());
  const SmallVector<NamedAttribute> ofCache{
      integer("kv_heads", kType.getDimSize(1)), integer("head_dim", kType.getDimSize(2)),
      integer("ldc", plan.valueColumns),
      b.getNamedAttr("scalars", b.getStrArrayAttr({"positions"}))};
  const DenseI64ArrayAttr scalars = b.getDenseI64ArrayAttr({plan.positions});
  SmallVector<NamedAttribute> ofRows(ofCache);
  ofRows.append({integer("ldk", ld(op.getK())), integer("ldv", ld(op.getV()))});
  launch(op.getLoc(), {"cache_rows", ofRows},
         {in(op.getK()), in(op.getV()), in(op.getSegments()), in(op.getPositions()), keys, values},
         0, scalars);
  SmallVector<NamedAttribute> ofQueries(ofCache);
  ofQueries.append({integer("heads", cast<RankedTensorType>(op.getQ().getType()).getDimSize(1)),
                    integer("ldq", ld(op.getQ())), integer("ldo", ld(op.getO())),
                    number("scale", op.getScale().convertToDouble())});
  addMasks(op, ofQueries);
  launch(op.getLoc(), {"cached_attention", ofQueries},
         {in(op.getQ()), keys, values, in(op.getSegments()), in(op.getPositions()), o},
         2 * tokens() * maxLength * cols(op.getO()), scalars);
  buffers[op.getO()] = o;
}

// Where samples lie: the CPU's tiles are samples, a GPU's are rows that ask for the ends of
// theirs.
Value Selector::segments(Value starts) {
  if (!target.isCuda)
    return in(starts);
  return place(BufferRole::IO, "row_ends", MemRefType::get({maxTokens}, b.getI32Type()));
}

Value Selector::positions() {
  return place(BufferRole::IO, "positions", MemRefType::get({maxTokens}, b.getI32Type()));
}

// What a head's row needs first, [heads][tokens][4]: lse, rowsum(do·o) and where its sample
// begins. Then dq by blocks of queries, dk and dv by blocks of keys: no two blocks add to one
// place.
void Selector::selectAttentionBackwardCuda(AttentionBackwardOp op, ArrayRef<NamedAttribute> params,
                                           Value dq, Value dk, Value dv) {
  auto type = MemRefType::get({tokens(), 4 * cols(op.getLse())}, b.getF32Type());
  Value stats = BufferOp::create(b, op.getLoc(), type, BufferRole::Local, "row_stats", -1),
        ends = segments(op.getSegments());
  SmallVector<NamedAttribute> all(params);
  int64_t flops = tokens() * maxLength * cols(op.getO());
  launch(op.getLoc(), {"attention_delta", all},
         {in(op.getO()), in(op.getDout()), in(op.getLse()), positions(), stats}, 0);
  launch(op.getLoc(), {"attention_backward_q", all},
         {in(op.getQ()), in(op.getK()), in(op.getV()), stats, in(op.getDout()), dq}, 2 * flops);
  launch(op.getLoc(), {"attention_backward_kv", all},
         {in(op.getQ()), in(op.getK()), in(op.getV()), ends, stats, in(op.getDout()), dk, dv},
         3 * flops);
  buffers[op.getDq()] = dq, buffers[op.getDk()] = dk, buffers[op.getDv()] = dv;
}

void Selector::selectOp(MapOp op) {
  SmallVector<Value> operands;
  SmallVector<int64_t> lds, weights; // which of the operands are frozen
  for (Value input : op.getInputs()) {
    const bool isFrozen = isa<WeightType>(input.getType());
    if (isFrozen)
      weights.push_back(operands.size());
    operands.push_back(isFrozen ? weight(input) : in(input));
    lds.push_back(op.isRow(input) ? 0 : ld(input));
  }
  placeOutputs(op, op.getInputs(), [&](Value buffer, int64_t lead) {
    operands.push_back(buffer), lds.push_back(lead);
  });
  int64_t n = cols(op.getOutputs().front());
  SmallVector<NamedAttribute> params{integer("cols", n), integer("ins", op.getInputs().size()),
                                     integer("outs", op.getOutputs().size()),
                                     b.getNamedAttr("lds", b.getDenseI64ArrayAttr(lds))};
  if (!weights.empty())
    params.push_back(b.getNamedAttr("weights", b.getDenseI64ArrayAttr(weights)));
  launch(op.getLoc(), {"map", params, &op.getBody()}, operands,
         tokens() * n * int64_t(op.getBody().front().getOperations().size() - 1));
}

// A map's results, over those of its inputs that die here.
void Selector::placeOutputs(MapOp op, ValueRange inputs,
                            llvm::function_ref<void(Value buffer, int64_t lead)> placed) {
  llvm::DenseSet<Value> taken;
  for (Value output : op.getOutputs()) {
    Value buffer;
    for (Value input : inputs)
      if (!buffer && !op.isRow(input) && diesHere(input) && !isReturned(output) &&
          taken.insert(in(input)).second)
        buffer = in(input);
    buffers[output] = buffer ? buffer : fresh(output, op.getLoc(), "map");
    placed(buffers[output], ld(output));
  }
}

// Into the gradient where that alone reads it.
void Selector::selectOp(SumRowsOp op) {
  Value gradient = gradientPlace(op.getY());
  Value y = gradient ? gradient : fresh(op.getY(), op.getLoc(), "sum");
  launch(op.getLoc(),
         {"sum_rows",
          {integer("cols", cols(op.getX())), integer("ldx", ld(op.getX())),
           flag("accumulate", bool(gradient))}},
         {in(op.getX()), y}, tokens() * cols(op.getX()));
  buffers[op.getY()] = y;
}

void Selector::selectOp(DropoutOp op) {
  Value y = fresh(op.getY(), op.getLoc(), "dropout");
  launch(op.getLoc(),
         {"dropout",
          {number("p", op.getP().convertToDouble()), integer("cols", cols(op.getX())),
           integer("ldx", ld(op.getX())), integer("ldy", ld(op.getY())),
           integer("stream", op.getStream()), flag("accumulate", false)}},
         {in(op.getX()), y}, tokens() * cols(op.getX()));
  buffers[op.getY()] = y;
}
