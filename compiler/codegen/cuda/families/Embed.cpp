// y[m, :] = W[ids[m], :], a warp a row.

#include "compiler/codegen/cuda/families/Rows.h"
#include "compiler/codegen/cuda/families/WeightElement.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family embedFamily;
}

static LogicalResult build(Kernel &kernel) {
  int64_t n = kernel.integer("n"), k = kernel.integer("k"), ldy = kernel.integer("ldy");
  SmallVector<DeviceBuilder::Argument> arguments{kernel.argument("ids", 0)};
  llvm::append_range(arguments, kernel.weightArguments());
  arguments.push_back(kernel.argument("y", 1, true));
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), rowThreads,
                  kernel.compute(), arguments);
  Value ids = d.next();
  WeightElement w(d, kernel, n, k);
  Value y = d.next();

  Int row = warpRow(d);
  Int id = d.named("id", d.loadInt(ids, {row}));
  overPieces(d, k, [&](Int col) {
    Value numbers = d.local("numbers", {Pieces::size}, d.f32());
    d.unrolled("e", Pieces::size, [&](Int e) { d.store(w.at(id, col + e), numbers, {e}); });
    Pieces(d, k).store(numbers, y, row * ldy, col);
  });
  return success();
}

const Family lorac::cuda::embedFamily = {"embed", "y[m, :] = W[ids[m], :]", rowGrid, build};
