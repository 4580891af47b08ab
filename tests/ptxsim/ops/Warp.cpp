// Communication between the lanes of a warp: shfl, vote, match, redux, activemask.
#include "tests/ptxsim/decode/Decoder.h"
#include "tests/ptxsim/machine/Block.h"
#include "tests/ptxsim/machine/Report.h"
#include "tests/ptxsim/ops/Elementwise.h"
#include <algorithm>

namespace ptxsim {
namespace {

// Every lane that its own member mask names must be here, and every lane here must be named.
bool checkMembers(Warp &warp, const Inst &inst, Mask mask, int operand) {
  const uint32_t *members = warp.row<uint32_t>(inst, operand);
  Mask live = warp.live();
  bool good = true;
  forLanes(mask, [&](int lane) {
    Mask named = members[lane] & live;
    if (named == (mask & members[lane]) && (members[lane] >> lane & 1))
      return;
    good = false;
    report(ReportKind::DivergentSync, warp, inst, lane, [&] {
      return "the member mask is " + hex(members[lane]) + ", the lanes here are " + hex(mask);
    });
  });
  return good;
}

enum ShuffleMode { Up, Down, Butterfly, Indexed };

// Operands: d, p, a, b, c, members. c: clamp in bits 0-4, segment mask in bits 8-12 (PTX ISA,
// `shfl.sync`).
void shuffle(Warp &warp, const Inst &inst, Mask mask) {
  checkMembers(warp, inst, mask, 5);
  const uint32_t *a = warp.row<uint32_t>(inst, 2), *b = warp.row<uint32_t>(inst, 3),
                 *c = warp.row<uint32_t>(inst, 4);
  Row<uint32_t> result;
  Mask inside = 0;
  for (int lane = 0; lane < lanes; ++lane) {
    int by = static_cast<int>(b[lane] & 31), clamp = static_cast<int>(c[lane] & 31);
    int segment = static_cast<int>(c[lane] >> 8 & 31);
    int last = (lane & segment) | (clamp & ~segment), first = lane & segment;
    int from = lane;
    bool valid = false;
    switch (inst.mode) {
    case Up: // the clamp is the lower bound
      from = lane - by;
      valid = from >= last;
      break;
    case Down:
      from = lane + by;
      valid = from <= last;
      break;
    case Butterfly:
      from = lane ^ by;
      valid = from <= last;
      break;
    case Indexed:
      from = first | (by & ~segment);
      valid = from <= last;
      break;
    }
    from = valid ? from : lane;
    inside |= static_cast<Mask>(valid) << lane;
    result[lane] = a[from];
    if ((mask >> lane & 1) && !(mask >> from & 1))
      report(ReportKind::InactiveLane, warp, inst, lane,
             [&] { return "reads from lane " + std::to_string(from) + ", which is not here"; });
  }
  store(warp.row<uint32_t>(inst, 0), result, mask);
  if (inst.mode2)
    storeMask(warp.pred(inst.operand[1]), inside, mask);
}

void decodeShuffle(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  int mode = modifiers.takeOne({"up", "down", "bfly", "idx"});
  if (mode < 0 || !modifiers.take("sync") || modifiers.type() != Type::B32)
    modifiers.fail();
  inst.mode = static_cast<uint32_t>(mode);
  inst.run = shuffle;
  decoder.expectOperands(5);
  const Operand &result = decoder.statement().operands[0];
  inst.mode2 = result.kind == Operand::Pair;
  decoder.destination(inst, inst.mode2 ? result.parts[0] : result, Type::B32);
  if (inst.mode2)
    decoder.destination(inst, result.parts[1], Type::Pred);
  else
    decoder.destination(inst, Operand(), Type::B32, false, true);
  for (size_t k = 1; k < 5; ++k)
    decoder.source(inst, k, Type::B32);
}

enum VoteMode { All, Any, Uniform, Ballot };

// Operands: d, p, members; mode2: p is negated.
void vote(Warp &warp, const Inst &inst, Mask mask) {
  checkMembers(warp, inst, mask, 2);
  Mask votes = warp.pred(inst.operand[1]);
  votes = (inst.mode2 ? ~votes : votes) & mask;
  if (inst.mode == Ballot) {
    Row<uint32_t> result;
    std::fill(result.value, result.value + lanes, votes);
    return store(warp.row<uint32_t>(inst, 0), result, mask);
  }
  bool all = votes == mask, any = votes != 0;
  bool value = inst.mode == All ? all : inst.mode == Any ? any : all || !any;
  storeMask(warp.pred(inst.operand[0]), value ? allLanes : 0, mask);
}

void decodeVote(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  int mode = modifiers.takeOne({"all", "any", "uni", "ballot"});
  Type type = modifiers.type();
  if (mode < 0 || !modifiers.take("sync") || type != (mode == Ballot ? Type::B32 : Type::Pred))
    modifiers.fail();
  inst.mode = static_cast<uint32_t>(mode);
  inst.run = vote;
  decoder.expectOperands(3);
  decoder.destination(inst, 0, type);
  Operand voter = decoder.statement().operands[1];
  inst.mode2 = voter.negated;
  voter.negated = false;
  decoder.source(inst, voter, Type::Pred);
  decoder.source(inst, 2, Type::B32);
}

// match: the lanes with the same value; .all: those of all lanes or none, with a predicate.
template <class T>
void match(Warp &warp, const Inst &inst, Mask mask) {
  checkMembers(warp, inst, mask, 3);
  const T *a = warp.row<T>(inst, 2);
  Row<uint32_t> result;
  bool all = true;
  forLanes(mask, [&](int lane) {
    uint32_t same = 0;
    forLanes(mask, [&](int other) { same |= static_cast<uint32_t>(a[other] == a[lane]) << other; });
    result[lane] = same;
    all &= same == mask;
  });
  if (inst.mode) { // .all
    std::fill(result.value, result.value + lanes, all ? mask : 0);
    if (inst.mode2)
      storeMask(warp.pred(inst.operand[1]), all ? allLanes : 0, mask);
  }
  store(warp.row<uint32_t>(inst, 0), result, mask);
}

void decodeMatch(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  int mode = modifiers.takeOne({"any", "all"});
  Type type = modifiers.type();
  if (mode < 0 || !modifiers.take("sync") || (type != Type::B32 && type != Type::B64))
    modifiers.fail();
  inst.mode = static_cast<uint32_t>(mode);
  inst.run = type == Type::B32 ? match<uint32_t> : match<uint64_t>;
  decoder.expectOperands(3);
  const Operand &result = decoder.statement().operands[0];
  inst.mode2 = result.kind == Operand::Pair;
  decoder.destination(inst, inst.mode2 ? result.parts[0] : result, Type::B32);
  if (inst.mode2)
    decoder.destination(inst, result.parts[1], Type::Pred);
  else
    decoder.destination(inst, Operand(), Type::B32, false, true);
  decoder.source(inst, 1, type);
  decoder.source(inst, 2, Type::B32);
}

// redux: one value from all lanes, to all lanes.
template <class T>
void reduce(Warp &warp, const Inst &inst, Mask mask) {
  checkMembers(warp, inst, mask, 2);
  const T *a = warp.row<T>(inst, 1);
  T value = a[std::countr_zero(mask)];
  forLanes(mask & (mask - 1), [&](int lane) {
    T other = a[lane];
    switch (inst.mode) {
    case 0:
      value = static_cast<T>(static_cast<uint32_t>(value) + static_cast<uint32_t>(other));
      break;
    case 1:
      value = std::min(value, other);
      break;
    case 2:
      value = std::max(value, other);
      break;
    case 3:
      value &= other;
      break;
    case 4:
      value |= other;
      break;
    default:
      value ^= other;
    }
  });
  Row<T> result;
  std::fill(result.value, result.value + lanes, value);
  store(warp.row<T>(inst, 0), result, mask);
}

void decodeReduce(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  int operation = modifiers.takeOne({"add", "min", "max", "and", "or", "xor"});
  Type type = modifiers.type();
  if (operation < 0 || !modifiers.take("sync") || sizeOf(type) != 4 || isFloat(type))
    modifiers.fail();
  inst.mode = static_cast<uint32_t>(operation);
  inst.run = type == Type::S32 ? reduce<int32_t> : reduce<uint32_t>;
  decoder.expectOperands(3);
  decoder.destination(inst, 0, type);
  decoder.source(inst, 1, type);
  decoder.source(inst, 2, Type::B32);
}

void activeMask(Warp &warp, const Inst &inst, Mask mask) {
  Row<uint32_t> result;
  std::fill(result.value, result.value + lanes, mask);
  store(warp.row<uint32_t>(inst, 0), result, mask);
}

void decodeActiveMask(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  if (modifiers.type() != Type::B32)
    modifiers.fail();
  inst.run = activeMask;
  decoder.simple(inst, Type::B32, 1);
}

} // namespace

// bar.warp.sync: its members must all be here.
void syncWarp(Warp &warp, const Inst &inst, Mask mask) { checkMembers(warp, inst, mask, 0); }

void addWarpOps(OpcodeTable &table) {
  table["shfl"] = decodeShuffle;
  table["vote"] = decodeVote;
  table["match"] = decodeMatch;
  table["redux"] = decodeReduce;
  table["activemask"] = decodeActiveMask;
}

} // namespace ptxsim
