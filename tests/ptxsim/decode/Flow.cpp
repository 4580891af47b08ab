#include "tests/ptxsim/decode/Flow.h"
#include <algorithm>
#include <functional>
#include <queue>
#include <set>

namespace ptxsim {
namespace {

struct BasicBlock {
  uint32_t begin = 0, end = 0; // instructions
  std::vector<int> next;
  bool hasMma = false;
};

using Blocks = std::vector<int>; // numbers of blocks, rising

bool endsBlock(const Inst &inst) {
  return inst.flow == Flow::Branch || inst.flow == Flow::Exit || inst.flow == Flow::Trap;
}

bool isMma(const Statement &statement) {
  return statement.parts[0] == "mma" ||
         (statement.parts[0] == "wgmma" && statement.parts[1] == "mma_async");
}

class FlowGraph {
public:
  explicit FlowGraph(Kernel &kernel) : kernel(kernel) { findBlocks(); }

  void run() {
    Blocks all(blocks.size());
    for (size_t k = 0; k < all.size(); ++k)
      all[k] = static_cast<int>(k);
    place(all, -1);
    for (const Blocks &loop : mainLoops)
      for (int block : loop)
        for (uint32_t k = blocks[block].begin; k < blocks[block].end; ++k)
          kernel.code[k].inMainLoop = kernel.hasMainLoop = true;
    if (!std::is_sorted(order.begin(), order.end()))
      rewrite();
  }

private:
  void findBlocks();
  std::vector<Blocks> components(const Blocks &among, int header) const;
  void place(const Blocks &among, int header);
  void rewrite();
  bool hasEdge(int from, int to) const {
    return std::count(blocks[from].next.begin(), blocks[from].next.end(), to) > 0;
  }

  Kernel &kernel;
  std::vector<BasicBlock> blocks;
  std::vector<int> order;
  std::vector<Blocks> mainLoops;
};

void FlowGraph::findBlocks() {
  std::vector<Inst> &code = kernel.code;
  std::set<uint32_t> begins = {0};
  for (const Inst &inst : code) {
    if (endsBlock(inst) && inst.index + 1 < code.size())
      begins.insert(inst.index + 1);
    if (inst.flow == Flow::Branch)
      begins.insert(inst.target);
  }
  std::map<uint32_t, int> numbers;
  for (auto at = begins.begin(); at != begins.end(); ++at) {
    numbers[*at] = static_cast<int>(blocks.size());
    auto after = std::next(at);
    BasicBlock block;
    block.begin = *at;
    block.end = after == begins.end() ? static_cast<uint32_t>(code.size()) : *after;
    blocks.push_back(block);
  }
  for (BasicBlock &block : blocks) {
    for (uint32_t k = block.begin; k < block.end; ++k)
      block.hasMma |= isMma(*code[k].statement);
    const Inst &last = code[block.end - 1];
    if (last.flow == Flow::Branch)
      block.next.push_back(numbers.at(last.target));
    bool goesOn = !endsBlock(last) || last.guard != noOperand;
    if (goesOn && block.end < code.size())
      block.next.push_back(numbers.at(block.end));
  }
}

// Tarjan's strongly connected components of the blocks, without the edges that lead to the header.
std::vector<Blocks> FlowGraph::components(const Blocks &among, int header) const {
  std::map<int, int> number, low;
  std::vector<int> stack;
  std::set<int> onStack, inside(among.begin(), among.end());
  std::vector<Blocks> found;
  std::function<void(int)> visit = [&](int block) {
    int mine = static_cast<int>(number.size());
    number[block] = low[block] = mine;
    stack.push_back(block);
    onStack.insert(block);
    for (int next : blocks[block].next) {
      if (next == header || !inside.count(next))
        continue;
      if (!number.count(next)) {
        visit(next);
        low[block] = std::min(low[block], low[next]);
      } else if (onStack.count(next)) {
        low[block] = std::min(low[block], number[next]);
      }
    }
    if (low[block] != number[block])
      return;
    Blocks component;
    for (int last = -1; last != block;) {
      last = stack.back();
      stack.pop_back();
      onStack.erase(last);
      component.push_back(last);
    }
    std::sort(component.begin(), component.end());
    found.push_back(component);
  };
  for (int block : among)
    if (!number.count(block))
      visit(block);
  return found;
}

// Places components one behind the other, of those that may come next the one that is first in the
// text; the blocks of a loop likewise, from its header on.
void FlowGraph::place(const Blocks &among, int header) {
  std::vector<Blocks> parts = components(among, header);
  std::map<int, size_t> partOf;
  for (size_t k = 0; k < parts.size(); ++k)
    for (int block : parts[k])
      partOf[block] = k;
  std::vector<std::set<size_t>> next(parts.size());
  std::vector<int> before(parts.size(), 0);
  for (int block : among)
    for (int to : blocks[block].next) {
      auto part = partOf.find(to);
      if (to == header || part == partOf.end() || part->second == partOf[block])
        continue;
      if (next[partOf[block]].insert(part->second).second)
        ++before[part->second];
    }
  auto later = [&](size_t a, size_t b) { return parts[a][0] > parts[b][0]; };
  std::priority_queue<size_t, std::vector<size_t>, decltype(later)> free(later);
  for (size_t k = 0; k < parts.size(); ++k)
    if (before[k] == 0)
      free.push(k);
  while (!free.empty()) {
    size_t k = free.top();
    free.pop();
    const Blocks &part = parts[k];
    bool isLoop = part.size() > 1 || (part[0] != header && hasEdge(part[0], part[0]));
    if (part.size() == 1)
      order.push_back(part[0]);
    size_t loops = mainLoops.size();
    if (part.size() > 1) {
      // The header is where the loop is entered from outside; the first such block in the text.
      int inner = part[0];
      for (int block : part) {
        bool entered = false;
        for (int from = 0; from < static_cast<int>(blocks.size()) && !entered; ++from)
          entered = !std::binary_search(part.begin(), part.end(), from) && hasEdge(from, block);
        if (entered) {
          inner = block;
          break;
        }
      }
      place(part, inner);
    }
    bool hasMma = false;
    for (int block : part)
      hasMma |= blocks[block].hasMma;
    if (isLoop && hasMma && mainLoops.size() == loops)
      mainLoops.push_back(part);
    for (size_t to : next[k])
      if (--before[to] == 0)
        free.push(to);
  }
}

// Moves the blocks; where one fell through to another that is no longer behind it, a jump is put
// in.
void FlowGraph::rewrite() {
  std::vector<Inst> code;
  std::vector<uint32_t> newBegin(blocks.size());
  std::vector<std::pair<uint32_t, int>> jumps; // instruction, block
  std::map<uint32_t, int> blockAt;
  for (size_t k = 0; k < blocks.size(); ++k)
    blockAt[blocks[k].begin] = static_cast<int>(k);
  for (size_t at = 0; at < order.size(); ++at) {
    const BasicBlock &block = blocks[order[at]];
    newBegin[order[at]] = static_cast<uint32_t>(code.size());
    for (uint32_t k = block.begin; k < block.end; ++k) {
      if (kernel.code[k].flow == Flow::Branch)
        jumps.emplace_back(code.size(), blockAt.at(kernel.code[k].target));
      code.push_back(kernel.code[k]);
    }
    const Inst &last = kernel.code[block.end - 1];
    bool goesOn = !endsBlock(last) || last.guard != noOperand;
    int behind = goesOn && block.end < kernel.code.size() ? blockAt.at(block.end) : -1;
    if (behind < 0 || (at + 1 < order.size() && order[at + 1] == behind))
      continue;
    Inst jump;
    jump.flow = Flow::Branch;
    jump.synthetic = true;
    jump.inMainLoop = last.inMainLoop;
    jump.statement = last.statement;
    jumps.emplace_back(code.size(), behind);
    code.push_back(jump);
  }
  for (auto [inst, block] : jumps)
    code[inst].target = newBegin[static_cast<size_t>(block)];
  for (size_t k = 0; k < code.size(); ++k)
    code[k].index = static_cast<uint32_t>(k);
  kernel.code = std::move(code);
}

} // namespace

void orderBlocks(Kernel &kernel) { FlowGraph(kernel).run(); }

} // namespace ptxsim
