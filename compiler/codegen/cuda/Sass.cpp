// Main loops in disassembled cubins.

#include "compiler/codegen/cuda/Sass.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdlib>
#include <glob.h>
#include <vector>

using namespace llvm;
using namespace lorac::cuda;

std::optional<Disassembler> Disassembler::find() {
  Disassembler found;
  if (const char *set = std::getenv("LORAC_NVDISASM")) {
    found.program = set;
    return found;
  }
  if (ErrorOr<std::string> path = sys::findProgramByName("nvdisasm")) {
    found.program = *path;
    return found;
  }
  std::vector<std::string> patterns;
  if (const char *tools = std::getenv("LORAC_CUDA_TOOLS")) // PyPI's wheels, unpacked there
    patterns.push_back(std::string(tools) + "/nvidia/*/bin/nvdisasm");
  for (const char *usual :
       {"/usr/local/cuda*/bin/nvdisasm", "/usr/lib/python3*/site-packages/nvidia/*/bin/nvdisasm",
        "/usr/local/lib/python3*/*-packages/nvidia/*/bin/nvdisasm"})
    patterns.push_back(usual);
  for (const std::string &pattern : patterns) {
    glob_t matches;
    if (glob(pattern.c_str(), 0, nullptr, &matches) == 0 && matches.gl_pathc > 0)
      found.program = matches.gl_pathv[0];
    globfree(&matches);
    if (!found.program.empty())
      return found;
  }
  return std::nullopt;
}

// A warp's products of 16 x 8 x 16 in an instruction; of a warpgroup's 64 x N x 16 it has N / 8.
static int64_t productsOf(StringRef instruction) {
  StringRef shape = instruction.split("HGMMA.64x").second;
  int64_t columns = 0;
  return shape.consumeInteger(10, columns) ? instruction.contains("HMMA") : columns / 8;
}

// `/*0040*/  @P0 IMAD R1, R2, R3 ;` and `.L_x_1:`: instructions, and labels by the index of the
// next one.
std::optional<MainLoop> lorac::cuda::mainLoopOf(StringRef sass) {
  SmallVector<StringRef> code;
  StringMap<size_t> labels;
  while (!sass.empty()) {
    auto [first, rest] = sass.split('\n');
    sass = rest;
    StringRef line = first.trim();
    if (line.starts_with(".L") && line.contains(':'))
      labels[line.take_until([](char c) { return c == ':'; })] = code.size();
    if (!line.consume_front("/*"))
      continue;
    auto [address, instruction] = line.split("*/");
    instruction = instruction.trim();
    if (address.size() < 4 || !all_of(address, isHexDigit) || !instruction.contains(';'))
      continue;
    instruction.consume_front("{");
    code.push_back(instruction.trim());
  }
  struct Loop {
    size_t first, last;
    MainLoop counted;
  };
  SmallVector<Loop> loops;
  for (size_t i = 0; i < code.size(); ++i) {
    StringRef op = code[i];
    if (op.starts_with("@"))
      op = op.split(' ').second.trim();
    if (!op.starts_with("BRA"))
      continue;
    size_t at = op.find(".L");
    if (at == StringRef::npos)
      continue;
    auto target = labels.find(
        op.substr(at).take_until([](char c) { return c == ')' || c == ' ' || c == ';'; }));
    if (target == labels.end() || target->second > i)
      continue;
    MainLoop loop{int64_t(i - target->second + 1), 0};
    for (size_t j = target->second; j <= i; ++j)
      loop.mma += productsOf(code[j]);
    if (loop.mma > 0)
      loops.push_back({target->second, i, loop});
  }
  // Of those that hold no other one.
  std::optional<MainLoop> best;
  for (const Loop &loop : loops) {
    bool isInner = none_of(loops, [&](const Loop &other) {
      return &other != &loop && loop.first <= other.first && other.last <= loop.last &&
             other.last - other.first < loop.last - loop.first;
    });
    const MainLoop &counted = loop.counted;
    if (isInner && (!best || counted.mma > best->mma ||
                    (counted.mma == best->mma && counted.instructions < best->instructions)))
      best = counted;
  }
  return best;
}

Expected<std::optional<MainLoop>> Disassembler::mainLoop(StringRef cubin) const {
  SmallString<128> in, out;
  if (std::error_code error = sys::fs::createTemporaryFile("lorac", "cubin", in))
    return createStringError("cannot create a temporary file: " + error.message());
  FileRemover removeIn(in);
  if (std::error_code error = sys::fs::createTemporaryFile("lorac", "sass", out))
    return createStringError("cannot create a temporary file: " + error.message());
  FileRemover removeOut(out);
  std::error_code error;
  {
    raw_fd_ostream file(in, error);
    file << cubin;
  }
  StringRef arguments[] = {program, "-c", in};
  std::optional<StringRef> redirects[] = {StringRef(), StringRef(out), StringRef()};
  std::string message;
  if (error || sys::ExecuteAndWait(program, arguments, std::nullopt, redirects,
                                   /*SecondsToWait=*/60, 0, &message) != 0)
    return createStringError("'" + program + "' cannot read a cubin: " + message);
  auto text = MemoryBuffer::getFile(out);
  if (!text)
    return createStringError("'" + program + "' wrote nothing");
  return mainLoopOf((*text)->getBuffer());
}
