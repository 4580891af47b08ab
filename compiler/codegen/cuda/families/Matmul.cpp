// The small products of adapters, C [+]= scale·A·B over one operand's float32 factors: nt `A·Bᵀ`,
// nn `A·B`, and tn `Aᵀ·B` over the rows. A block makes a tile of 64 x 64; both operands are brought
// into shared memory as 16-bit numbers, 64 of the depth at a time.

#include "compiler/codegen/cuda/families/WarpTile.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family matmulNtFamily, matmulNnFamily, matmulTnFamily;
}

namespace {

enum class Kind { NT, NN, TN };
constexpr TileShape tile{64, 64, 32, 32};

LogicalResult build(Kernel &kernel, Kind kind) {
  int64_t j = kernel.integer("j"), lda = kernel.integer("lda"), ldb = kernel.integer("ldb"),
          ldc = kernel.integer("ldc");
  DeviceBuilder d(
      kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), tile.threads(), kernel.compute(),
      {kernel.argument("a", 0), kernel.argument("b", 1), kernel.argument("c", 2, true)});
  Value a = d.next(), b = d.next(), c = d.next();
  Int rows = d.rows();
  Int height = kind == Kind::TN ? d.constant(kernel.integer("i")) : rows,
      depth = kind == Kind::TN ? rows : d.constant(kernel.integer("k"));
  Int firstRow = d.named("first_row", d.blockY() * tile.rows),
      firstCol = d.named("first_col", d.blockX() * tile.cols);
  d.returnIf(height <= firstRow);
  SwizzledTile aTile(d, "a_tile", tile.rows * 64, 64), bTile(d, "b_tile", tile.cols * 64, 64);
  WarpTile product(d, tile);
  product.prepare(aTile, bTile, kind != Kind::NT, kind == Kind::TN);
  Int zero = d.constant(0);
  d.loop("deep", zero, depth, 64, [&](Int deep) {
    // Neighbouring threads read neighbouring elements: along the depth, or along the columns where
    // the depth runs down.
    auto fill = [&](const SwizzledTile &to, Value from, int64_t ld, Int first, Int limit,
                    bool down) {
      fillTile(d, to, tile.threads(), 64, 64, [&](Int major, Int minor) {
        Int along = d.named("along", first + (down ? minor : major)),
            at = d.named("at", deep + (down ? major : minor));
        return d.loadWhere("value", along < limit && at < depth, from,
                           {down ? at * ld + along : along * ld + at});
      });
    };
    // A [m, k] is read along k; Aᵀ of tn lies [k, m] and is kept so, to be transposed by ldmatrix.
    fill(aTile, a, lda, firstRow, height, kind == Kind::TN);
    fill(bTile, b, ldb, firstCol, d.constant(j), kind != Kind::NT);
    d.barrier();
    product.multiply(aTile, zero, bTile, zero, kind != Kind::NT, 64, kind == Kind::TN);
    d.barrier();
  });
  bool accumulate = kernel.flag("accumulate");
  product.eachPair([&](Int tileRow, Int tileCol, Num low, Num high) {
    Int row = firstRow + tileRow;
    for (int64_t second = 0; second < 2; ++second) {
      Int col = firstCol + tileCol + second;
      d.where(row < height && col < j, [&] {
        Int place = d.named("place", row * ldc + col);
        Num value = (second ? high : low) * kernel.number("scale");
        d.store(accumulate ? d.loadNum(c, {place}) + value : value, c, {place});
      });
    }
  });
  return success();
}

Grid rowsGrid(DictionaryAttr params, const CudaTarget &, int64_t rows) {
  return {ceilDiv(intParam(params, "j"), tile.cols), ceilDiv(rows, tile.rows), 1};
}
Grid tnGrid(DictionaryAttr params, const CudaTarget &, int64_t) {
  return {ceilDiv(intParam(params, "j"), tile.cols), ceilDiv(intParam(params, "i"), tile.rows), 1};
}

} // namespace

const Family lorac::cuda::matmulNtFamily = {"matmul_nt", "c[m, j] [+]= scale·Σk a[m, k]·b[j, k]",
                                            rowsGrid,
                                            [](Kernel &kernel) { return build(kernel, Kind::NT); }};
const Family lorac::cuda::matmulNnFamily = {"matmul_nn", "c[m, j] [+]= scale·Σk a[m, k]·b[k, j]",
                                            rowsGrid,
                                            [](Kernel &kernel) { return build(kernel, Kind::NN); }};
const Family lorac::cuda::matmulTnFamily = {"matmul_tn", "c[i, j] [+]= scale·Σm a[m, i]·b[m, j]",
                                            tnGrid,
                                            [](Kernel &kernel) { return build(kernel, Kind::TN); }};
