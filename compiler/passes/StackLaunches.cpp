// 50-planned, on devices: products over frozen weights that read one x, or add to one dx, become
// one launch. After SelectKernels, when it is known what lies over what.

#include "compiler/passes/KernelTable.h"
#include "compiler/passes/Passes.h"

namespace lorac::lora {
#define GEN_PASS_DEF_STACKLAUNCHES
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac::lora;

namespace {

Value rootOf(Value memory) {
  while (auto slice = memory.getDefiningOp<SliceOp>())
    memory = slice.getMemory();
  return memory;
}

// A launch of a linear family, its operands by what they are for (docs/cuda.md, "A kernel's
// arguments").
struct Linear {
  mutable LaunchOp launch;
  mutable KernelOp kernel;
  DictionaryAttr params;

  bool backward() const { return kernel.getFamily() == "linear_backward"; }
  bool flag(StringRef name) const {
    auto value = params.getAs<BoolAttr>(name);
    return value && value.getValue();
  }
  Attribute param(StringRef name) const { return params.get(name); }
  StringRef epilogue() const {
    auto value = params.getAs<StringAttr>("epilogue");
    return value ? value.getValue() : StringRef();
  }
  OperandRange operands() const { return launch.getBuffers(); }
  Value in() const { return operands().front(); }
  /// W, t and B: what stands between x and the operands of the epilogue.
  unsigned productOperands() const { return flag("low_rank") ? 3 : 1; }

  // The results are the last operands.
  unsigned resultCount() const {
    if (epilogue() != "map")
      return 1;
    auto sources = params.getAs<DenseI64ArrayAttr>("sources").asArrayRef();
    return params.getAs<DenseI64ArrayAttr>("lds").size() -
           llvm::count_if(sources, [](int64_t source) { return source >= 0; });
  }
  SmallVector<Value> written() const {
    SmallVector<Value> all(operands().take_back(resultCount()));
    if (epilogue() == "map" && flag("keeps"))
      all.push_back(operands()[1 + productOperands()]);
    return all;
  }
  SmallVector<Value> touched() const { return SmallVector<Value>(operands()); }
};

bool overlaps(ArrayRef<Value> xs, ArrayRef<Value> ys) {
  return llvm::any_of(xs, [&](Value x) {
    return isa<MemRefType>(x.getType()) && llvm::any_of(ys, [&](Value y) {
             return isa<MemRefType>(y.getType()) && rootOf(x) == rootOf(y);
           });
  });
}

struct StackLaunchesPass : lorac::lora::impl::StackLaunchesBase<StackLaunchesPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    KernelTable kernels(module);
    for (auto program : module.getOps<ProgramOp>()) {
      SmallVector<LaunchOp> launches(program.getOps<LaunchOp>());
      for (size_t first = 0; first < launches.size();) {
        SmallVector<Linear> group;
        for (size_t next = first; next < launches.size(); ++next) {
          std::optional<Linear> linear = linearOf(launches[next]);
          if (!linear || !fits(group, *linear))
            break;
          group.push_back(*linear);
        }
        first += std::max<size_t>(group.size(), 1);
        if (group.size() > 1)
          stack(group, kernels);
      }
    }
    eraseUnused(module);
  }

  std::optional<Linear> linearOf(LaunchOp launch) {
    auto kernel = getOperation().lookupSymbol<KernelOp>(launch.getKernel());
    if (kernel.getFamily() != "linear_forward" && kernel.getFamily() != "linear_backward")
      return std::nullopt;
    return Linear{launch, kernel, kernel.getParams()};
  }

  static bool fits(ArrayRef<Linear> group, Linear linear) {
    if (group.empty())
      return true;
    Linear first = group.front();
    if (first.kernel.getFamily() != linear.kernel.getFamily() ||
        first.launch.getBegin() != linear.launch.getBegin() ||
        first.launch.getCount() != linear.launch.getCount())
      return false;
    for (StringRef name : {"k", "format"})
      if (first.param(name) != linear.param(name))
        return false;
    return first.backward() ? addsTo(group, linear)
                            : readsBeside(group, linear) || readsAfter(group, linear);
  }

  // dx += dy·W onto what the products before it have written.
  static bool addsTo(ArrayRef<Linear> group, Linear linear) {
    Linear first = group.front();
    Value dx = first.operands().back();
    bool hasLowRank = llvm::any_of(group, [](Linear other) { return other.flag("low_rank"); });
    return first.epilogue().empty() && linear.epilogue().empty() && linear.flag("accumulate") &&
           linear.operands().back() == dx && !(hasLowRank && linear.flag("low_rank")) &&
           !overlaps(SmallVector<Value>(linear.operands().drop_back()), dx);
  }

  // Of one x, and none touches what another writes.
  static bool readsBeside(ArrayRef<Linear> group, Linear linear) {
    if (group.size() > 1 && isInTurn(group))
      return false;
    return readsSame(group.front(), linear) && llvm::none_of(group, [&](Linear other) {
             return (other.epilogue() == "map" && linear.epilogue() == "map") ||
                    overlaps(other.written(), linear.touched()) ||
                    overlaps(linear.written(), other.touched());
           });
  }
  static bool readsSame(Linear x, Linear y) {
    return x.in() == y.in() && x.param("ldx") == y.param("ldx");
  }

  // A map of one product with the one before it: a thread reads of that what it has written itself,
  // since both have the same rows and columns.
  static bool readsAfter(ArrayRef<Linear> group, Linear linear) {
    if (group.size() != 1 || linear.epilogue() != "map")
      return false;
    Linear gate = group.front();
    if (!gate.epilogue().empty() || gate.flag("residual") || !readsSame(gate, linear) ||
        gate.param("n") != linear.param("n"))
      return false;
    Value written = gate.operands().back();
    unsigned product = 1 + linear.productOperands() + linear.flag("keeps");
    auto lds = linear.params.getAs<DenseI64ArrayAttr>("lds").asArrayRef();
    for (auto [index, operand] : llvm::enumerate(linear.operands())) {
      if (!isa<MemRefType>(operand.getType()) || rootOf(operand) != rootOf(written))
        continue;
      if (index < product || operand != written ||
          lds[index - product] != cast<IntegerAttr>(gate.param("ldy")).getInt())
        return false;
    }
    return !overlaps(linear.written(), SmallVector<Value>(gate.operands().drop_back()));
  }
  static bool isInTurn(ArrayRef<Linear> group) {
    return !group.front().backward() && overlaps(group.front().written(), group.back().touched());
  }

  static void stack(MutableArrayRef<Linear> group, KernelTable &kernels) {
    Linear first = group.front(), last = group.back();
    OpBuilder b(last.launch);
    SmallVector<Value> operands;
    SmallVector<int64_t> scalars;
    SmallVector<Attribute> parts;
    SmallVector<Location> locations;
    int64_t flops = 0;
    Region *body = nullptr;
    bool backward = first.backward();
    for (Linear part : group) {
      OperandRange own = part.operands();
      if (!backward)
        own = part.launch == first.launch ? own : own.drop_front();
      else if (part.launch != last.launch)
        own = own.drop_back();
      llvm::append_range(operands, own);
      if (auto given = part.launch.getScalars())
        llvm::append_range(scalars, *given);
      NamedAttrList params(part.params);
      params.erase("elements"), params.erase("rows");
      parts.push_back(params.getDictionary(b.getContext()));
      flops += int64_t(part.launch.getFlops());
      locations.push_back(part.launch.getLoc());
      if (!part.kernel.getBody().empty())
        body = &part.kernel.getBody();
    }
    KernelKey key{first.kernel.getFamily().str(),
                  {b.getNamedAttr("parts", b.getArrayAttr(parts)),
                   b.getNamedAttr("in_turn", b.getBoolAttr(isInTurn(group))),
                   b.getNamedAttr("elements", b.getStringAttr(elementsOf(operands))),
                   b.getNamedAttr("rows", b.getI64IntegerAttr(first.launch.getCount()))},
                  body};
    Location loc = nameOf(group);
    LaunchOp::create(b, loc, kernels.get(key, loc), operands, first.launch.getBeginAttr(),
                     first.launch.getCountAttr(),
                     scalars.empty() ? DenseI64ArrayAttr() : b.getDenseI64ArrayAttr(scalars),
                     UnitAttr(), b.getI64IntegerAttr(flops), DenseI64ArrayAttr());
    for (Linear part : group)
      part.launch.erase();
  }

  // self_attn.q_proj+k_proj+v_proj, at the first one's place in the spec.
  static Location nameOf(MutableArrayRef<Linear> group) {
    std::string name;
    for (Linear part : group) {
      auto named = dyn_cast<NameLoc>(part.launch.getLoc());
      if (!named)
        return group.front().launch.getLoc();
      StringRef own = named.getName();
      name += name.empty() ? own.str() : "+" + own.rsplit('.').second.str();
    }
    Location first = group.front().launch.getLoc();
    return NameLoc::get(StringAttr::get(first.getContext(), name),
                        cast<NameLoc>(first).getChildLoc());
  }

  static void eraseUnused(ModuleOp module) {
    llvm::DenseSet<StringAttr> used;
    module.walk([&](LaunchOp launch) { used.insert(launch.getKernelAttr().getAttr()); });
    for (auto kernel : llvm::make_early_inc_range(module.getOps<KernelOp>()))
      if (!used.contains(kernel.getSymNameAttr()))
        kernel.erase();
  }
};

} // namespace
