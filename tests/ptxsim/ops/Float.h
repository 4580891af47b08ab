// Decoders of the float forms of opcodes that integers share.
#ifndef PTXSIM_OPS_FLOAT_H
#define PTXSIM_OPS_FLOAT_H

#include "tests/ptxsim/decode/Decoder.h"

namespace ptxsim {

using FloatDecoder = void (*)(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type);

void decodeFloatAdd(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type);
void decodeFloatSub(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type);
void decodeFloatMul(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type);
void decodeFloatFma(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type);
void decodeFloatDiv(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type);
void decodeFloatMin(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type);
void decodeFloatMax(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type);
void decodeFloatNeg(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type);
void decodeFloatAbs(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type);
void decodeNoFloat(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type);

/// f16 and bf16, one or two in a register (Half.cpp).
enum class HalfOp { Add, Sub, Mul, Fma, Min, Max, Neg, Abs, Tanh, Ex2 };
bool isHalf(Type type);
void decodeHalf(Decoder &decoder, Modifiers &modifiers, Inst &inst, Type type, HalfOp op);

} // namespace ptxsim

#endif
