// atom and red: read, change and write in one piece, lane after lane.
#include "tests/ptxsim/decode/Decoder.h"
#include "tests/ptxsim/machine/Access.h"
#include "tests/ptxsim/ops/Float.h"
#include "tests/ptxsim/ops/HalfNumbers.h"
#include "tests/ptxsim/ops/MemoryModifiers.h"
#include <atomic>

namespace ptxsim {
namespace {

struct Add {
  template <class T>
  static T apply(T old, T b, T) {
    return static_cast<T>(old + b);
  }
};
struct Min {
  template <class T>
  static T apply(T old, T b, T) {
    return b < old ? b : old;
  }
};
struct Max {
  template <class T>
  static T apply(T old, T b, T) {
    return old < b ? b : old;
  }
};
struct And {
  template <class T>
  static T apply(T old, T b, T) {
    return old & b;
  }
};
struct Or {
  template <class T>
  static T apply(T old, T b, T) {
    return old | b;
  }
};
struct Xor {
  template <class T>
  static T apply(T old, T b, T) {
    return old ^ b;
  }
};
struct Exchange {
  template <class T>
  static T apply(T, T b, T) {
    return b;
  }
};
struct CompareAndSwap {
  template <class T>
  static T apply(T old, T b, T c) {
    return old == b ? c : old;
  }
};
struct Increment {
  template <class T>
  static T apply(T old, T b, T) {
    return old >= b ? T(0) : static_cast<T>(old + 1);
  }
};
struct Decrement {
  template <class T>
  static T apply(T old, T b, T) {
    return old == 0 || old > b ? b : static_cast<T>(old - 1);
  }
};
// Pairs of 16-bit floats: each half with a rounding of its own.
template <float (*from)(uint16_t), uint16_t (*to)(float)>
struct AddPair {
  static uint32_t apply(uint32_t old, uint32_t b, uint32_t) {
    auto half = [&](int shift) {
      double sum = oddSum(from(static_cast<uint16_t>(old >> shift)),
                          from(static_cast<uint16_t>(b >> shift)));
      return static_cast<uint32_t>(to(oddFloat(sum))) << shift;
    };
    return half(0) | half(16);
  }
};

// Operands: the result, the address, b[, c]. Blocks on other threads do the same to the same place.
template <class Op, class T>
void run(Warp &warp, const Inst &inst, Mask mask) {
  Access access;
  access.mask = mask;
  access.bytes = sizeof(T);
  fillAddresses(warp, inst, 1, inst.offset, access);
  Mask good = checkAccess(warp, inst, access, AccessKind::Atomic);
  const T *b = warp.row<T>(inst, 2);
  const T *c = inst.operand[3] == noOperand ? b : warp.row<T>(inst, 3);
  T *to = warp.row<T>(inst, 0);
  forLanes(good, [&](int lane) {
    std::atomic_ref<T> place(*reinterpret_cast<T *>(access.host[lane]));
    T old = place.load();
    while (!place.compare_exchange_weak(old, Op::apply(old, b[lane], c[lane])))
      ;
    to[lane] = old;
  });
  countAccess(warp, inst, access, true);
}

template <class Op>
Handler integers(Type type) {
  switch (type) {
  case Type::B32:
  case Type::U32:
    return run<Op, uint32_t>;
  case Type::S32:
    return run<Op, int32_t>;
  case Type::B64:
  case Type::U64:
    return run<Op, uint64_t>;
  case Type::S64:
    return run<Op, int64_t>;
  default:
    return nullptr;
  }
}

Handler addition(Type type) {
  switch (type) {
  case Type::F32:
    return run<Add, float>;
  case Type::F64:
    return run<Add, double>;
  case Type::F16x2:
    return run<AddPair<fromF16, toF16>, uint32_t>;
  case Type::BF16x2:
    return run<AddPair<fromBf16, toBf16>, uint32_t>;
  default:
    return integers<Add>(type);
  }
}

Handler handlerOf(int operation, Type type) {
  switch (operation) {
  case 0:
    return addition(type);
  case 1:
    return integers<Min>(type);
  case 2:
    return integers<Max>(type);
  case 3:
    return integers<And>(type);
  case 4:
    return integers<Or>(type);
  case 5:
    return integers<Xor>(type);
  case 6:
    return integers<Exchange>(type);
  case 7:
    return integers<CompareAndSwap>(type);
  case 8:
    return type == Type::U32 ? run<Increment, uint32_t> : nullptr;
  case 9:
    return type == Type::U32 ? run<Decrement, uint32_t> : nullptr;
  default:
    return nullptr;
  }
}

template <bool returnsOld>
void decodeAtomic(Decoder &decoder, Modifiers &modifiers, Inst &inst) {
  inst.space = takeSpace(modifiers);
  takeOrder(modifiers);
  takeCacheHints(modifiers);
  inst.strong = true;
  inst.type = modifiers.type();
  int operation =
      modifiers.takeOne({"add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"});
  if (isHalf(inst.type) && !modifiers.take("noftz"))
    modifiers.fail();
  inst.run = handlerOf(operation, inst.type);
  if (!inst.run ||
      (inst.space != Space::Generic && inst.space != Space::Global && inst.space != Space::Shared))
    modifiers.fail();
  noteGranule(decoder.kernel, inst.space, sizeOf(inst.type));
  const Operand sink;
  size_t at = 0;
  decoder.expectOperands((operation == 7 ? 3 : 2) + (returnsOld ? 1 : 0));
  decoder.destination(inst, returnsOld ? decoder.statement().operands[at++] : sink, inst.type,
                      false, true);
  inst.offset = decoder.address(inst, at++, inst.space);
  decoder.source(inst, at++, inst.type);
  if (operation == 7)
    decoder.source(inst, at++, inst.type);
}

} // namespace

void addAtomicOps(OpcodeTable &table) {
  table["atom"] = decodeAtomic<true>;
  table["red"] = decodeAtomic<false>;
}

} // namespace ptxsim
