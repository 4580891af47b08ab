// NVRTC by dlopen: the dozen functions that lorac needs, declared here so that the build needs no
// toolkit.

#include "compiler/codegen/cuda/Nvrtc.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"

#include <cstdlib>
#include <dlfcn.h>
#include <glob.h>
#include <vector>

using namespace llvm;
using namespace lorac::cuda;

struct Nvrtc::Library {
  void *handle = nullptr;
  std::string path;

  // NVRTC's C API; 0 is NVRTC_SUCCESS, a program is an opaque pointer.
  int (*version)(int *, int *) = nullptr;
  const char *(*errorString)(int) = nullptr;
  int (*create)(void **, const char *, const char *, int, const char *const *,
                const char *const *) = nullptr;
  int (*destroy)(void **) = nullptr;
  int (*compile)(void *, int, const char *const *) = nullptr;
  int (*logSize)(void *, size_t *) = nullptr;
  int (*log)(void *, char *) = nullptr;
  int (*cubinSize)(void *, size_t *) = nullptr;
  int (*cubin)(void *, char *) = nullptr;
  int (*ptxSize)(void *, size_t *) = nullptr;
  int (*ptx)(void *, char *) = nullptr;

  ~Library() {
    if (handle)
      dlclose(handle);
  }

  template <typename F>
  bool bind(F &function, const char *name) {
    function = reinterpret_cast<F>(dlsym(handle, name));
    return function != nullptr;
  }
  bool bindAll() {
    return bind(version, "nvrtcVersion") && bind(errorString, "nvrtcGetErrorString") &&
           bind(create, "nvrtcCreateProgram") && bind(destroy, "nvrtcDestroyProgram") &&
           bind(compile, "nvrtcCompileProgram") && bind(logSize, "nvrtcGetProgramLogSize") &&
           bind(log, "nvrtcGetProgramLog") && bind(cubinSize, "nvrtcGetCUBINSize") &&
           bind(cubin, "nvrtcGetCUBIN") && bind(ptxSize, "nvrtcGetPTXSize") &&
           bind(ptx, "nvrtcGetPTX");
  }
};

static std::vector<std::string> candidates(StringRef path) {
  if (!path.empty())
    return {path.str()};
  if (const char *set = std::getenv("LORAC_NVRTC"))
    return {set};
  std::vector<std::string> all{"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
  std::vector<std::string> patterns;
  if (const char *tools = std::getenv("LORAC_CUDA_TOOLS")) // PyPI's wheels, unpacked there
    patterns.push_back(std::string(tools) + "/nvidia/*/lib/libnvrtc.so.1[0-9]");
  for (const char *usual :
       {"/usr/local/cuda*/lib64/libnvrtc.so.1[0-9]", "/opt/cuda*/lib64/libnvrtc.so.1[0-9]",
        "/usr/lib/python3*/site-packages/nvidia/*/lib/libnvrtc.so.1[0-9]",
        "/usr/local/lib/python3*/site-packages/nvidia/*/lib/libnvrtc.so.1[0-9]",
        "/usr/local/lib/python3*/dist-packages/nvidia/*/lib/libnvrtc.so.1[0-9]"})
    patterns.push_back(usual);
  for (const std::string &pattern : patterns) {
    glob_t found;
    if (glob(pattern.c_str(), 0, nullptr, &found) == 0)
      for (size_t i = 0; i < found.gl_pathc; ++i)
        all.push_back(found.gl_pathv[i]);
    globfree(&found);
  }
  return all;
}

Expected<Nvrtc> Nvrtc::open(StringRef path) {
  std::vector<std::string> looked = candidates(path);
  for (const std::string &name : looked) {
    auto library = std::make_shared<Library>();
    library->handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    library->path = name;
    if (!library->handle || !library->bindAll())
      continue;
    Nvrtc nvrtc;
    nvrtc.library = library;
    return nvrtc;
  }
  return createStringError(
      "NVRTC is not on this machine; looked for " + join(looked, ", ") +
      "; install the CUDA toolkit or PyPI's nvidia-cuda-nvrtc, or set LORAC_NVRTC to libnvrtc.so");
}

const std::string &Nvrtc::path() const { return library->path; }

std::string Nvrtc::version() const {
  int major = 0, minor = 0;
  library->version(&major, &minor);
  return std::to_string(major) + "." + std::to_string(minor);
}

static constexpr const char *fixedOptions[] = {"-default-device", "--fmad=false", "-lineinfo"};

std::string Nvrtc::options() { return join(std::begin(fixedOptions), std::end(fixedOptions), " "); }

// The number in front of some words of ptxas's report; 0 where it does not say them.
static int64_t numberBefore(StringRef log, StringRef words) {
  for (size_t at = log.find(words); at != StringRef::npos; at = log.find(words, at + 1)) {
    StringRef before = log.take_front(at);
    int64_t number = 0;
    if (!before.take_back(before.size() - before.find_last_not_of("0123456789") - 1)
             .getAsInteger(10, number))
      return number;
  }
  return 0;
}

// The same kernel has the same log: without zeros at its end, and without times.
static std::string lastingLines(StringRef log) {
  std::string kept;
  for (StringRef line : split(log.rtrim(StringRef("\0\n", 2)), '\n'))
    if (!line.trim().empty() && !line.contains("Compile time"))
      kept += (line.rtrim() + "\n").str();
  return kept;
}

Expected<CompiledKernel> Nvrtc::compile(StringRef source, StringRef name, StringRef arch) const {
  const Library &nvrtc = *library;
  std::string text = source.str(), file = name.str() + ".cu",
              archOption = "--gpu-architecture=" + arch.str();
  void *program = nullptr;
  if (int error = nvrtc.create(&program, text.c_str(), file.c_str(), 0, nullptr, nullptr))
    return createStringError(nvrtc.errorString(error));
  bool wantsCubin = arch.starts_with("sm_"); // compute_NN: PTX alone
  std::vector<const char *> options{archOption.c_str()};
  options.insert(options.end(), std::begin(fixedOptions), std::end(fixedOptions));
  if (wantsCubin)
    options.push_back("--ptxas-options=-v");
  int status = nvrtc.compile(program, int(options.size()), options.data());

  CompiledKernel kernel;
  auto read = [&](auto sizeOf, auto get) {
    size_t size = 0;
    std::string bytes;
    if (sizeOf(program, &size) == 0 && size > 0) {
      bytes.resize(size);
      if (get(program, bytes.data()) != 0)
        bytes.clear();
    }
    return bytes;
  };
  std::string log = read(nvrtc.logSize, nvrtc.log);
  if (status == 0) {
    kernel.cubin = read(nvrtc.cubinSize, nvrtc.cubin);
    kernel.ptx = read(nvrtc.ptxSize, nvrtc.ptx);
    while (!kernel.ptx.empty() && kernel.ptx.back() == '\0')
      kernel.ptx.pop_back();
  }
  nvrtc.destroy(&program);
  kernel.registers = numberBefore(log, " registers");
  kernel.spillBytes =
      numberBefore(log, " bytes spill stores") + numberBefore(log, " bytes spill loads");
  kernel.stackBytes = numberBefore(log, " bytes stack frame");
  kernel.log = lastingLines(log);
  if (status != 0 || (wantsCubin ? kernel.cubin : kernel.ptx).empty())
    return createStringError("NVRTC " + version() + " refuses " + file + " for " + arch + ": " +
                             nvrtc.errorString(status) + "\n" + log);
  return kernel;
}
