#pragma once
// One function's ops, turned into launches one after another. Each .cpp selects one kind of ops.

#include "compiler/passes/KernelTable.h"
#include "compiler/passes/select/BufferPlacement.h"

namespace lorac::lora {

/// The places of one attention in the cache: positions of a sequence, in whole panels, and floats
/// of all keys and of all values.
struct CachePlan {
  CachePlan(CachedAttentionOp op, int64_t sequences, int64_t length);
  int64_t positions, valueColumns, keys, values;
};

/// `kernels` are those of the module, in which every function's are declared. Its select() takes
/// one op; what ops have become is in BufferPlacement::buffers.
class Selector : BufferPlacement {
public:
  Selector(ProgramOp program, KernelTable &kernels, const TargetChoices &target, int64_t maxTokens,
           int64_t maxLength, int64_t headRows)
      : BufferPlacement(program, target, maxTokens, headRows), kernels(kernels),
        maxLength(maxLength) {}

  mlir::LogicalResult run();

private:
  KernelTable &kernels;
  int64_t maxLength, terms = 0, cached = 0; // floats of the cache that have been given out
  mlir::SymbolTableCollection symbols;

  mlir::LogicalResult select(mlir::Operation *op);
  void selectOp(UseOp op);
  void selectOp(ViewOp op);
  void selectOp(ColumnsOp op);
  void selectOp(ConcatOp op);
  void selectOp(GradientOp op);
  mlir::LogicalResult checkSet(SetOp op);
  mlir::Value gradientPlace(mlir::Value value);

  // Launches and their parameters.
  mlir::NamedAttribute integer(llvm::StringRef name, int64_t value);
  mlir::NamedAttribute number(llvm::StringRef name, double value);
  mlir::NamedAttribute flag(llvm::StringRef name, bool value);
  mlir::NamedAttribute formatOf(mlir::Value w);
  LaunchOp launch(mlir::Location loc, KernelKey key, mlir::ValueRange operands, int64_t flops,
                  int64_t begin, int64_t count, mlir::DenseI64ArrayAttr scalars = nullptr);
  void launch(mlir::Location loc, const KernelKey &key, mlir::ValueRange operands, int64_t flops,
              mlir::DenseI64ArrayAttr scalars = nullptr);
  mlir::Value onto(mlir::Value base, mlir::Value result, mlir::Location loc);
  void copy(mlir::Location loc, mlir::Value from, mlir::Value to);

  // Sequence.cpp
  void selectOp(EmbedOp op);
  llvm::SmallVector<mlir::NamedAttribute> normParams(mlir::Value x, mlir::Value w, double eps);
  void selectOp(RmsNormOp op);
  void selectOp(RmsNormBackwardOp op);
  static int64_t headDim(RopeOp op);
  mlir::Value ropeTable(RopeOp op);
  void selectOp(RopeOp op);
  template <typename Op>
  void addMasks(Op op, llvm::SmallVectorImpl<mlir::NamedAttribute> &params);
  template <typename Op>
  llvm::SmallVector<mlir::NamedAttribute> attentionParams(Op op);
  void selectOp(AttentionOp op);
  void selectOp(AttentionBackwardOp op);
  void selectOp(CachedAttentionOp op);
  mlir::Value segments(mlir::Value starts);
  mlir::Value positions();
  void selectAttentionBackwardCuda(AttentionBackwardOp op,
                                   llvm::ArrayRef<mlir::NamedAttribute> params, mlir::Value dq,
                                   mlir::Value dk, mlir::Value dv);
  void selectOp(MapOp op);
  void placeOutputs(MapOp op, mlir::ValueRange inputs,
                    llvm::function_ref<void(mlir::Value buffer, int64_t lead)> placed);
  void selectOp(SumRowsOp op);
  void selectOp(DropoutOp op);

  // RankSizes.cpp
  // Sizes of a kernel. Those that are ranks, or leading dimensions of what is as wide as a rank,
  // come with the launch on a CPU: one kernel serves every rank, and ranks that fall need no new
  // one.
  struct Sizes {
    llvm::SmallVector<std::pair<llvm::StringRef, int64_t>> fixed, ranks;
    void add(llvm::StringRef name, int64_t value, bool isRank) {
      (isRank ? ranks : fixed).push_back({name, value});
    }
  };
  llvm::SmallVector<mlir::NamedAttribute> sizesOf(const Sizes &sizes);
  mlir::DenseI64ArrayAttr scalarsOf(const Sizes &sizes);
  static int64_t mostRank(int64_t rank);
  bool rankColumns(mlir::Value value);
  bool isRank(mlir::Value value, bool columns);
  llvm::SmallVector<mlir::NamedAttribute> rankParams(mlir::Value t, llvm::StringRef ldName);
  mlir::DenseI64ArrayAttr rankScalars(mlir::Value t);

  // Products.cpp
  // A product with a frozen weight: its kernel and operands, the result still missing.
  struct Product {
    KernelKey key;
    llvm::SmallVector<mlir::Value> operands;
    int64_t flops;
    mlir::DenseI64ArrayAttr scalars; ///< of the launch
  };
  void selectOp(MatmulOp op);
  void selectOp(OrthogonalTermOp op);
  void selectOp(WeightNormOp op);
  Product productOf(AdaptedLinearOp op);
  Product productOf(AdaptedLinearBackwardOp op);
  void launchProduct(mlir::Location loc, Product product, mlir::Value result);
  llvm::SmallVector<mlir::NamedAttribute> linearParams(mlir::Value w, mlir::Value t,
                                                       llvm::ArrayRef<mlir::NamedAttribute> more,
                                                       llvm::StringRef ldName = "ldt");
  llvm::SmallVector<mlir::NamedAttribute>
  linearBackwardParams(mlir::Value w, mlir::Value dt, int64_t lddy, int64_t lddx, bool accumulate);
  void selectOp(AdaptedLinearOp op);
  void selectOp(AdaptedLinearBackwardOp op);

  // Epilogues.cpp
  void selectOp(FusedOp op);
  static bool ropeFits(RopeOp op);
  bool selectWithEpilogue(mlir::Operation *op, mlir::Operation *epilogue, mlir::Operation *yield);

  // Loss.cpp
  void selectOp(CrossEntropyOp op);
  void selectOp(CrossEntropyBackwardOp op);
  template <typename Op>
  void selectLoss(Op op, mlir::Value losses, mlir::Value dh);
};

} // namespace lorac::lora
