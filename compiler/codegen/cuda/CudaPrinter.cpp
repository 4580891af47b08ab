// Device kernels as CUDA C++. One case an op; what has no case is an error.

#include "compiler/codegen/cuda/CudaPrinter.h"
#include "compiler/codegen/cuda/DeviceDialect.h"
#include "compiler/codegen/cuda/Prelude.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace lorac;

namespace {

std::string floatText(double value, bool isDouble = false) {
  if (std::isnan(value))
    return "__int_as_float(0x7fc00000)";
  if (std::isinf(value))
    return value < 0 ? "-__int_as_float(0x7f800000)" : "__int_as_float(0x7f800000)";
  std::string digits;
  llvm::raw_string_ostream(digits) << llvm::format(isDouble ? "%.17g" : "%.9g", value);
  if (digits.find_first_of(".en") == std::string::npos)
    digits += ".0";
  return isDouble ? digits : digits + "f";
}

// Without the outer brackets that an infix expression brings for use inside another.
StringRef unwrapped(StringRef s) {
  if (!s.starts_with("(") || !s.ends_with(")"))
    return s;
  int open = 0;
  for (char c : s.drop_back())
    if ((open += c == '(' ? 1 : c == ')' ? -1 : 0) == 0)
      return s;
  return s.drop_front().drop_back();
}

std::optional<gpu::AddressSpace> spaceOf(Value memory) {
  auto space =
      dyn_cast_or_null<gpu::AddressSpaceAttr>(cast<MemRefType>(memory.getType()).getMemorySpace());
  return space ? std::optional(space.getValue()) : std::nullopt;
}

class Printer {
public:
  explicit Printer(func::FuncOp kernel) : kernel(kernel), os(body) {}

  FailureOr<std::string> print(StringRef preface) {
    if (failed(printSignature()) || failed(printBlock(kernel.front())))
      return failure();
    os << "}\n";
    std::string text;
    SmallVector<StringRef> lines;
    preface.split(lines, '\n', -1, false);
    for (StringRef line : lines)
      text += ("// " + line + "\n").str();
    text += "typedef unsigned char u8;\ntypedef unsigned int u32;\ntypedef unsigned short "
            "bf16;\ntypedef unsigned short f16;\n"
            "#define DEVICE static __device__ __forceinline__\n\n";
    return text + cuda::prelude(used) + body;
  }

private:
  func::FuncOp kernel;
  std::string body;
  llvm::raw_string_ostream os;
  llvm::DenseMap<Value, std::string>
      names; // a name, or an expression where the value is used in place
  llvm::StringMap<int> taken;
  llvm::StringSet<> used;
  llvm::DenseSet<Value> changing; // expressions in place that read memory which may change
  unsigned depth = 0;

  raw_ostream &line() { return os.indent(2 * depth); }

  // A function of the prelude.
  StringRef call(const Twine &name) { return used.insert(name.str()).first->getKey(); }

  FailureOr<std::string> typeName(Type type, Operation *at) {
    if (type.isF32())
      return std::string("float");
    if (type.isF64())
      return std::string("double");
    if (type.isUnsignedInteger(32))
      return std::string("u32");
    if (type.isSignlessInteger(32))
      return std::string("int");
    if (type.isSignlessInteger(8))
      return std::string("u8");
    if (type.isSignedInteger(8))
      return std::string("signed char");
    if (type.isInteger(1))
      return std::string("bool");
    if (type.isBF16())
      return std::string("bf16");
    if (type.isF16())
      return std::string("f16");
    if (isa<device::CodesType>(type))
      return std::string("Codes");
    return at->emitError("the CUDA printer does not know the type ") << type;
  }
  static std::string halfName(Type type) { return type.isBF16() ? "bf16" : "f16"; }

  std::string nameFor(Value value) {
    std::string base = "v";
    if (auto named = dyn_cast<NameLoc>(value.getLoc()))
      base = named.getName().str();
    int copies = taken[base]++;
    return copies ? base + "_" + std::to_string(copies + 1) : base;
  }
  static bool isNamed(Value value) { return isa<NameLoc>(value.getLoc()); }
  StringRef use(Value value) {
    auto found = names.find(value);
    assert(found != names.end() && "values come before their uses");
    return found->second;
  }
  StringRef bare(Value value) { return unwrapped(use(value)); }

  LogicalResult printSignature() {
    auto threads = kernel->getAttrOfType<IntegerAttr>("cuda.threads");
    int64_t shared = kernel->getAttrOfType<IntegerAttr>("cuda.shared").getInt();
    // Where there is room for a few blocks only, registers need not be saved for more: left alone,
    // ptxas spills, or loads one after another, for blocks that cannot be.
    bool few = shared >= 40000 || kernel->hasAttr("cuda.few_blocks");
    os << "\nextern \"C\" __global__ void __launch_bounds__(" << threads.getInt()
       << (few ? ", 1) " : ") ") << kernel.getName() << "(";
    taken["step"] = taken["shared"] = 1;
    bool hasStep = false; // behind the buffers
    for (BlockArgument argument : kernel.getArguments()) {
      if (!hasStep && !isa<MemRefType>(argument.getType()) && (hasStep = true))
        os << ",\n    const " << "LoracStep *__restrict__ step";
      std::string name = names[argument] = nameFor(argument);
      os << (argument.getArgNumber() ? ",\n    " : "\n    ");
      auto memory = dyn_cast<MemRefType>(argument.getType());
      FailureOr<std::string> type =
          typeName(memory ? memory.getElementType() : argument.getType(), kernel);
      if (failed(type))
        return failure();
      if (memory && memory.getMemorySpace())
        return kernel.emitError("kernel arguments lie in global memory");
      bool written = bool(kernel.getArgAttr(argument.getArgNumber(), "cuda.written"));
      if (memory)
        os << (written ? "" : "const ") << *type << (written ? " *" : " *__restrict__ ") << name;
      else
        os << *type << " " << name;
    }
    call("step");
    os << ") {\n";
    depth = 1;
    if (kernel->getAttrOfType<IntegerAttr>("cuda.shared").getInt())
      line() << "extern __shared__ __align__(" << sharedAlign() << ") u8 shared[];\n";
    return success();
  }

  int64_t sharedAlign() {
    auto align = kernel->getAttrOfType<IntegerAttr>("cuda.shared_align");
    return align ? align.getInt() : 128;
  }

  LogicalResult printBlock(Block &block) {
    for (Operation &op : block)
      if (failed(printOp(&op)))
        return failure();
    return success();
  }
  LogicalResult printNested(Block &block) {
    llvm::StringMap<int> outside = taken; // names of a block are free again behind it
    ++depth;
    LogicalResult result = printBlock(block);
    --depth;
    taken = outside;
    return result;
  }

  // Whether a value is written where it is used: it has one use, and what it reads cannot change
  // until then.
  bool isInPlace(Operation *op, Value value) {
    if (isNamed(value))
      return false;
    if (isa<arith::IndexCastOp>(op))
      return true;
    if (!value.hasOneUse())
      return false;
    Operation *user = *value.user_begin();
    if (auto cast = dyn_cast<arith::IndexCastOp>(user)) {
      if (!cast->hasOneUse())
        return !readsChanging(op);
      user = *cast->user_begin();
    }
    if (isa<memref::LoadOp>(op) && op->getBlock() != user->getBlock())
      return false;
    return !readsChanging(op) || isRightBehind(op, user);
  }

  // Memory that the kernel does not write.
  bool isConstant(Value memory) {
    while (auto advance = memory.getDefiningOp<device::AdvanceOp>())
      memory = advance.getMemory();
    if (auto select = memory.getDefiningOp<arith::SelectOp>())
      return isConstant(select.getTrueValue()) && isConstant(select.getFalseValue());
    auto argument = dyn_cast<BlockArgument>(memory);
    return argument && argument.getOwner() == &kernel.front() &&
           !kernel.getArgAttr(argument.getArgNumber(), "cuda.written");
  }

  // Whether the op's expression reads what may change, or what other lanes have.
  bool readsChanging(Operation *op) {
    if (isa<gpu::ShuffleOp>(op) ||
        llvm::any_of(op->getOperands(), [&](Value v) { return changing.contains(v); }))
      return true;
    auto load = dyn_cast<memref::LoadOp>(op);
    return load && !isConstant(load.getMemRef());
  }

  // Nothing between the two writes memory or has a body.
  static bool isRightBehind(Operation *op, Operation *user) {
    if (op->getBlock() != user->getBlock())
      return false;
    for (Operation *next = op->getNextNode(); next != user; next = next->getNextNode())
      if (!next || next->getNumRegions() ||
          !(isMemoryEffectFree(next) || isa<memref::LoadOp>(next)))
        return false;
    return true;
  }

  LogicalResult define(Operation *op, const Twine &expression) {
    Value value = op->getResult(0);
    if (isInPlace(op, value)) {
      names[value] = expression.str();
      if (readsChanging(op))
        changing.insert(value);
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

  LogicalResult infix(Operation *op, StringRef sign) {
    return define(op,
                  "(" + use(op->getOperand(0)) + " " + sign + " " + use(op->getOperand(1)) + ")");
  }
  LogicalResult function(Operation *op, const Twine &name) {
    std::string text = name.str() + "(";
    for (auto [i, operand] : llvm::enumerate(op->getOperands()))
      text += (i ? ", " : "") + bare(operand).str();
    return define(op, text + ")");
  }

  LogicalResult mathFunction(Operation *op, StringRef name) {
    return function(op, name + (op->getResult(0).getType().isF64() ? "" : "f"));
  }

  LogicalResult printOp(Operation *op) {
    if (auto words = op->getAttrOfType<StringAttr>("cuda.comment"))
      line() << "// " << words.getValue() << "\n";
    return llvm::TypeSwitch<Operation *, LogicalResult>(op)
        .Case([&](arith::ConstantOp o) { return printConstant(o); })
        .Case<arith::AddIOp, arith::AddFOp>([&](auto o) { return infix(o, "+"); })
        .Case<arith::SubIOp, arith::SubFOp>([&](auto o) { return infix(o, "-"); })
        .Case<arith::MulIOp, arith::MulFOp>([&](auto o) { return infix(o, "*"); })
        .Case<arith::DivUIOp, arith::DivFOp>([&](auto o) { return infix(o, "/"); })
        .Case([&](arith::RemUIOp o) { return infix(o, "%"); })
        .Case([&](arith::AndIOp o) { return infix(o, o.getType().isInteger(1) ? "&&" : "&"); })
        .Case([&](arith::OrIOp o) { return infix(o, o.getType().isInteger(1) ? "||" : "|"); })
        .Case([&](arith::XOrIOp o) { return infix(o, "^"); })
        .Case([&](arith::ShRUIOp o) { return infix(o, ">>"); }) // of numbers that are not negative
        .Case<arith::MinSIOp>([&](auto o) { return function(o, "min"); })
        .Case<arith::MaxSIOp>([&](auto o) { return function(o, "max"); })
        .Case([&](arith::MaxNumFOp o) { return mathFunction(o, "fmax"); })
        .Case([&](arith::MinNumFOp o) { return mathFunction(o, "fmin"); })
        .Case<arith::CmpFOp, arith::CmpIOp>([&](auto o) { return printCompare(o); })
        .Case([&](arith::NegFOp o) {
          StringRef x = use(o.getOperand());
          return define(o, x.starts_with("-") ? "-(" + x + ")" : "-" + x);
        })
        .Case([&](arith::SelectOp o) {
          if (isa<MemRefType>(o.getType()))
            return printPointer(o, o,
                                use(o.getCondition()) + " ? " + use(o.getTrueValue()) + " : " +
                                    use(o.getFalseValue()));
          return define(o, "(" + use(o.getCondition()) + " ? " + use(o.getTrueValue()) + " : " +
                               use(o.getFalseValue()) + ")");
        })
        .Case<arith::IndexCastOp, arith::ExtUIOp>([&](auto o) { return define(o, use(o.getIn())); })
        .Case([&](arith::TruncIOp o) { return define(o, "(u8)" + use(o.getIn())); })
        .Case([&](arith::SIToFPOp o) {
          return define(o, (o.getIn().getType().isInteger(8) ? "(float)(signed char)" : "(float)") +
                               use(o.getIn()));
        })
        .Case([&](arith::BitcastOp o) { return printBitcast(o); })
        .Case([&](arith::ExtFOp o) {
          if (o.getType().isF64())
            return define(o, "(double)" + use(o.getIn()));
          return define(o, call("widen_" + halfName(o.getIn().getType())) + "(" + bare(o.getIn()) +
                               ")");
        })
        .Case([&](arith::TruncFOp o) {
          if (o.getIn().getType().isF64())
            return define(o, "(float)" + use(o.getIn()));
          return define(o, call("narrow_" + halfName(o.getType())) + "(" + bare(o.getIn()) + ")");
        })
        .Case([&](math::FmaOp o) { return mathFunction(o, "fma"); })
#define LORAC_SCALAR(name, op, value, gradient, vector)                                            \
  .Case([&](op o) { return mathFunction(o, #name); })
#include "dsl/Functions.def"
        .Case([&](math::Exp2Op o) { return mathFunction(o, "exp2"); })
        .Case([&](math::AbsFOp o) { return mathFunction(o, "fabs"); })
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
        .Case([&](gpu::ShuffleOp o) { return printShuffle(o); })
        .Case([&](memref::AllocaOp o) { return printAllocation(o); })
        .Case([&](memref::LoadOp o) { return define(o, element(o.getMemRef(), o.getIndices())); })
        .Case([&](memref::StoreOp o) {
          line() << element(o.getMemRef(), o.getIndices()) << " = " << bare(o.getValue()) << ";\n";
          return success();
        })
        .Case([&](scf::ForOp o) { return printFor(o); })
        .Case([&](scf::IfOp o) { return printIf(o); })
        .Case<device::SharedOp, device::AdvanceOp, device::KeepOp, device::CopyOp,
              device::CopyAsyncOp, device::CommitOp, device::WaitOp, device::LdMatrixOp,
              device::MmaOp, device::DescriptorOp, device::WarpgroupMmaOp, device::WarpgroupFenceOp,
              device::WarpgroupCommitOp, device::WarpgroupWaitOp, device::ProxyFenceOp,
              device::PackOp, device::UnpackOp, device::MulPairsOp, device::ZipOp,
              device::CodeTableOp, device::DecodeOp, device::ByteOp, device::PhiloxOp,
              device::StorePairOp, device::StepOp, device::ReturnIfOp>(
            [&](auto o) { return printDevice(o); })
        .Case<scf::YieldOp, func::ReturnOp>([](auto) { return success(); })
        .Default([](Operation *other) {
          return other->emitError("the CUDA printer does not know this op");
        });
  }

  LogicalResult printConstant(arith::ConstantOp op) {
    if (auto whole = dyn_cast<IntegerAttr>(op.getValue()))
      names[op] = whole.getType().isInteger(1) ? (whole.getValue().isZero() ? "false" : "true")
                  : whole.getInt() < 0         ? "(" + std::to_string(whole.getInt()) + ")"
                                               : std::to_string(whole.getInt());
    else if (auto number = dyn_cast<FloatAttr>(op.getValue())) {
      std::string text = floatText(number.getValueAsDouble(), op.getType().isF64());
      names[op] = number.getValueAsDouble() < 0 ? "(" + text + ")" : text;
    } else
      return op.emitError("the CUDA printer knows only scalar constants");
    return success();
  }

  LogicalResult printCompare(arith::CmpIOp op) {
    switch (op.getPredicate()) {
    case arith::CmpIPredicate::slt:
      return infix(op, "<");
    case arith::CmpIPredicate::sle:
      return infix(op, "<=");
    case arith::CmpIPredicate::eq:
      return infix(op, "==");
    case arith::CmpIPredicate::ne:
      return infix(op, "!=");
    default:
      return op.emitError("the CUDA printer knows only <, <=, == and != of signed numbers");
    }
  }

  LogicalResult printCompare(arith::CmpFOp op) {
    switch (op.getPredicate()) {
    case arith::CmpFPredicate::OLT:
      return infix(op, "<");
    case arith::CmpFPredicate::OGT:
      return infix(op, ">");
    case arith::CmpFPredicate::OLE:
      return infix(op, "<=");
    case arith::CmpFPredicate::OGE:
      return infix(op, ">=");
    case arith::CmpFPredicate::OEQ:
      return infix(op, "==");
    default:
      return op.emitError("the CUDA printer knows only <, >, <=, >= and == of floats");
    }
  }

  LogicalResult printBitcast(arith::BitcastOp op) {
    if (op.getIn().getType().isF32() && op.getType().isInteger(32))
      return function(op, "__float_as_int");
    if (op.getIn().getType().isInteger(32) && op.getType().isF32())
      return function(op, "__int_as_float");
    return op.emitError("the CUDA printer knows only bits of float and int");
  }

  LogicalResult printShuffle(gpu::ShuffleOp op) {
    if (!op.getValid().use_empty())
      return op.emitError("the CUDA printer knows shuffles of whole warps");
    if (op.getMode() == gpu::ShuffleMode::XOR)
      return define(op, "__shfl_xor_sync(~0u, " + bare(op.getValue()) + ", " +
                            bare(op.getOffset()) + ")");
    if (op.getMode() == gpu::ShuffleMode::IDX)
      return define(op,
                    "__shfl_sync(~0u, " + bare(op.getValue()) + ", " + bare(op.getOffset()) + ")");
    return op.emitError("the CUDA printer knows only xor and idx shuffles");
  }

  LogicalResult printAllocation(memref::AllocaOp op) {
    FailureOr<std::string> type = typeName(op.getType().getElementType(), op);
    if (failed(type))
      return failure();
    if (spaceOf(op) != gpu::AddressSpace::Private)
      return op.emitError("the CUDA printer knows only local memory here");
    bool isWords = op.getType().getElementType().isUnsignedInteger(
        32); // copied four or sixteen bytes at a time
    line() << (isWords && op.getType().getRank() ? "alignas(16) " : "") << *type << " "
           << (names[op] = nameFor(op));
    for (int64_t n : op.getType().getShape())
      os << "[" << n << "]";
    os << ";\n";
    return success();
  }

  // Global and shared buffers are flat; local ones are arrays.
  std::string element(Value memory, ValueRange indices) {
    std::string result = use(memory).str();
    for (Value i : indices)
      result += "[" + bare(i).str() + "]";
    return result;
  }
  std::string address(Value memory, ValueRange indices) { return "&" + element(memory, indices); }

  LogicalResult printFor(scf::ForOp op) {
    if (op.getNumResults())
      return op.emitError("the CUDA printer knows only loops without carried values");
    os << (op->hasAttr("cuda.unroll") ? "#pragma unroll\n" : "#pragma unroll 1\n");
    llvm::StringMap<int> outside = taken;
    Value variable = op.getInductionVar();
    std::string name = names[variable] = nameFor(variable);
    std::string step = use(op.getStep()).str();
    line() << "for (int " << name << " = " << bare(op.getLowerBound()) << "; " << name << " < "
           << bare(op.getUpperBound()) << "; " << (step == "1" ? "++" + name : name + " += " + step)
           << ") {\n";
    if (failed(printNested(*op.getBody())))
      return failure();
    line() << "}\n";
    taken = outside;
    return success();
  }

  LogicalResult printIf(scf::IfOp op) {
    for (Value result : op.getResults()) {
      FailureOr<std::string> type = typeName(result.getType(), op);
      if (failed(type))
        return failure();
      line() << *type << " " << (names[result] = nameFor(result)) << ";\n";
    }
    line() << "if (" << bare(op.getCondition()) << ") {\n";
    if (failed(printBranch(op, *op.thenBlock())))
      return failure();
    if (op.elseBlock()) {
      line() << "} else {\n";
      if (failed(printBranch(op, *op.elseBlock())))
        return failure();
    }
    line() << "}\n";
    return success();
  }
  LogicalResult printBranch(scf::IfOp op, Block &block) {
    if (failed(printNested(block)))
      return failure();
    for (auto [result, value] : llvm::zip(op.getResults(), block.getTerminator()->getOperands()))
      line().indent(2) << use(result) << " = " << bare(value) << ";\n";
    return success();
  }

  //===--- the device dialect ---===//

  LogicalResult printDevice(device::SharedOp op) {
    auto type = cast<MemRefType>(op.getType());
    FailureOr<std::string> element = typeName(type.getElementType(), op);
    if (failed(element))
      return failure();
    if (spaceOf(op) != gpu::AddressSpace::Workgroup)
      return op.emitError("device.shared lies in workgroup memory");
    std::string name = names[op] = nameFor(op);
    line() << *element << " *" << name << " = (" << *element << " *)(shared + " << op.getOffset()
           << "); // [" << type.getNumElements() << "]\n";
    return success();
  }
  LogicalResult printDevice(device::AdvanceOp op) {
    return printPointer(op, op, address(op.getMemory(), op.getIndex()));
  }
  LogicalResult printPointer(Operation *op, Value pointer, const Twine &value) {
    FailureOr<std::string> element =
        typeName(cast<MemRefType>(pointer.getType()).getElementType(), op);
    if (failed(element))
      return failure();
    std::string from = value.str();
    line() << (isConstant(pointer) ? "const " : "") << *element << " *"
           << (names[pointer] = nameFor(pointer)) << " = " << from << ";\n";
    return success();
  }
  LogicalResult printDevice(device::KeepOp op) {
    return define(op, call("keep") + "(" + bare(op.getValue()) + ")");
  }
  LogicalResult printDevice(device::CopyOp op) {
    StringRef type = op.getBytes() == 16  ? "uint4"
                     : op.getBytes() == 8 ? "uint2"
                     : op.getBytes() == 4 ? "u32"
                                          : "";
    if (type.empty())
      return op.emitError("copies 4, 8 or 16 bytes");
    line() << "*(" << type << " *)" << address(op.getTo(), op.getToIndices()) << " = *(const "
           << type << " *)" << address(op.getFrom(), op.getFromIndices()) << ";\n";
    return success();
  }
  LogicalResult printDevice(device::StorePairOp op) {
    line() << "*(u32 *)" << address(op.getTo(), op.getIndex()) << " = " << bare(op.getPair())
           << ";\n";
    return success();
  }
  LogicalResult printDevice(device::CopyAsyncOp op) {
    line() << call(op.getSize() ? "copy_async_upto" : "copy_async") << "("
           << address(op.getTo(), op.getToIndex()) << ", "
           << address(op.getFrom(), op.getFromIndex());
    if (op.getSize())
      os << ", " << bare(op.getSize());
    os << ");\n";
    return success();
  }
  LogicalResult printDevice(device::CommitOp) {
    line() << call("copy_commit") << "();\n";
    return success();
  }
  LogicalResult printDevice(device::WaitOp op) {
    line() << call("copy_wait") << "<" << op.getGroups() << ">();\n";
    return success();
  }
  LogicalResult printDevice(device::LdMatrixOp op) {
    line() << call(op.getTrans() ? "ldmatrix_trans" : "ldmatrix") << "("
           << element(op.getRegisters(), op.getIndices()) << ", "
           << address(op.getFrom(), op.getIndex()) << ");\n";
    return success();
  }
  LogicalResult printDevice(device::MmaOp op) {
    line() << call("mma_" + halfName(op.getElement())) << "("
           << element(op.getSums(), op.getSumIndices()) << ", "
           << element(op.getA(), op.getAIndices()) << ", " << bare(op.getB0()) << ", "
           << bare(op.getB1()) << ");\n";
    return success();
  }
  LogicalResult printDevice(device::DescriptorOp op) {
    return define(op, call("descriptor") + "(" + address(op.getMemory(), op.getIndex()) + ", " +
                          std::to_string(op.getLead()) + ")");
  }
  LogicalResult printDevice(device::WarpgroupMmaOp op) {
    int64_t columns = cast<MemRefType>(op.getSums().getType()).getShape().drop_back().back() * 8;
    line() << call("warpgroup_mma_" + halfName(op.getElement()) + "_" + std::to_string(columns))
           << "<" << (op.getTrans() ? 1 : 0) << ">(" << element(op.getSums(), op.getSumIndices())
           << ", " << bare(op.getA()) << ", " << bare(op.getB()) << ");\n";
    return success();
  }
  LogicalResult printDevice(device::WarpgroupFenceOp op) {
    line() << call("warpgroup_fence") << "(" << use(op.getSums()) << ");\n";
    return success();
  }
  LogicalResult printDevice(device::WarpgroupCommitOp) {
    line() << call("warpgroup_commit") << "();\n";
    return success();
  }
  LogicalResult printDevice(device::WarpgroupWaitOp op) {
    if (op.getSums())
      line() << call("warpgroup_wait_for") << "<" << op.getGroups() << ">(" << use(op.getSums())
             << ");\n";
    else
      line() << call("warpgroup_wait") << "<" << op.getGroups() << ">();\n";
    return success();
  }
  LogicalResult printDevice(device::ProxyFenceOp) {
    line() << call("proxy_fence") << "();\n";
    return success();
  }
  LogicalResult printDevice(device::PackOp op) {
    return function(op, call("pack_" + halfName(op.getElement())));
  }
  LogicalResult printDevice(device::UnpackOp op) {
    return function(op, call((op.getHigh() ? "high_" : "low_") + halfName(op.getElement())));
  }
  LogicalResult printDevice(device::MulPairsOp op) {
    return function(op, call("mul_pairs_" + halfName(op.getElement())));
  }
  LogicalResult printDevice(device::ZipOp op) {
    return define(op, "__byte_perm(" + bare(op.getX()) + ", " + bare(op.getY()) +
                          (op.getHigh() ? ", 0x7632)" : ", 0x5410)"));
  }
  LogicalResult printDevice(device::DecodeOp op) {
    line() << call("decode") << "(" << bare(op.getWord()) << ", " << use(op.getTable()) << ", "
           << address(op.getRegisters(), op.getIndices()) << ");\n";
    return success();
  }
  LogicalResult printDevice(device::ByteOp op) {
    return define(op, call("byte_of") + "(" + bare(op.getWord()) + ", " +
                          std::to_string(op.getByte()) + ")");
  }
  LogicalResult printDevice(device::CodeTableOp op) {
    if (op.getValues().size() != 16)
      return op.emitError("a code table has 16 values");
    std::string low = "{", high = "{";
    for (int word = 0; word < 4; ++word) {
      uint32_t l = 0, h = 0;
      for (int i = 0; i < 4; ++i) {
        bool lossy = false;
        APFloat value(op.getValues()[4 * word + i]);
        value.convert(op.getElement().isBF16() ? APFloat::BFloat() : APFloat::IEEEhalf(),
                      APFloat::rmNearestTiesToEven, &lossy);
        uint32_t bits = uint32_t(value.bitcastToAPInt().getZExtValue());
        l |= (bits & 255) << (8 * i), h |= (bits >> 8) << (8 * i);
      }
      low += llvm::formatv("{0}{1:x}u", word ? ", " : "", l),
          high += llvm::formatv("{0}{1:x}u", word ? ", " : "", h);
    }
    std::string name = names[op] = nameFor(op);
    line() << "const u32 " << name << "_low[4] = " << low << "}, " << name << "_high[4] = " << high
           << "};\n";
    line() << "const Codes " << name << " = " << call("code_table") << "(" << use(op.getScratch())
           << ", " << name << "_low, " << name << "_high);\n";
    return success();
  }
  LogicalResult printDevice(device::PhiloxOp op) {
    std::string text = (call("philox") + "((long long)" + use(op.getRow()) + " * " +
                        use(op.getColumns()) + " + " + use(op.getColumn()))
                           .str();
    for (Value word : {op.getStream(), op.getMicro(), op.getSeed(), op.getStep()})
      text += ", " + bare(word).str();
    return define(op, "(" + text + ") >= " + std::to_string(op.getThreshold()) + "u)");
  }
  LogicalResult printDevice(device::StepOp op) {
    return define(op, (op.getType().isF32() ? "step->" : "(int)step->") + op.getField());
  }
  LogicalResult printDevice(device::ReturnIfOp op) {
    line() << "if (" << bare(op.getCondition()) << ")\n";
    line().indent(2) << "return;\n";
    return success();
  }
};

} // namespace

FailureOr<std::string> lorac::cuda::printCuda(func::FuncOp kernel, StringRef preface) {
  return Printer(kernel).print(preface);
}
