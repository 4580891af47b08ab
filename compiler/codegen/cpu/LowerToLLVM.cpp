#include "compiler/codegen/cpu/LowerToLLVM.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/IR/Builders.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "runtime/abi.h"

using namespace mlir;

template <typename T>
static Type typeOf(OpBuilder &b) {
  if constexpr (std::is_floating_point_v<T>)
    return b.getF32Type();
  else
    return b.getIntegerType(8 * sizeof(T));
}

// Arguments of a body after its buffers: tokens, segments, loss_scale, seed, step, micro, rows,
// begin, end, the launch's scalars, scratch.
static constexpr unsigned fixedArguments = 10;

// void name(void *const *buffers, const LoracStep *step, int64_t rows, int64_t begin, int64_t end,
// void *scratch, const int64_t *scalars)
static void addEntryPoint(LLVM::LLVMFuncOp body) {
  OpBuilder b(body);
  Location loc = body.getLoc();
  Type pointer = LLVM::LLVMPointerType::get(b.getContext()), i64 = b.getI64Type();
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()),
                                          {pointer, pointer, i64, i64, i64, pointer, pointer});
  StringRef name = body.getSymName();
  name.consume_back(".body");
  auto entry = LLVM::LLVMFuncOp::create(b, loc, name, type);
  b.setInsertionPointToStart(entry.addEntryBlock(b));

  auto loadAt = [&](Type element, Value base, int64_t byteOffset) -> Value {
    Value at = LLVM::GEPOp::create(b, loc, pointer, b.getI8Type(), base,
                                   ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(byteOffset)});
    return LLVM::LoadOp::create(b, loc, element, at);
  };
  SmallVector<Value> arguments;
  const unsigned scalars = body->getAttrOfType<IntegerAttr>(lorac::cpu::scalarsOfBody).getInt(),
                 buffers = body.getNumArguments() - fixedArguments - scalars;
  for (unsigned i = 0; i < buffers; ++i)
    arguments.push_back(loadAt(pointer, entry.getArgument(0), 8 * i));
#define FIELD(type, name)                                                                          \
  arguments.push_back(loadAt(typeOf<type>(b), entry.getArgument(1), offsetof(LoracStep, name)));
  LORAC_STEP_FIELDS(FIELD)
#undef FIELD
  for (unsigned i = 2; i < 5; ++i)
    arguments.push_back(entry.getArgument(i));
  for (unsigned i = 0; i < scalars; ++i)
    arguments.push_back(loadAt(i64, entry.getArgument(6), 8 * i));
  arguments.push_back(entry.getArgument(5));
  LLVM::CallOp::create(b, loc, body, arguments);
  LLVM::ReturnOp::create(b, loc, ValueRange{});

  body.setLinkage(LLVM::Linkage::Internal);
  body.setAlwaysInline(true);
}

LogicalResult lorac::cpu::lowerToLLVM(ModuleOp kernels) {
  PassManager passes(kernels.getContext());
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  passes.addPass(createSCFToControlFlowPass());
  passes.addPass(createConvertVectorToLLVMPass());
  passes.addPass(memref::createExpandStridedMetadataPass());
  passes.addPass(createLowerAffinePass());
  passes.addPass(createFinalizeMemRefToLLVMConversionPass());
  passes.addPass(createConvertMathToLLVMPass());
  passes.addPass(createArithToLLVMConversionPass());
  passes.addPass(createConvertIndexToLLVMPass());
  passes.addPass(createConvertControlFlowToLLVMPass());
  ConvertFuncToLLVMPassOptions bare;
  bare.useBarePtrCallConv = true;
  passes.addPass(createConvertFuncToLLVMPass(bare));
  passes.addPass(createReconcileUnrealizedCastsPass());
  if (failed(passes.run(kernels)))
    return failure();
  for (auto body : llvm::make_early_inc_range(kernels.getOps<LLVM::LLVMFuncOp>()))
    if (body.getSymName().ends_with(".body"))
      addEntryPoint(body);
  return success();
}
