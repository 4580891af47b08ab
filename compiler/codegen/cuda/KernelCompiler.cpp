#include "compiler/codegen/cuda/KernelCompiler.h"

#include "llvm/Support/JSON.h"
#include "llvm/Support/ThreadPool.h"

using namespace llvm;
using namespace lorac;
using namespace lorac::cuda;

// What the cache keeps: the cubin with the PTX behind it, and what ptxas and nvdisasm said.
static StoredKernel stored(const BuiltKernel &kernel) {
  json::Object facts{{"cubin_bytes", int64_t(kernel.compiled.cubin.size())},
                     {"registers", kernel.compiled.registers},
                     {"spill_bytes", kernel.compiled.spillBytes},
                     {"stack_bytes", kernel.compiled.stackBytes},
                     {"log", json::fixUTF8(kernel.compiled.log)}};
  if (kernel.loop)
    facts["loop_instructions"] = kernel.loop->instructions, facts["loop_mma"] = kernel.loop->mma;
  return {kernel.compiled.cubin + kernel.compiled.ptx,
          formatv("{0}", json::Value(std::move(facts))).str()};
}

static std::optional<BuiltKernel> restored(const StoredKernel &entry) {
  Expected<json::Value> value = json::parse(entry.resources);
  if (!value) {
    consumeError(value.takeError());
    return std::nullopt;
  }
  const json::Object *facts = value->getAsObject();
  auto number = [&](StringRef key) { return facts ? facts->getInteger(key) : std::nullopt; };
  std::optional<int64_t> cubin = number("cubin_bytes"), registers = number("registers"),
                         spilt = number("spill_bytes"), stack = number("stack_bytes");
  std::optional<StringRef> log = facts ? facts->getString("log") : std::nullopt;
  if (!cubin || !registers || !spilt || !stack || !log || *cubin < 0 ||
      uint64_t(*cubin) > entry.binary.size())
    return std::nullopt;
  BuiltKernel kernel{{entry.binary.substr(0, size_t(*cubin)), entry.binary.substr(size_t(*cubin)),
                      *registers, *spilt, *stack, log->str()},
                     {}};
  if (auto mma = number("loop_mma"), all = number("loop_instructions"); mma && all && *mma > 0)
    kernel.loop = MainLoop{*all, *mma};
  return kernel;
}

Expected<BuiltKernel> KernelCompiler::build(const KernelSource &source) const {
  const CacheKey key{source.text, Nvrtc::options() + (disassembler ? " nvdisasm" : ""), source.arch,
                     "NVRTC " + nvrtc.version()};
  if (std::optional<StoredKernel> entry = cache.find(key))
    if (std::optional<BuiltKernel> kernel = restored(*entry))
      return *std::move(kernel);
  Expected<CompiledKernel> compiled = nvrtc.compile(source.text, source.name, source.arch);
  if (!compiled)
    return compiled.takeError();
  BuiltKernel kernel{std::move(*compiled), {}};
  // nvdisasm takes longer to start than most kernels to compile.
  if (disassembler && StringRef(kernel.compiled.ptx).contains("mma.")) {
    Expected<std::optional<MainLoop>> loop = disassembler->mainLoop(kernel.compiled.cubin);
    if (!loop)
      return loop.takeError();
    kernel.loop = *loop;
  }
  cache.keep(key, stored(kernel));
  return kernel;
}

Expected<std::vector<BuiltKernel>> KernelCompiler::build(ArrayRef<KernelSource> sources) const {
  std::vector<BuiltKernel> all(sources.size());
  std::vector<std::string> messages(sources.size());
  DefaultThreadPool pool(hardware_concurrency(unsigned(std::max(1, threads))));
  for (size_t i = 0; i < sources.size(); ++i)
    pool.async([&, i] {
      if (Expected<BuiltKernel> kernel = build(sources[i]))
        all[i] = std::move(*kernel);
      else
        messages[i] = toString(kernel.takeError());
    });
  pool.wait();
  for (const std::string &message : messages)
    if (!message.empty())
      return createStringError(message);
  return all;
}
