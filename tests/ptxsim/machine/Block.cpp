// A block from its first instruction to its last: registers, warps in some order, barriers.
#include "tests/ptxsim/machine/Block.h"
#include "tests/ptxsim/machine/AddressSpace.h"
#include "tests/ptxsim/machine/Config.h"
#include "tests/ptxsim/machine/Report.h"

namespace ptxsim {
namespace {

constexpr const char *specials[] = {"%tid.x",
                                    "%tid.y",
                                    "%tid.z",
                                    "%ntid.x",
                                    "%ntid.y",
                                    "%ntid.z",
                                    "%ctaid.x",
                                    "%ctaid.y",
                                    "%ctaid.z",
                                    "%nctaid.x",
                                    "%nctaid.y",
                                    "%nctaid.z",
                                    "%laneid",
                                    "%warpid",
                                    "%nwarpid",
                                    "%lanemask_eq",
                                    "%lanemask_le",
                                    "%lanemask_lt",
                                    "%lanemask_ge",
                                    "%lanemask_gt",
                                    "%smid",
                                    "%nsmid",
                                    "%dynamic_smem_size",
                                    "%total_smem_size",
                                    "WARP_SZ"};

uint32_t specialValue(const std::string &name, const Warp &warp, uint32_t lane) {
  const Launch &launch = *warp.block->launch;
  uint32_t thread = warp.id * lanes + lane;
  uint32_t axis = static_cast<uint32_t>(name.back() - 'x');
  uint32_t bit = 1u << lane;
  if (name.starts_with("%tid"))
    return axis == 0   ? thread % launch.block[0]
           : axis == 1 ? thread / launch.block[0] % launch.block[1]
                       : thread / launch.block[0] / launch.block[1];
  if (name.starts_with("%ntid"))
    return launch.block[axis];
  if (name.starts_with("%ctaid"))
    return warp.block->id[axis];
  if (name.starts_with("%nctaid"))
    return launch.grid[axis];
  if (name == "%laneid")
    return lane;
  if (name == "%warpid")
    return warp.id;
  if (name == "%nwarpid")
    return (launch.threads() + lanes - 1) / lanes;
  if (name == "%lanemask_eq")
    return bit;
  if (name == "%lanemask_lt")
    return bit - 1;
  if (name == "%lanemask_le")
    return bit | (bit - 1);
  if (name == "%lanemask_gt")
    return ~(bit | (bit - 1));
  if (name == "%lanemask_ge")
    return ~(bit - 1);
  if (name == "%dynamic_smem_size")
    return launch.dynamicShared;
  if (name == "%total_smem_size")
    return launch.kernel->staticShared + launch.dynamicShared;
  if (name == "WARP_SZ")
    return lanes;
  return name == "%nsmid" ? 108 : 0;
}

void fillRow(uint8_t *row, unsigned width, int lane, uint64_t bits) {
  std::memcpy(row + static_cast<unsigned>(lane) * width, &bits, width);
}

} // namespace

bool isSpecial(const std::string &name) {
  for (const char *special : specials)
    if (name == special)
      return true;
  return false;
}

void Worker::begin(const Launch &launch, uint64_t launchSeed) {
  const Kernel &kernel = *launch.kernel;
  block.launch = &launch;
  block.counting = !config().counterFile.empty();
  block.counters.begin(kernel.code.size());
  block.allocations.assign(kernel.code.size(), nullptr);
  seed = launchSeed;
  uint32_t threads = launch.threads(), count = (threads + lanes - 1) / lanes;
  size_t stride = (kernel.rowBytes + 63) / 64 * 64;
  if (rows.size() < stride * count + 64)
    rows.resize(stride * count + 64);
  auto *begin =
      reinterpret_cast<uint8_t *>((reinterpret_cast<uintptr_t>(rows.data()) + 63) / 64 * 64);
  if (block.warps.size() < count)
    block.warps.resize(count);
  while (block.warps.size() > count)
    block.warps.pop_back();
  for (uint32_t k = 0; k < count; ++k) {
    Warp &warp = block.warps[k];
    warp.block = &block;
    warp.id = k;
    warp.rows = begin + k * stride;
    uint32_t rest = threads - k * lanes;
    warp.threads = rest >= lanes ? allLanes : (1u << rest) - 1;
    warp.local.resize(static_cast<size_t>(kernel.localBytes) * lanes);
    fillConstants(warp, false);
  }
}

// Rows of constants lie in the register file, so that operands are all alike. Those of the block's
// number change.
void Worker::fillConstants(Warp &warp, bool onlyBlock) {
  for (const ConstantRow &constant : block.launch->kernel->constants) {
    if (onlyBlock && !constant.special.starts_with("%ctaid"))
      continue;
    uint8_t *row = warp.rows + constant.offset;
    for (int lane = 0; lane < lanes; ++lane)
      fillRow(row, constant.width, lane,
              constant.special.empty() || constant.special == "sink"
                  ? constant.bits
                  : specialValue(constant.special, warp, static_cast<uint32_t>(lane)));
  }
}

void Worker::beginBlock(uint64_t number) {
  const Launch &launch = *block.launch;
  block.number = static_cast<uint32_t>(number);
  block.id[0] = static_cast<uint32_t>(number % launch.grid[0]);
  block.id[1] = static_cast<uint32_t>(number / launch.grid[0] % launch.grid[1]);
  block.id[2] = static_cast<uint32_t>(number / launch.grid[0] / launch.grid[1]);
  block.aborted = false;
  block.steps = 0;
  std::fill(std::begin(block.arrivedThreads), std::end(block.arrivedThreads), 0);
  block.shared.begin(*launch.kernel, launch.dynamicShared,
                     static_cast<uint32_t>(block.warps.size()));
  for (std::vector<ProductIssue> &issued : block.issued)
    issued.clear();
  random.seed(seed * 0x9e3779b97f4a7c15u + number);
  turn = 0;
  for (Warp &warp : block.warps) {
    warp.splits.assign(1, {0, warp.threads});
    warp.state = Warp::Ready;
    warp.copies.clear();
    std::fill(std::begin(warp.groups), std::end(warp.groups), 0);
    warp.products.begin(*launch.kernel);
    std::fill(warp.local.begin(), warp.local.end(), poisonByte);
    warp.defined.assign(launch.kernel->text.registers.size(), 0);
    fillConstants(warp, true);
  }
}

// Lets go whoever waits at a barrier that is complete: all threads that still live, or the number
// asked for.
bool Worker::releaseBarriers() {
  bool released = false;
  for (uint32_t barrier = 0; barrier < 16; ++barrier) {
    uint32_t waiting = 0, live = 0, members = 0, count = 0;
    for (const Warp &warp : block.warps) {
      live += warp.state != Warp::Done;
      if (warp.state != Warp::AtBarrier || warp.barrier != barrier)
        continue;
      ++waiting;
      members |= 1u << warp.id;
      count = std::max(count, warp.barrierThreads);
    }
    uint32_t arrived = waiting * lanes + block.arrivedThreads[barrier];
    if (!members || arrived < (count ? count : live * lanes))
      continue;
    block.shared.clocks.pass(members, barrier);
    block.arrivedThreads[barrier] = 0;
    for (Warp &warp : block.warps)
      if (members >> warp.id & 1)
        warp.state = Warp::Ready;
    released = true;
  }
  return released;
}

// In turn, or any that is ready by the seed.
Warp *Worker::pickWarp() {
  auto count = static_cast<uint32_t>(block.warps.size());
  uint32_t from = seed ? static_cast<uint32_t>(random() % count) : turn;
  for (uint32_t k = 0; k < count; ++k) {
    Warp &warp = block.warps[(from + k) % count];
    if (warp.state != Warp::Ready)
      continue;
    turn = (warp.id + 1) % count;
    return &warp;
  }
  return nullptr;
}

void Worker::run(uint64_t blockNumber) {
  beginBlock(blockNumber);
  while (!block.aborted) {
    Warp *warp = pickWarp();
    if (!warp) {
      if (releaseBarriers())
        continue;
      const Warp *stuck = nullptr;
      for (const Warp &other : block.warps)
        stuck = other.state == Warp::AtBarrier ? &other : stuck;
      if (stuck)
        report(ReportKind::Deadlock, *stuck, *stuck->barrierInst, -1, [&] {
          return "nobody else will come to barrier " + std::to_string(stuck->barrier);
        });
      else
        checkProductsAtEnd(block);
      return;
    }
    // Short shares let warps that watch each other's memory go on, and mix them under a seed.
    runWarp(*warp, seed ? 1 + random() % 4096 : 1 << 16);
    if (warp->state != Warp::Ready)
      releaseBarriers();
    if (block.steps > config().maxSteps) {
      uint32_t pc = warp->splits.empty() ? 0 : warp->splits[0].pc;
      report(ReportKind::Endless, *warp, block.launch->kernel->code[pc], -1, [&] {
        return "more than " + std::to_string(config().maxSteps) + " instructions in a block";
      });
      return;
    }
  }
}

} // namespace ptxsim
