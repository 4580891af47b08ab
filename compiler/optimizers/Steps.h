#pragma once
// An optimizer that goes over the parameters more than once: maps, means and sums, in the order in
// which they are written. Each is a launch or two over all parameters.

#include "compiler/dialect/LoraOps.h"
#include "compiler/optimizers/Update.h"

#include <memory>
#include <optional>
#include <variant>

namespace lorac::optimizers {

/// A number of all parameters together: one that a step wrote, or where there is a formula one of
/// the host.
struct One {
  std::string name;
  std::optional<Host> formula;
};

/// What is summed, of one element.
class Terms : public Body {
public:
  using Body::Body;

  /// "params", "grads" (before clipping), or what an Update reads.
  Element read(llvm::StringRef region);
  Element grad() { return read("grads") * one("clip"); } ///< after clipping
  Element one(llvm::StringRef name) { return ask({name.str(), std::nullopt}); }
  Element scalar(llvm::StringRef name, const Host &formula) { return ask({name.str(), formula}); }
  /// Sums are in float64.
  void give(Element term) { yield(widened(term)); }

  /// What was asked for: the body's arguments are those regions, then those ones.
  std::vector<std::string> regions;
  std::vector<One> ones;

private:
  Element ask(One one);
};

/// What becomes of a sum: numbers of all parameters together.
class Whole : public Body {
public:
  Whole(mlir::OpBuilder &builder, mlir::Location loc)
      : Body(builder, loc), sum(argument("total", b.getF64Type())) {}

  Element total() { return sum; } ///< float64
  Element one(llvm::StringRef name) { return ask({name.str(), std::nullopt}); }
  Element scalar(llvm::StringRef name, const Host &formula) { return ask({name.str(), formula}); }
  /// Float32 numbers by name: states of one number, or what later steps ask for.
  void give(llvm::ArrayRef<std::pair<llvm::StringRef, Element>> numbers);

  std::vector<One> ones;          ///< the body's arguments behind the sum
  std::vector<std::string> given; ///< what it yields

private:
  Element ask(One one);
  Element sum;
};

struct MapStep {
  std::string what; ///< of its kernel, behind the optimizer's name
  std::unique_ptr<Update> update;
};
/// Over each row, column or parameter, which `line` says.
struct MeanStep {
  std::string result; ///< a state of such lines; of parameters what later steps read
  lora::Storage line;
  std::unique_ptr<Terms> terms;
  /// The state becomes keep·state + (1 - keep)·mean.
  std::optional<Host> keep;
};
struct SumStep {
  std::string what;
  std::unique_ptr<Terms> terms; ///< of regions alone
  std::unique_ptr<Whole> whole;
};
using Step = std::variant<MapStep, MeanStep, SumStep>;

class Steps {
public:
  Steps(mlir::OpBuilder &builder, mlir::Location loc, const Keys &keys)
      : keys(keys), b(builder), loc(loc) {}

  const Keys keys;
  /// See Update; `what` tells the kernels of several maps apart.
  Update &map(llvm::StringRef what, llvm::ArrayRef<llvm::StringRef> reads);
  Terms &mean(lora::Storage line, llvm::StringRef result);
  Terms &average(lora::Storage line, llvm::StringRef state, const Host &keep);
  struct Sum {
    Terms &terms;
    Whole &whole;
  };
  Sum sum(llvm::StringRef what);

  std::vector<Step> list; ///< in order

private:
  mlir::OpBuilder &b;
  mlir::Location loc;
};

} // namespace lorac::optimizers
