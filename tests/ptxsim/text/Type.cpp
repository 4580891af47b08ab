#include "tests/ptxsim/text/Type.h"

namespace ptxsim {
namespace {

struct Entry {
  std::string_view name;
  Type type;
  unsigned size;
};

constexpr Entry entries[] = {
    {"pred", Type::Pred, 0}, {"b8", Type::B8, 1},         {"b16", Type::B16, 2},
    {"b32", Type::B32, 4},   {"b64", Type::B64, 8},       {"u8", Type::U8, 1},
    {"u16", Type::U16, 2},   {"u32", Type::U32, 4},       {"u64", Type::U64, 8},
    {"s8", Type::S8, 1},     {"s16", Type::S16, 2},       {"s32", Type::S32, 4},
    {"s64", Type::S64, 8},   {"f16", Type::F16, 2},       {"f16x2", Type::F16x2, 4},
    {"bf16", Type::BF16, 2}, {"bf16x2", Type::BF16x2, 4}, {"tf32", Type::TF32, 4},
    {"f32", Type::F32, 4},   {"f64", Type::F64, 8},
};

} // namespace

std::optional<Type> parseType(std::string_view name) {
  for (const Entry &entry : entries)
    if (entry.name == name)
      return entry.type;
  return std::nullopt;
}

std::string_view nameOf(Type type) { return entries[static_cast<int>(type)].name; }

unsigned sizeOf(Type type) { return entries[static_cast<int>(type)].size; }

bool isSigned(Type type) {
  return type == Type::S8 || type == Type::S16 || type == Type::S32 || type == Type::S64;
}

bool isFloat(Type type) { return type >= Type::F16; }

Type asUnsigned(Type type) {
  switch (sizeOf(type)) {
  case 1:
    return Type::U8;
  case 2:
    return Type::U16;
  case 4:
    return Type::U32;
  case 8:
    return Type::U64;
  default:
    return Type::Pred;
  }
}

} // namespace ptxsim
