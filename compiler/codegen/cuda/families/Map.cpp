// An elementwise function of its operands: the map's own ops on one element, in float32. Where a
// leading dimension is 0 the operand is one row for all: a parameter, which may begin anywhere, or
// a frozen row (`weights`).

#include "compiler/codegen/cuda/families/MapBody.h"
#include "compiler/codegen/cuda/families/Rows.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family mapFamily;
}

static LogicalResult build(Kernel &kernel) {
  int64_t cols = kernel.integer("cols"), ins = kernel.integer("ins"), outs = kernel.integer("outs");
  ArrayRef<int64_t> lds = kernel.op.integers("lds");
  Block &body = kernel.op.getBody().front();
  ArrayRef<int64_t> weights =
      kernel.has("weights") ? kernel.op.integers("weights") : ArrayRef<int64_t>();
  SmallVector<DeviceBuilder::Argument> arguments;
  unsigned buffer = 0;
  for (int64_t i = 0; i < ins + outs; ++i) { // results may lie over operands
    std::string name = (i < ins ? "x" : "y") + std::to_string(i < ins ? i : i - ins);
    if (llvm::is_contained(weights, i))
      arguments.push_back({name, kernel.weightArguments({formats::WeightFormat::Vector})[0].type});
    else
      arguments.push_back(kernel.argument(name, buffer++, lds[i] != 0));
  }
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), rowThreads,
                  kernel.compute(), arguments);
  SmallVector<Value> buffers;
  for (int64_t i = 0; i < ins + outs; ++i)
    buffers.push_back(d.next());
  Int row = warpRow(d);
  Pieces pieces(d, cols), ofRow(d, cols, /*aligned=*/false);
  SmallVector<Int> begins;
  for (int64_t i = 0; i < ins + outs; ++i)
    begins.push_back(row * lds[i]);
  overPieces(d, cols, [&](Int col) {
    SmallVector<Value> from, to;
    for (int64_t i = 0; i < ins; ++i)
      from.push_back(
          (lds[i] == 0 ? ofRow : pieces).load("a" + std::to_string(i), buffers[i], begins[i], col));
    for (int64_t i = 0; i < outs; ++i)
      to.push_back(d.local("r" + std::to_string(i), {Pieces::size}, d.f32()));
    d.unrolled("e", Pieces::size, [&](Int e) {
      SmallVector<Value> arguments;
      for (Value numbers : from)
        arguments.push_back(d.loadNum(numbers, {e}));
      for (auto [i, value] : llvm::enumerate(cloneMapBody(d, body, arguments)))
        d.store(value, to[i], {e});
    });
    for (int64_t i = 0; i < outs; ++i)
      pieces.store(to[i], buffers[ins + i], begins[ins + i], col);
  });
  return success();
}

const Family lorac::cuda::mapFamily = {"map", "an elementwise function of its operands", rowGrid,
                                       build};
