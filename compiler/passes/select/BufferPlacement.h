#pragma once
// Where the values of one function lie: each tensor gets a buffer, its own, one that dies there, or
// columns of a wider one.

#include "compiler/dialect/LoraOps.h"
#include "mlir/IR/Builders.h"

namespace lorac::lora {

/// Columns of a tensor of two or three dimensions.
int64_t cols(mlir::Value value);

/// Leading dimension: activations are padded, factors and their gradients are dense.
int64_t ld(mlir::Value value);

/// How a target stores activations and which launches it takes.
struct TargetChoices {
  mlir::Type activation; ///< of `[tokens, n]` values
  /// Kernels know their buffers' element types; attention's backward is three launches.
  bool isCuda = false;
  bool rankPerKernel = false; ///< a kernel is made for one rank
  int64_t sequences = 0;      ///< of a program for text; 0: it is none
};

/// Base of `Selector`: it says which op is selected (`now`), and enters what a value became
/// (`buffers`).
class BufferPlacement {
protected:
  BufferPlacement(ProgramOp program, const TargetChoices &target, int64_t maxTokens,
                  int64_t headRows)
      : program(program), target(target), b(program.getContext()), maxTokens(maxTokens),
        headRows(headRows) {}

  ProgramOp program;
  const TargetChoices &target;
  mlir::OpBuilder b;
  int64_t maxTokens, headRows;
  bool isHead = false;
  int64_t now = 0;                                  // index of the op that is being selected
  llvm::DenseMap<mlir::Value, mlir::Value> buffers; // tensor -> memref
  llvm::DenseMap<mlir::Operation *, mlir::Value> concats;

  int64_t tokens() const { return isHead ? headRows : maxTokens; }

  llvm::LogicalResult bindArguments(); ///< before all else, as findLastUses()
  void findLastUses();

  /// The value whose storage a view, or some of its columns, is.
  static mlir::Value rootOf(mlir::Value value);
  static int64_t elementBytes(mlir::Value memory);
  /// A buffer that the runtime or another function knows by its role and name.
  mlir::Value place(BufferRole role, llvm::StringRef label, mlir::MemRefType type);
  /// A buffer of its own, the columns that a concatenation has for it, or where the function
  /// returns it.
  mlir::Value fresh(mlir::Value tensor, mlir::Location loc, llvm::StringRef what);
  /// A buffer from one of its columns on; the rows stay as long.
  mlir::Value columnsOf(mlir::Location loc, mlir::Value memory, int64_t from);
  /// Rows begin at an even column of the matrix that the buffer is a part of.
  static bool isEven(mlir::Value memory);
  bool isReturned(mlir::Value tensor);
  /// The operand's buffer where its value dies here, the op reads it once and it is ours to
  /// overwrite; a fresh one otherwise.
  mlir::Value over(mlir::Value operand, mlir::Value result, mlir::Location loc,
                   llvm::StringRef what);
  /// Whether the value's columns are some of a wider buffer's.
  static bool isInColumns(mlir::Value value);
  /// Whether nobody reads the value after this op and its buffer is ours to write over.
  bool diesHere(mlir::Value value);
  mlir::Value in(mlir::Value tensor);    ///< its buffer
  mlir::Value weight(mlir::Value value); ///< a frozen weight, read once in a function
  /// Rows of a buffer.
  mlir::Value slice(mlir::Location loc, mlir::Value memory, int64_t begin, int64_t count);

private:
  llvm::DenseMap<mlir::Value, int64_t> lastUse; // by storage root
  llvm::DenseMap<mlir::Value, mlir::Value> weights;
  llvm::StringMap<mlir::Value> named; // io, table, param, grad buffers

  mlir::MemRefType rowsType(int64_t rows, int64_t n, mlir::Type element);
  /// Logarithms of sums and logits keep 32 bits on every target.
  mlir::Type elementOf(mlir::Value tensor);
  /// The columns of a concatenation that one of its operands is written to; the first one to come
  /// brings the buffer with it.
  mlir::Value placeIn(ConcatOp concat, mlir::Value tensor);
};

} // namespace lorac::lora
