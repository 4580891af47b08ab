#include "tests/ptxsim/machine/Report.h"
#include "tests/ptxsim/machine/Block.h"
#include "tests/ptxsim/machine/Config.h"
#include <atomic>
#include <cstdio>
#include <map>
#include <mutex>
#include <tuple>

namespace ptxsim {
namespace {

constexpr size_t printedInFull = 8;

// Found across all workers; the key orders them by kernel and instruction.
struct Collection {
  std::mutex mutex;
  std::map<std::tuple<std::string, uint32_t, ReportKind>, Report> found;
  std::atomic<bool> any{false};
  uint64_t total = 0;

  ~Collection() = delete; // reports may come while the process exits
};

void summarize();

Collection &collection() {
  static Collection *all = [] {
    std::atexit(summarize);
    return new Collection;
  }();
  return *all;
}

std::string quoted(const std::string &text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      result += '\\';
    result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return result + "\"";
}

std::string place(const Report &report) {
  std::string text = "line " + std::to_string(report.ptxLine) + " (" + report.ptx + ")";
  if (report.cudaLine) {
    text += ", " + report.cudaFile + ":" + std::to_string(report.cudaLine);
    if (report.inlinedLine)
      text += " inlined at line " + std::to_string(report.inlinedLine);
  }
  return text;
}

void print(const Report &report) {
  std::fprintf(stderr, "ptxsim: %s in '%s' at %s, block (%u,%u,%u) warp %u", nameOf(report.kind),
               report.kernel.c_str(), place(report).c_str(), report.block[0], report.block[1],
               report.block[2], report.warp);
  if (report.lane >= 0)
    std::fprintf(stderr, " lane %d", report.lane);
  std::fprintf(stderr, ": %s\n", report.detail.c_str());
}

void appendToFile(const Report &report) {
  std::FILE *file = std::fopen(config().reportFile.c_str(), "a");
  if (!file)
    return;
  std::fprintf(file,
               "{\"kind\":%s,\"kernel\":%s,\"ptx_line\":%d,\"ptx\":%s,\"cuda_file\":%s,"
               "\"cuda_line\":%d,\"inlined_line\":%d,\"block\":[%u,%u,%u],\"warp\":%u,\"lane\":%d,"
               "\"detail\":%s}\n",
               quoted(nameOf(report.kind)).c_str(), quoted(report.kernel).c_str(), report.ptxLine,
               quoted(report.ptx).c_str(), quoted(report.cudaFile).c_str(), report.cudaLine,
               report.inlinedLine, report.block[0], report.block[1], report.block[2], report.warp,
               report.lane, quoted(report.detail).c_str());
  std::fclose(file);
}

void summarize() {
  std::lock_guard<std::mutex> lock(collection().mutex);
  if (collection().total)
    std::fprintf(stderr, "ptxsim: %zu findings, seen %llu times\n", collection().found.size(),
                 static_cast<unsigned long long>(collection().total));
}

std::string baseName(const std::string &path) { return path.substr(path.rfind('/') + 1); }

} // namespace

const char *nameOf(ReportKind kind) {
  constexpr const char *names[] = {"out of bounds",
                                   "use after free",
                                   "misaligned address",
                                   "uninitialised read",
                                   "uninitialised register",
                                   "race in shared memory",
                                   "read of a pending copy",
                                   "race in global memory",
                                   "conflicting stores",
                                   "divergent synchronisation",
                                   "inactive lane",
                                   "bad operand",
                                   "trap",
                                   "deadlock",
                                   "endless kernel",
                                   "use of a pending product",
                                   "product without a fence",
                                   "asynchronous read without a proxy fence"};
  return names[static_cast<int>(kind)];
}

std::string hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

void report(ReportKind kind, const Warp &warp, const Inst &inst, int lane,
            const std::function<std::string()> &detail) {
  const Kernel &kernel = *warp.block->launch->kernel;
  Collection &all = collection();
  std::lock_guard<std::mutex> lock(all.mutex);
  ++all.total;
  all.any = true;
  auto key = std::make_tuple(kernel.name, inst.index, kind);
  if (auto known = all.found.find(key); known != all.found.end()) {
    ++known->second.times;
    return;
  }
  Report report;
  report.kind = kind;
  report.kernel = kernel.name;
  report.ptxLine = inst.statement->line;
  report.ptx = inst.statement->opcode;
  const CudaLine &cuda = inst.statement->cuda;
  report.cudaLine = cuda.line;
  report.inlinedLine = cuda.inlinedLine;
  if (auto file = kernel.module->files.find(cuda.file); file != kernel.module->files.end())
    report.cudaFile = baseName(file->second);
  std::copy(warp.block->id, warp.block->id + 3, report.block);
  report.warp = warp.id;
  report.lane = lane;
  report.detail = detail();
  if (all.found.size() < printedInFull)
    print(report);
  if (!config().reportFile.empty())
    appendToFile(report);
  all.found.emplace(key, std::move(report));
}

std::vector<Report> reports() {
  std::lock_guard<std::mutex> lock(collection().mutex);
  std::vector<Report> all;
  for (const auto &[key, report] : collection().found)
    all.push_back(report);
  return all;
}

void clearReports() {
  std::lock_guard<std::mutex> lock(collection().mutex);
  collection().found.clear();
  collection().total = 0;
  collection().any = false;
}

bool hasReports() { return collection().any; }

} // namespace ptxsim
