// Device kernels as CUDA C++. One case an op; what has no case is an error.

#include "compiler/codegen/cuda/CudaPrinter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace {

class Printer {
public:
  Printer(ModuleOp module, func::FuncOp kernel) : module(module), kernel(kernel), os(text) {}

  FailureOr<std::string> print(StringRef preface) {
    SmallVector<StringRef> lines;
    preface.split(lines, '\n', -1, false);
    for (StringRef line : lines)
      os << "// " << line << "\n";
    os << "typedef unsigned char u8;\n";
    if (failed(printTables()) || failed(printSignature()) || failed(printBlock(kernel.front())))
      return failure();
    os << "}\n";
    return text;
  }

private:
  ModuleOp module;
  func::FuncOp kernel;
  std::string text;
  llvm::raw_string_ostream os;
  llvm::DenseMap<Value, std::string>
      names; // a name, or an expression where the value is used in place
  llvm::StringMap<int> taken;
  unsigned depth = 0;

  raw_ostream &line() { return os.indent(2 * depth); }

  FailureOr<std::string> typeName(Type type, Operation *at) {
    if (type.isF32())
      return std::string("float");
    if (type.isInteger(32))
      return std::string("int");
    if (type.isInteger(8))
      return std::string("u8");
    if (type.isInteger(1))
      return std::string("bool");
    return at->emitError("the CUDA printer does not know the type ") << type;
  }

  std::string nameFor(Value value) {
    std::string base = "v";
    if (auto named = dyn_cast<NameLoc>(value.getLoc()))
      base = named.getName().str();
    int copies = taken[base]++;
    return copies ? base + "_" + std::to_string(copies + 1) : base;
  }
  static bool isNamed(Value value) { return isa<NameLoc>(value.getLoc()); }
  StringRef use(Value value) {
    return names.lookup(value).empty() ? StringRef("?") : StringRef(names[value]);
  }

  LogicalResult printTables() {
    for (auto global : module.getOps<memref::GlobalOp>()) {
      if (!llvm::any_of(module.getOps<func::FuncOp>(),
                        [&](func::FuncOp f) { return f == kernel; }) ||
          !global.getInitialValue())
        return global.emitError("the CUDA printer knows only tables with values");
      auto values = cast<DenseElementsAttr>(*global.getInitialValue()).getValues<float>();
      os << "__constant__ float " << global.getSymName() << "[" << values.size() << "] = {";
      for (auto [i, value] : llvm::enumerate(values))
        os << (i ? ", " : "") << (i && i % 4 == 0 ? "\n    " : "") << floatText(value);
      os << "};\n";
    }
    return success();
  }

  static std::string floatText(double value) {
    std::string digits;
    llvm::raw_string_ostream(digits) << llvm::format("%.9g", value);
    if (digits.find_first_of(".en") == std::string::npos)
      digits += ".0";
    return digits + "f";
  }

  LogicalResult printSignature() {
    auto threads = kernel->getAttrOfType<IntegerAttr>("cuda.threads");
    os << "\nextern \"C\" __global__ void __launch_bounds__(" << threads.getInt() << ") "
       << kernel.getName() << "(";
    for (BlockArgument argument : kernel.getArguments()) {
      std::string name = names[argument] = nameFor(argument);
      os << (argument.getArgNumber() ? ",\n    " : "\n    ");
      if (auto memory = dyn_cast<MemRefType>(argument.getType())) {
        FailureOr<std::string> element = typeName(memory.getElementType(), kernel);
        if (failed(element) || memory.getMemorySpace())
          return kernel.emitError("kernel arguments lie in global memory");
        bool written = bool(kernel.getArgAttr(argument.getArgNumber(), "cuda.written"));
        os << (written ? "" : "const ") << *element << " *__restrict__ " << name;
      } else {
        FailureOr<std::string> type = typeName(argument.getType(), kernel);
        if (failed(type))
          return failure();
        os << *type << " " << name;
      }
    }
    os << ") {\n";
    depth = 1;
    return success();
  }

  LogicalResult printBlock(Block &block) {
    for (Operation &op : block)
      if (failed(printOp(&op)))
        return failure();
    return success();
  }

  LogicalResult printNested(Block &block) {
    ++depth;
    LogicalResult result = printBlock(block);
    --depth;
    return result;
  }

  // A value: under its own name where it has one or is used more than once, in place otherwise.
  LogicalResult define(Operation *op, const Twine &expression) {
    Value value = op->getResult(0);
    if (!isNamed(value) && (value.hasOneUse() || isa<arith::IndexCastOp, arith::ConstantOp>(op))) {
      names[value] = expression.str();
      return success();
    }
    FailureOr<std::string> type = typeName(value.getType(), op);
    if (failed(type))
      return failure();
    std::string rhs = expression.str();
    line() << "const " << *type << " " << (names[value] = nameFor(value)) << " = " << unwrapped(rhs)
           << ";\n";
    return success();
  }

  // Without the outer brackets that an infix expression brings for use inside another.
  static StringRef unwrapped(StringRef s) {
    if (!s.starts_with("(") || !s.ends_with(")"))
      return s;
    int open = 0;
    for (char c : s.drop_back())
      if ((open += c == '(' ? 1 : c == ')' ? -1 : 0) == 0)
        return s;
    return s.drop_front().drop_back();
  }

  LogicalResult infix(Operation *op, StringRef sign) {
    return define(op,
                  "(" + use(op->getOperand(0)) + " " + sign + " " + use(op->getOperand(1)) + ")");
  }

  LogicalResult printOp(Operation *op) {
    if (auto words = op->getAttrOfType<StringAttr>("cuda.comment"))
      line() << "// " << words.getValue() << "\n";
    return llvm::TypeSwitch<Operation *, LogicalResult>(op)
        .Case([&](arith::ConstantOp o) { return printConstant(o); })
        .Case<arith::AddIOp, arith::AddFOp>([&](auto o) { return infix(o, "+"); })
        .Case<arith::MulIOp, arith::MulFOp>([&](auto o) { return infix(o, "*"); })
        .Case([&](arith::DivUIOp o) { return infix(o, "/"); })
        .Case([&](arith::RemUIOp o) { return infix(o, "%"); })
        .Case([&](arith::AndIOp o) { return infix(o, o.getType().isInteger(1) ? "&&" : "&"); })
        .Case([&](arith::ShRUIOp o) { return infix(o, ">>"); })
        .Case([&](arith::CmpIOp o) {
          if (o.getPredicate() != arith::CmpIPredicate::slt)
            return LogicalResult(o.emitError("the CUDA printer knows only signed less-than"));
          return infix(o, "<");
        })
        .Case([&](arith::SelectOp o) {
          return define(o, "(" + use(o.getCondition()) + " ? " + use(o.getTrueValue()) + " : " +
                               use(o.getFalseValue()) + ")");
        })
        .Case<arith::IndexCastOp, arith::ExtUIOp>([&](auto o) { return define(o, use(o.getIn())); })
        .Case([&](math::FmaOp o) {
          return define(o, "fmaf(" + unwrapped(use(o.getA())) + ", " + unwrapped(use(o.getB())) +
                               ", " + unwrapped(use(o.getC())) + ")");
        })
        .Case([&](gpu::ThreadIdOp o) {
          return define(o, "(int)threadIdx." + gpu::stringifyDimension(o.getDimension()));
        })
        .Case([&](gpu::BlockIdOp o) {
          return define(o, "(int)blockIdx." + gpu::stringifyDimension(o.getDimension()));
        })
        .Case([&](gpu::BarrierOp) {
          line() << "__syncthreads();\n";
          return success();
        })
        .Case([&](memref::AllocaOp o) { return printAllocation(o); })
        .Case([&](memref::GetGlobalOp o) {
          names[o.getResult()] = o.getName().str();
          return success();
        })
        .Case([&](memref::LoadOp o) { return define(o, element(o.getMemRef(), o.getIndices())); })
        .Case([&](memref::StoreOp o) {
          line() << element(o.getMemRef(), o.getIndices()) << " = " << unwrapped(use(o.getValue()))
                 << ";\n";
          return success();
        })
        .Case([&](scf::ForOp o) { return printFor(o); })
        .Case([&](scf::IfOp o) { return printIf(o); })
        .Case<scf::YieldOp, func::ReturnOp>([](auto) { return success(); })
        .Default([](Operation *other) {
          return other->emitError("the CUDA printer does not know this op");
        });
  }

  LogicalResult printConstant(arith::ConstantOp op) {
    if (auto whole = dyn_cast<IntegerAttr>(op.getValue()))
      names[op] = std::to_string(whole.getInt());
    else if (auto number = dyn_cast<FloatAttr>(op.getValue()))
      names[op] = floatText(number.getValueAsDouble());
    else
      return op.emitError("the CUDA printer knows only scalar constants");
    return success();
  }

  LogicalResult printAllocation(memref::AllocaOp op) {
    auto space = dyn_cast_or_null<gpu::AddressSpaceAttr>(op.getType().getMemorySpace());
    FailureOr<std::string> type = typeName(op.getType().getElementType(), op);
    if (failed(type))
      return failure();
    if (!space || (space.getValue() != gpu::AddressSpace::Workgroup &&
                   space.getValue() != gpu::AddressSpace::Private))
      return op.emitError("the CUDA printer knows only shared and local memory here");
    line() << (space.getValue() == gpu::AddressSpace::Workgroup ? "__shared__ " : "") << *type
           << " " << (names[op] = nameFor(op));
    for (int64_t n : op.getType().getShape())
      os << "[" << n << "]";
    os << ";\n";
    return success();
  }

  // Global buffers are flat pointers: their index is one expression. Shared and local ones are
  // arrays.
  std::string element(Value memory, ValueRange indices) {
    std::string result = use(memory).str();
    for (Value i : indices)
      result += "[" + unwrapped(use(i)).str() + "]";
    return result;
  }

  LogicalResult printFor(scf::ForOp op) {
    if (op.getNumResults())
      return op.emitError("the CUDA printer knows only loops without carried values");
    if (op->hasAttr("cuda.unroll"))
      os << "#pragma unroll\n";
    llvm::StringMap<int> outside = taken; // names of a loop are free again behind it
    Value variable = op.getInductionVar();
    std::string name = names[variable] = nameFor(variable);
    line() << "for (int " << name << " = " << unwrapped(use(op.getLowerBound())) << "; " << name
           << " < " << unwrapped(use(op.getUpperBound())) << "; " << name
           << " += " << use(op.getStep()) << ") {\n";
    if (failed(printNested(*op.getBody())))
      return failure();
    line() << "}\n";
    taken = outside;
    return success();
  }

  LogicalResult printIf(scf::IfOp op) {
    if (op.getNumResults() > 1)
      return op.emitError("the CUDA printer knows only branches with one value");
    if (op.getNumResults() == 1) {
      FailureOr<std::string> type = typeName(op.getResult(0).getType(), op);
      if (failed(type))
        return failure();
      Operation *otherwise = op.elseYield().getOperand(0).getDefiningOp();
      if (failed(printOp(otherwise)))
        return failure();
      line() << *type << " " << (names[op.getResult(0)] = nameFor(op.getResult(0))) << " = "
             << use(otherwise->getResult(0)) << ";\n";
    }
    line() << "if (" << unwrapped(use(op.getCondition())) << ") {\n";
    llvm::StringMap<int> outside = taken;
    if (failed(printNested(*op.thenBlock())))
      return failure();
    if (op.getNumResults() == 1)
      line().indent(2) << names[op.getResult(0)] << " = "
                       << unwrapped(use(op.thenYield().getOperand(0))) << ";\n";
    line() << "}\n";
    taken = outside;
    return success();
  }
};

} // namespace

FailureOr<std::string> lorac::cuda::printCuda(ModuleOp module, func::FuncOp kernel,
                                              StringRef preface) {
  return Printer(module, kernel).print(preface);
}
