// What the checks found: each kind once for an instruction of a kernel, with the number of times.
#ifndef PTXSIM_MACHINE_REPORT_H
#define PTXSIM_MACHINE_REPORT_H

#include "tests/ptxsim/machine/Warp.h"
#include <functional>

namespace ptxsim {

enum class ReportKind {
  OutOfBounds,
  UseAfterFree,
  Misaligned,
  UninitialisedRead,
  UninitialisedRegister,
  SharedRace,
  PendingCopy,
  GlobalRace,
  StoreConflict,
  DivergentSync,
  InactiveLane,
  BadOperand,
  Trap,
  Deadlock,
  Endless,
  PendingProduct,
  UnfencedProduct,
  ProxyRace,
};

struct Report {
  ReportKind kind;
  std::string kernel;
  int ptxLine = 0;
  std::string ptx;      // the opcode
  std::string cudaFile; // empty without .loc
  int cudaLine = 0;
  int inlinedLine = 0; // where cudaLine was inlined; 0: nowhere
  uint32_t block[3] = {};
  uint32_t warp = 0;
  int lane = -1; // -1: the warp as a whole
  std::string detail;
  uint64_t times = 1;
};

const char *nameOf(ReportKind kind);

/// Notes a finding. `detail` is asked for only the first time.
void report(ReportKind kind, const Warp &warp, const Inst &inst, int lane,
            const std::function<std::string()> &detail);

/// All that was found since the last `clearReports`.
std::vector<Report> reports();
void clearReports();
bool hasReports();
std::string hex(uint64_t value);

} // namespace ptxsim

#endif
