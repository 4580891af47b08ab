// The scalar types of PTX and what the simulator asks of them.
#ifndef PTXSIM_TEXT_TYPE_H
#define PTXSIM_TEXT_TYPE_H

#include <optional>
#include <string_view>

namespace ptxsim {

enum class Type : unsigned char {
  Pred,
  B8,
  B16,
  B32,
  B64,
  U8,
  U16,
  U32,
  U64,
  S8,
  S16,
  S32,
  S64,
  F16,
  F16x2,
  BF16,
  BF16x2,
  TF32,
  F32,
  F64,
};

/// The type that a suffix such as "u32" names.
std::optional<Type> parseType(std::string_view name);
std::string_view nameOf(Type type);

/// Bytes of one lane's value. A predicate has none: it is one bit of the warp's mask.
unsigned sizeOf(Type type);
bool isSigned(Type type);
bool isFloat(Type type);

/// B32 and U32 are one thing to an addition: the unsigned integer of the same size.
Type asUnsigned(Type type);

} // namespace ptxsim

#endif
