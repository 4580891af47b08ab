#include "compiler/codegen/cpu/ObjectFile.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "runtime/abi.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/ThreadPool.h"
#include "llvm/Target/TargetMachine.h"

using namespace llvm;
using namespace lorac::cpu;

static constexpr StringRef triple = "x86_64-unknown-linux-gnu";

static Expected<std::unique_ptr<TargetMachine>> makeTargetMachine(const CpuTarget &target) {
  static const bool initialized = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    return true;
  }();
  (void)initialized;
  std::string message;
  const Target *x86 = TargetRegistry::lookupTarget(Triple(triple), message);
  if (!x86)
    return createStringError("LLVM has no x86-64 target: " + message);
  // The base CPU and a list: a CPU's name would bring features that the runtime cannot check.
  return std::unique_ptr<TargetMachine>(
      x86->createTargetMachine(Triple(triple), "x86-64", target.features, TargetOptions(),
                               Reloc::PIC_, CodeModel::Small, CodeGenOptLevel::Aggressive));
}

namespace {
/// One kernel in an LLVM context of its own, so that kernels can be compiled side by side.
struct Unit {
  std::string name;
  std::unique_ptr<LLVMContext> context = std::make_unique<LLVMContext>();
  std::unique_ptr<Module> module;
  SmallVector<char, 0> output;
};
} // namespace

// A kernel with all that it refers to, as an LLVM module.
static Expected<Unit> translate(mlir::ModuleOp lowered, mlir::LLVM::LLVMFuncOp entry) {
  mlir::registerBuiltinDialectTranslation(*lowered.getContext());
  mlir::registerLLVMDialectTranslation(*lowered.getContext());
  mlir::OwningOpRef<mlir::ModuleOp> part = mlir::ModuleOp::create(entry.getLoc());
  mlir::SymbolTable symbols(lowered);
  SmallPtrSet<mlir::Operation *, 8> taken;
  SmallVector<mlir::Operation *> wanted{entry};
  while (!wanted.empty()) {
    mlir::Operation *op = wanted.pop_back_val();
    if (!taken.insert(op).second)
      continue;
    part->push_back(op->clone());
    if (auto uses = mlir::SymbolTable::getSymbolUses(op))
      for (const mlir::SymbolTable::SymbolUse &use : *uses)
        if (mlir::Operation *used = symbols.lookup(use.getSymbolRef().getRootReference()))
          wanted.push_back(used);
  }
  Unit unit;
  unit.name = entry.getSymName().str();
  unit.module = mlir::translateModuleToLLVMIR(*part, *unit.context, unit.name);
  if (!unit.module)
    return createStringError("kernel '" + unit.name + "' does not translate to LLVM IR");
  return unit;
}

static void optimize(Module &module, TargetMachine &machine, const CpuTarget &target) {
  for (Function &function : module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("no-builtins"); // there is no libc to call memcpy or expf of
    function.addFnAttr("target-cpu", "x86-64");
    function.addFnAttr("target-features", target.features);
    function.addFnAttr("tune-cpu", target.cpu);
    function.addFnAttr(Attribute::NoUnwind);
  }
  PipelineTuningOptions tuning; // kernels are vectorized by whoever wrote them
  tuning.LoopVectorization = tuning.LoopInterleaving = tuning.SLPVectorization = false;
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager cgscc;
  ModuleAnalysisManager modules;
  PassBuilder builder(&machine, tuning);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(cgscc);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, cgscc, modules);
  builder.buildPerModuleDefaultPipeline(OptimizationLevel::O3).run(module, modules);
}

static Error compile(Unit &unit, const CpuTarget &target, CodeGenFileType kind) {
  Expected<std::unique_ptr<TargetMachine>> machine = makeTargetMachine(target);
  if (!machine)
    return machine.takeError();
  unit.module->setTargetTriple((*machine)->getTargetTriple());
  unit.module->setDataLayout((*machine)->createDataLayout());
  unit.module->setSourceFileName(unit.name);
  optimize(*unit.module, **machine, target);
  raw_svector_ostream stream(unit.output);
  legacy::PassManager emission;
  if ((*machine)->addPassesToEmitFile(emission, stream, nullptr, kind))
    return createStringError("LLVM cannot emit code for '" + target.cpu + "'");
  emission.run(*unit.module);
  unit.module.reset();
  return Error::success();
}

// extern const uint32_t lorac_abi_version
static Unit abiVersion() {
  Unit unit;
  unit.name = "lorac_abi_version";
  unit.module = std::make_unique<Module>(unit.name, *unit.context);
  Type *i32 = Type::getInt32Ty(*unit.context);
  new GlobalVariable(*unit.module, i32, /*isConstant=*/true, GlobalValue::ExternalLinkage,
                     ConstantInt::get(i32, LORAC_ABI_VERSION), unit.name);
  return unit;
}

static Expected<std::string> findLinker(const ObjectOptions &options) {
  if (!options.linker.empty()) {
    if (sys::fs::can_execute(options.linker))
      return options.linker;
    return createStringError("the linker '" + options.linker + "' cannot be executed");
  }
  for (StringRef name : {"ld.lld-22", "ld.lld"})
    if (ErrorOr<std::string> found = sys::findProgramByName(name))
      return *found;
  if (sys::fs::can_execute(LORAC_LLD_PATH))
    return std::string(LORAC_LLD_PATH);
  return createStringError("no 'ld.lld' was found; install lld-22, or name it by --linker");
}

static Error writeFile(StringRef path, StringRef bytes) {
  std::error_code code;
  raw_fd_ostream file(path, code);
  if (code)
    return createStringError(code, "cannot write '" + path + "'");
  file.write(bytes.data(), bytes.size());
  file.close();
  if (file.has_error()) {
    code = file.error();
    file.clear_error();
    return createStringError(code, "cannot write '" + path + "'");
  }
  return Error::success();
}

static Error link(ArrayRef<KernelObject> objects, StringRef path, const ObjectOptions &options) {
  Expected<std::string> linker = findLinker(options);
  if (!linker)
    return linker.takeError();
  SmallString<128> folder;
  if (std::error_code code = sys::fs::createUniqueDirectory("lorac-link", folder))
    return createStringError(code, "cannot make a folder for temporary files");
  scope_exit removeFolder([&] { (void)sys::fs::remove_directories(folder); });
  auto inFolder = [&](const Twine &name) {
    SmallString<128> file(folder);
    sys::path::append(file, name);
    return file.str().str();
  };
  std::string words = inFolder("words.txt"), partial = (path + ".partial").str();
  std::vector<std::string> arguments{*linker, "-shared",     "-nostdlib",       "--no-undefined",
                                     "-z",    "noexecstack", "--build-id=none", "--threads=1",
                                     "-o",    partial};
  for (const auto &[i, object] : enumerate(objects)) {
    arguments.push_back(inFolder(Twine(i) + ".o"));
    if (Error error = writeFile(arguments.back(), object.bytes))
      return error;
  }
  std::string message;
  SmallVector<StringRef> references(arguments.begin(), arguments.end());
  std::optional<StringRef> redirects[] = {StringRef(""), StringRef(words), StringRef(words)};
  int status = sys::ExecuteAndWait(*linker, references, std::nullopt, redirects, 0, 0, &message);
  if (status != 0) {
    (void)sys::fs::remove(partial);
    if (auto text = MemoryBuffer::getFile(words); text && message.empty())
      message = (*text)->getBuffer().trim().str();
    return createStringError("linking kernels failed: " + message);
  }
  if (std::error_code code = sys::fs::rename(partial, path))
    return createStringError(code, "cannot write '" + path + "'");
  return Error::success();
}

Expected<std::vector<KernelObject>>
lorac::cpu::compileObjects(mlir::ModuleOp lowered, const CpuTarget &target, unsigned threads) {
  std::vector<Unit> units;
  for (auto function : lowered.getOps<mlir::LLVM::LLVMFuncOp>()) {
    if (function.isExternal())
      return createStringError("kernels call '" + function.getSymName() +
                               "', which nothing defines");
    if (function.getLinkage() != mlir::LLVM::Linkage::External)
      continue;
    Expected<Unit> unit = translate(lowered, function);
    if (!unit)
      return unit.takeError();
    units.push_back(std::move(*unit));
  }
  SmallVector<std::string> messages(units.size());
  DefaultThreadPool pool(hardware_concurrency(std::max(1u, threads)));
  for (size_t i = 0; i < units.size(); ++i)
    pool.async([&, i] {
      if (Error error = compile(units[i], target, CodeGenFileType::ObjectFile))
        messages[i] = toString(std::move(error));
    });
  pool.wait();
  std::vector<KernelObject> objects;
  for (auto [unit, message] : zip(units, messages)) {
    if (!message.empty())
      return createStringError(message);
    objects.push_back({unit.name, std::string(unit.output.begin(), unit.output.end())});
  }
  return objects;
}

Error lorac::cpu::linkObjects(std::vector<KernelObject> objects, const CpuTarget &target,
                              StringRef path, const ObjectOptions &options) {
  Unit abi = abiVersion();
  if (Error error = compile(abi, target, CodeGenFileType::ObjectFile))
    return error;
  objects.insert(objects.begin(), {abi.name, std::string(abi.output.begin(), abi.output.end())});
  return link(objects, path, options);
}

Error lorac::cpu::writeSharedObject(mlir::ModuleOp lowered, const CpuTarget &target, StringRef path,
                                    const ObjectOptions &options) {
  Expected<std::vector<KernelObject>> objects = compileObjects(lowered, target, options.threads);
  if (!objects)
    return objects.takeError();
  return linkObjects(std::move(*objects), target, path, options);
}

Expected<std::string> lorac::cpu::assembleKernel(mlir::ModuleOp lowered, const CpuTarget &target,
                                                 StringRef kernel) {
  auto function = lowered.lookupSymbol<mlir::LLVM::LLVMFuncOp>(kernel);
  if (!function)
    return createStringError("no kernel is named '" + kernel + "'");
  Expected<Unit> unit = translate(lowered, function);
  if (!unit)
    return unit.takeError();
  if (Error error = compile(*unit, target, CodeGenFileType::AssemblyFile))
    return error;
  return std::string(unit->output.begin(), unit->output.end());
}
