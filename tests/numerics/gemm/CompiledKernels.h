// Kernels of the GEMM families, from parameters to loaded functions.
#ifndef LORAC_TESTS_NUMERICS_GEMM_COMPILEDKERNELS_H
#define LORAC_TESTS_NUMERICS_GEMM_COMPILEDKERNELS_H

#include "compiler/codegen/cpu/Families.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "runtime/abi.h"
#include <map>
#include <string>
#include <vector>

namespace lorac::testing {

/// Floats (or bytes) at a 64-byte boundary with 64 bytes of slack, as the arena gives them.
class Aligned {
public:
  explicit Aligned(size_t bytes);
  Aligned(Aligned &&other) noexcept : base(other.base), size(other.size) { other.base = nullptr; }
  ~Aligned();
  void *data() const { return base; }
  float *floats() const { return static_cast<float *>(base); }
  size_t bytes() const { return size; }

private:
  void *base;
  size_t size;
};

/// A module of kernels: add them, compile once, call them by name.
class CompiledKernels {
public:
  explicit CompiledKernels(const std::string &cpu);
  ~CompiledKernels();
  /// `params` is the text of the parameters' dictionary, without braces.
  void add(const std::string &name, const std::string &family, const std::string &params);
  void compile();
  /// Assembly of a kernel; before or after compile().
  std::string assembly(const std::string &name);

  struct Kernel {
    cpu::KernelShape shape;
    LoracKernel function = nullptr;
    int64_t flops = 0; ///< of one row
    int64_t tiles(int64_t rows) const;
    /// Tiles [begin, end); the scratch is full of NaN before.
    void run(const std::vector<void *> &buffers, int64_t rows, int64_t begin, int64_t end,
             const std::vector<int64_t> &scalars = {}) const;
    void run(const std::vector<void *> &buffers, int64_t rows,
             const std::vector<int64_t> &scalars = {}) const {
      run(buffers, rows, 0, tiles(rows), scalars);
    }
  };
  bool has(const std::string &name) const { return kernels.count(name) != 0; }
  const Kernel &operator[](const std::string &name) const { return kernels.at(name); }
  const cpu::CpuTarget &cpuTarget() const { return target; }

private:
  mlir::ModuleOp lowered();

  cpu::CpuTarget target;
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> planned, low;
  std::map<std::string, Kernel> kernels;
  void *library = nullptr;
};

/// Whether this machine can run code for `cpu`.
bool runsHere(const std::string &cpu);

} // namespace lorac::testing

#endif
