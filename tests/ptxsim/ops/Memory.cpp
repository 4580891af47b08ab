// ld and st in all spaces.
#include "tests/ptxsim/decode/Decoder.h"
#include "tests/ptxsim/machine/Access.h"
#include "tests/ptxsim/machine/Block.h"
#include "tests/ptxsim/ops/MemoryModifiers.h"

namespace ptxsim {

void noteGranule(Kernel &kernel, Space space, uint32_t bytes) {
  if (space == Space::Shared || space == Space::Generic)
    kernel.sharedGranule = std::min(kernel.sharedGranule, bytes);
  if (space != Space::Shared && space != Space::Local && space != Space::Param)
    kernel.globalGranule = std::min(kernel.globalGranule, bytes);
}

Space takeSpace(Modifiers &modifiers) {
  constexpr Space spaces[] = {Space::Global, Space::Const, Space::Shared, Space::Local,
                              Space::Param};
  int space = modifiers.takeOne({"global", "const", "shared", "local", "param"});
  return space < 0 ? Space::Generic : spaces[space];
}

bool takeOrder(Modifiers &modifiers) {
  bool strong = modifiers.takeOne({"volatile", "relaxed", "acquire", "release", "acq_rel"}) >= 0;
  modifiers.take("weak");
  modifiers.takeOne({"cta", "cluster", "gpu", "sys"});
  return strong;
}

void takeCacheHints(Modifiers &modifiers) {
  modifiers.takeOne({"ca", "cg", "cs", "lu", "cv", "wb", "wt"});
  modifiers.takePrefix("L1::");
  modifiers.takePrefix("L2::");
}

// Two lanes may store to one place if they store the same.
void checkStoreConflict(Warp &warp, const Inst &inst, const Access &access, Mask mask) {
  // Rising addresses, the usual case, cannot overlap.
  const uint8_t *end = nullptr;
  bool rising = true;
  forLanes(mask, [&](int lane) {
    rising &= access.host[lane] >= end;
    end = access.host[lane] + access.bytes;
  });
  if (rising)
    return;
  forLanes(mask, [&](int lane) {
    forLanes(mask & ((1u << lane) - 1), [&](int other) {
      if (access.host[lane] != access.host[other])
        return;
      for (int k = 0; k < inst.count; ++k) {
        unsigned width = inst.width[1 + k];
        const uint8_t *row = warp.row<uint8_t>(inst, 1 + k);
        if (std::memcmp(row + static_cast<unsigned>(lane) * width,
                        row + static_cast<unsigned>(other) * width, inst.elementSize) != 0)
          report(ReportKind::StoreConflict, warp, inst, lane, [&] {
            return "lane " + std::to_string(other) + " stores another value to " +
                   hex(access.address[lane]);
          });
      }
    });
  });
}

namespace {

// A loaded value fills a wider register: with its sign, or with zeros.
template <class T>
void loadElements(Warp &warp, const Inst &inst, Mask mask, const Access &access) {
  for (int k = 0; k < inst.count; ++k) {
    const size_t offset = static_cast<size_t>(k) * sizeof(T);
    unsigned width = inst.width[k];
    if (width == sizeof(T)) {
      T *to = warp.row<T>(inst, k);
      if (mask == allLanes) {
        for (int lane = 0; lane < lanes; ++lane)
          std::memcpy(&to[lane], access.host[lane] + offset, sizeof(T));
      } else {
        forLanes(mask,
                 [&](int lane) { std::memcpy(&to[lane], access.host[lane] + offset, sizeof(T)); });
      }
      continue;
    }
    uint8_t *to = warp.row<uint8_t>(inst, k);
    forLanes(mask, [&](int lane) {
      T value;
      std::memcpy(&value, access.host[lane] + offset, sizeof(T));
      auto wide = static_cast<int64_t>(value);
      std::memcpy(to + static_cast<unsigned>(lane) * width, &wide, width);
    });
  }
}

template <class T>
void load(Warp &warp, const Inst &inst, Mask mask) {
  Access access;
  access.mask = mask;
  access.bytes = static_cast<uint32_t>(sizeof(T)) * inst.count;
  fillAddresses(warp, inst, inst.count, inst.offset, access);
  checkAccess(warp, inst, access, AccessKind::Read);
  loadElements<T>(warp, inst, mask, access); // lanes that may not read get poison
  countAccess(warp, inst, access, false);
}

template <class T>
void storeElements(Warp &warp, const Inst &inst, Mask mask) {
  Access access;
  access.mask = mask;
  access.bytes = static_cast<uint32_t>(sizeof(T)) * inst.count;
  fillAddresses(warp, inst, 0, inst.offset, access);
  Mask good = checkAccess(warp, inst, access, AccessKind::Write);
  checkStoreConflict(warp, inst, access, good);
  for (int k = 0; k < inst.count; ++k) {
    unsigned width = inst.width[1 + k];
    const uint8_t *from = warp.row<uint8_t>(inst, 1 + k);
    forLanes(good, [&](int lane) {
      std::memcpy(access.host[lane] + static_cast<size_t>(k) * sizeof(T),
                  from + static_cast<unsigned>(lane) * width, sizeof(T));
    });
  }
  countAccess(warp, inst, access, true);
}

// Parameters are the same for all lanes; a register as address indexes an array in them.
template <class T>
void loadParam(Warp &warp, const Inst &inst, Mask mask) {
  const std::vector<uint8_t> &params = warp.block->launch->params;
  bool indexed = inst.mode2;
  Access access;
  access.mask = mask;
  access.bytes = static_cast<uint32_t>(sizeof(T)) * inst.count;
  for (int lane = 0; lane < lanes; ++lane) {
    uint64_t at = static_cast<uint64_t>(inst.offset) +
                  (indexed ? warp.row<uint64_t>(inst, inst.count)[lane] : 0);
    bool inside = at <= params.size() && params.size() - at >= access.bytes;
    access.host[lane] = inside ? const_cast<uint8_t *>(params.data()) + at : poison;
    if (!inside && (mask >> lane & 1))
      report(ReportKind::OutOfBounds, warp, inst, lane,
             [&] { return "parameter byte " + std::to_string(at); });
  }
  loadElements<T>(warp, inst, mask, access);
}

template <template <class> class Shape>
Handler byMemoryType(Type type) {
  switch (sizeOf(type)) {
  case 1:
    return type == Type::S8 ? Shape<int8_t>::run : Shape<uint8_t>::run;
  case 2:
    return type == Type::S16 ? Shape<int16_t>::run : Shape<uint16_t>::run;
  case 4:
    return type == Type::S32 ? Shape<int32_t>::run : Shape<uint32_t>::run;
  case 8:
    return Shape<uint64_t>::run;
  default:
    return nullptr;
  }
}

template <class T>
struct Load {
  static constexpr Handler run = load<T>;
};
template <class T>
struct Store {
  static constexpr Handler run = storeElements<T>;
};
template <class T>
struct LoadParam {
  static constexpr Handler run = loadParam<T>;
};

std::vector<Operand> elements(Decoder &decoder, size_t from, unsigned count) {
  const Operand &operand = decoder.statement().operands[from];
  std::vector<Operand> parts =
      operand.kind == Operand::Vector ? operand.parts : std::vector<Operand>{operand};
  if (parts.size() != count)
    decoder.fail("the vector does not have " + std::to_string(count) + " elements");
  return parts;
}

void takeCommon(Modifiers &modifiers, Inst &inst) {
  inst.space = takeSpace(modifiers);
  inst.strong = takeOrder(modifiers);
  takeCacheHints(modifiers);
  int vector = modifiers.takeOne({"v2", "v4"});
  inst.count = vector < 0 ? 1 : vector == 0 ? 2 : 4;
  inst.type = modifiers.type();
  inst.elementSize = static_cast<uint8_t>(sizeOf(inst.type));
  if (inst.elementSize == 0 || inst.elementSize * inst.count > 16)
    modifiers.fail();
}

void decodeParam(Decoder &decoder, Inst &inst) {
  inst.run = byMemoryType<LoadParam>(inst.type);
  for (const Operand &part : elements(decoder, 0, inst.count))
    decoder.destination(inst, part, inst.type, true);
  const Operand &address = decoder.statement().operands[1];
  if (address.kind != Operand::Address)
    decoder.fail("an address in brackets expected");
  inst.offset = address.offset;
  inst.mode2 = address.parts[0].kind == Operand::Register;
  if (inst.mode2)
    decoder.source(inst, address.parts[0], Type::B64);
  else
    inst.offset += static_cast<int64_t>(decoder.param(address.parts[0].name).offset);
}

void decodeLoad(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  takeCommon(modifiers, inst);
  modifiers.take("nc");
  decoder.expectOperands(2);
  if (inst.space == Space::Param)
    return decodeParam(decoder, inst);
  noteGranule(decoder.kernel, inst.space, inst.elementSize * inst.count);
  inst.run = byMemoryType<Load>(inst.type);
  for (const Operand &part : elements(decoder, 0, inst.count))
    decoder.destination(inst, part, inst.type, true);
  inst.offset = decoder.address(inst, 1, inst.space);
}

void decodeStore(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  takeCommon(modifiers, inst);
  if (inst.space == Space::Param || inst.space == Space::Const)
    modifiers.fail();
  decoder.expectOperands(2);
  noteGranule(decoder.kernel, inst.space, inst.elementSize * inst.count);
  inst.run = byMemoryType<Store>(inst.type);
  inst.offset = decoder.address(inst, 0, inst.space);
  for (const Operand &part : elements(decoder, 1, inst.count))
    decoder.source(inst, part, inst.type, true);
}

// A hint: nothing to do.
void nothing(Warp &, const Inst &, Mask) {}

void decodePrefetch(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  Space space = takeSpace(modifiers);
  if (modifiers.takeOne({"L1", "L2"}) < 0)
    modifiers.fail();
  inst.run = nothing;
  decoder.address(inst, 0, space);
}

} // namespace

void addMemoryOps(OpcodeTable &table) {
  table["ld"] = decodeLoad;
  table["ldu"] = decodeLoad;
  table["st"] = decodeStore;
  table["prefetch"] = decodePrefetch;
}

} // namespace ptxsim
