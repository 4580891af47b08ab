// The update B·diag(E)·A as one of LoRA: F = B·diag(E) stands in B's place while the model's
// programs run (@fold), then B again (@unfold); of the gradient by F become those by B and E
// (@unfold_grads).

#include "compiler/codegen/cuda/families/TripletTable.h"

using namespace mlir;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family foldTripletsFamily, unfoldTripletsFamily, unfoldGradientsFamily;
}

static constexpr int64_t blocksOfModule = 8; // where each number of B is alone

// The numbers of the module's B, dealt out to its blocks.
static void overB(DeviceBuilder &d, const Triplets &of, llvm::function_ref<void(Int)> body) {
  d.loop("i", d.blockY() * tripletThreads + d.thread(), of.out * of.rank,
         blocksOfModule * tripletThreads, body);
}

static LogicalResult buildFold(Kernel &kernel) {
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), tripletThreads,
                  kernel.compute(),
                  {kernel.argument("table", 0), kernel.argument("params", 1, true),
                   kernel.argument("unfolded", 2, true)});
  Value table = d.next(), params = d.next(), unfolded = d.next();
  Triplets of = tripletsOfBlock(d, table);
  overB(d, of, [&](Int i) {
    Num b = d.named("value", d.loadNum(params, {of.b + i}));
    d.store(b, unfolded, {of.unfolded + i});
    d.store(b * d.loadNum(params, {of.e + i % of.rank}), params, {of.b + i});
  });
  return success();
}

static LogicalResult buildUnfold(Kernel &kernel) {
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), tripletThreads,
                  kernel.compute(),
                  {kernel.argument("table", 0), kernel.argument("kept", 1),
                   kernel.argument("params", 2, true)});
  Value table = d.next(), kept = d.next(), params = d.next();
  Triplets of = tripletsOfBlock(d, table);
  overB(d, of, [&](Int i) { d.store(d.loadNum(kept, {of.unfolded + i}), params, {of.b + i}); });
  return success();
}

static LogicalResult buildGradients(Kernel &kernel) {
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), tripletThreads,
                  kernel.compute(),
                  {kernel.argument("table", 0), kernel.argument("params", 1),
                   kernel.argument("grads", 2, true)});
  Value table = d.next(), params = d.next(), grads = d.next();
  Triplets of = tripletsOfBlock(d, table);
  sumColumns(
      d, of,
      [&](Int at, Int column) {
        Num g = d.named("g", d.loadNum(grads, {at}));
        d.store(g * d.loadNum(params, {of.e + column}), grads, {at});
        return d.toF64(g) * d.toF64(d.loadNum(params, {at}));
      },
      [&](Int column, Num sum) { d.store(d.toF32(sum), grads, {of.e + column}); });
  return success();
}

static Grid gridOfB(DictionaryAttr, const CudaTarget &, int64_t modules) {
  return {modules, blocksOfModule, 1};
}

const Family lorac::cuda::foldTripletsFamily = {
    "fold_triplets", "unfolded = B, B = B·diag(E), of each module", gridOfB, buildFold};
const Family lorac::cuda::unfoldTripletsFamily = {"unfold_triplets", "B = unfolded, of each module",
                                                  gridOfB, buildUnfold};
const Family lorac::cuda::unfoldGradientsFamily = {
    "unfold_gradients", "dE_i = Σ_rows dB[row, i]·B[row, i], dB = dB·diag(E), a block a module",
    gridOfModules, buildGradients};
