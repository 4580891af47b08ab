#include "tests/ptxsim/machine/Warpgroup.h"
#include "tests/ptxsim/machine/Block.h"
#include "tests/ptxsim/machine/Report.h"

namespace ptxsim {

void WarpProducts::begin(const Kernel &kernel) {
  pending.clear();
  group = fences = 0;
  issued = 0;
  if (kernel.products.empty())
    return;
  size_t registers = kernel.text.registers.size();
  uses.assign(registers, 0);
  touched.assign(registers, 0);
  kept.resize(registers);
}

void noteRegisters(Warp &warp, const Inst &inst) {
  WarpProducts &products = warp.products;
  auto note = [&](uint16_t reg) {
    products.touched[reg] = products.fences;
    if (products.uses[reg])
      report(ReportKind::PendingProduct, warp, inst, -1, [&] {
        return warp.block->launch->kernel->text.registers[reg].name +
               " belongs to a product without a wait";
      });
  };
  for (int k = 0; k < inst.readCount; ++k)
    note(inst.reads[k]);
  for (int k = 0; k < inst.writeCount; ++k)
    note(inst.writes[k]);
}

void checkProductsAtEnd(Block &block) {
  for (const Warp &warp : block.warps) {
    const WarpProducts &products = warp.products;
    const std::vector<ProductIssue> &group = block.issued[warp.id / 4];
    if (products.issued < group.size())
      report(ReportKind::DivergentSync, warp, *group[products.issued].inst, -1,
             [&] { return "warp " + std::to_string(warp.id) + " did not come to it"; });
    if (!products.pending.empty())
      report(ReportKind::PendingProduct, warp, *products.pending[0].inst, -1,
             [] { return "nobody waited for it"; });
  }
}

} // namespace ptxsim
