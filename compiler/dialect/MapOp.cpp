// How maps are made, and how they simplify: what is not computed needs no map.

#include "compiler/dialect/LoraOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace lorac::lora;

Value MapOp::of(OpBuilder &b, Location loc, ValueRange operands,
                llvm::function_ref<Value(ValueRange)> element) {
  auto isWhole = [](Value operand) {
    auto type = dyn_cast<RankedTensorType>(operand.getType());
    return type && type.isDynamicDim(0);
  };
  const auto whole = llvm::find_if(operands, isWhole);
  Type type = (whole != operands.end() ? *whole : operands.front()).getType();
  auto map = MapOp::create(b, loc, TypeRange{type}, operands);
  OpBuilder::InsertionGuard guard(b);
  Block *block =
      b.createBlock(&map.getBody(), {}, SmallVector<Type>(operands.size(), b.getF32Type()),
                    SmallVector<Location>(operands.size(), loc));
  YieldOp::create(b, loc, element(block->getArguments()));
  return map.getOutputs().front();
}

Value MapOp::sum(OpBuilder &b, Location loc, Value x, Value y) {
  return of(b, loc, {x, y},
            [&](ValueRange in) -> Value { return arith::AddFOp::create(b, loc, in[0], in[1]); });
}

bool MapOp::isSum() {
  Block &body = getBody().front();
  if (body.getNumArguments() != 2 || getOutputs().size() != 1)
    return false;
  auto sum = body.getTerminator()->getOperand(0).getDefiningOp<arith::AddFOp>();
  return sum && !hasRows() && &body.front() == sum && sum.getLhs() == body.getArgument(0) &&
         sum.getRhs() == body.getArgument(1);
}

// A result that is one of the inputs is that input; results and inputs that nobody uses go.
LogicalResult MapOp::canonicalize(MapOp op, PatternRewriter &rewriter) {
  Block &body = op.getBody().front();
  auto yield = cast<YieldOp>(body.getTerminator());
  bool forwarded = false;
  for (auto [result, value] : llvm::zip(op.getOutputs(), yield.getValues()))
    if (auto argument = dyn_cast<BlockArgument>(value);
        argument && !result.use_empty() && !op.isRow(op.getInputs()[argument.getArgNumber()])) {
      rewriter.replaceAllUsesWith(result, op.getInputs()[argument.getArgNumber()]);
      forwarded = true;
    }
  SmallVector<unsigned> results;
  for (auto [i, result] : llvm::enumerate(op.getOutputs()))
    if (!result.use_empty())
      results.push_back(i);
  if (results.empty()) {
    rewriter.eraseOp(op);
    return success();
  }

  // Inputs that the kept results need; a value fed in twice comes in once.
  llvm::SmallDenseMap<Value, unsigned> place;
  SmallVector<Value> inputs;
  llvm::SmallDenseSet<Value> needed;
  SmallVector<Value> work;
  for (unsigned i : results)
    work.push_back(yield.getValues()[i]);
  while (!work.empty()) {
    Value value = work.pop_back_val();
    if (needed.insert(value).second && value.getDefiningOp())
      llvm::append_range(work, value.getDefiningOp()->getOperands());
  }
  for (auto [argument, input] : llvm::zip(body.getArguments(), op.getInputs()))
    if (needed.contains(argument) && place.try_emplace(input, inputs.size()).second)
      inputs.push_back(input);
  auto isWhole = [&](Value input) { return !op.isRow(input); };
  if (llvm::none_of(inputs, isWhole)) { // one says how many tokens there are
    Value whole = *llvm::find_if(op.getInputs(), isWhole);
    place[whole] = inputs.size();
    inputs.push_back(whole);
  }
  if (inputs.size() == op.getInputs().size() && results.size() == op.getOutputs().size()) {
    if (forwarded)
      return success();
    return rewriter.notifyMatchFailure(op, "every input and result is used");
  }

  SmallVector<Type> types;
  for (unsigned i : results)
    types.push_back(op.getOutputs()[i].getType());
  auto smaller = MapOp::create(rewriter, op.getLoc(), types, inputs);
  Block *block = rewriter.createBlock(&smaller.getBody(), {},
                                      SmallVector<Type>(inputs.size(), rewriter.getF32Type()),
                                      SmallVector<Location>(inputs.size(), op.getLoc()));
  IRMapping copy;
  for (auto [argument, input] : llvm::zip(body.getArguments(), op.getInputs()))
    if (auto found = place.find(input); found != place.end())
      copy.map(argument, block->getArgument(found->second));
  for (Operation &inner : body.without_terminator())
    if (needed.contains(inner.getResult(0)))
      rewriter.clone(inner, copy);
  SmallVector<Value> yielded;
  for (unsigned i : results)
    yielded.push_back(copy.lookup(yield.getValues()[i]));
  YieldOp::create(rewriter, op.getLoc(), yielded);
  for (auto [from, to] : llvm::zip(results, smaller.getOutputs()))
    rewriter.replaceAllUsesWith(op.getOutputs()[from], to);
  rewriter.eraseOp(op);
  return success();
}
