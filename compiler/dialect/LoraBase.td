// The dialect and its weight type.
#ifndef LORA_BASE_TD
#define LORA_BASE_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"

def Lora_Dialect : Dialect {
  let name = "lora";
  let cppNamespace = "::lorac::lora";
  let summary = "Training steps of low-rank adapters over frozen, possibly quantized weights";
  let description = [{
    Tensors in, tensors out, under the names that papers use. `tokens`, the first dimension of every activation, is dynamic:
    samples stand one after another and `segments` cuts them. A frozen weight carries its storage format in its type, so
    dequantization is a property of an operand and never an op that materialises a matrix.
  }];
  let useDefaultTypePrinterParser = 1;
}

def Lora_WeightType : TypeDef<Lora_Dialect, "Weight"> {
  let mnemonic = "weight";
  let summary = "a frozen weight `[out, in]` (or a norm's `[n]`) in a storage format";
  let description = [{
    The format is a kernel's layout, not a file's type (docs/plan.md, "Frozen weights"): numbers; integer codes of 4 or 8 bits with a
    scale, of a type, and perhaps a minimum for each block of a row; codes of a table of 16 numbers, whose blocks run over the flat
    row-major matrix and whose scales may be quantized too (`dq256`).
    ```mlir
    !lora.weight<64x176, f32>
    !lora.weight<64x176, int8<16, f32>>
    !lora.weight<64x256, int4<32, f32, min>>
    !lora.weight<64x176, nf4<64, dq256>>
    ```
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape, TypeParameter<"::lorac::formats::WeightFormat", "as formats::toString spells it">:$format);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

// Activations and adapter factors.
def Lora_Tensor : RankedTensorOf<[F32]>;
def Lora_Ints : RankedTensorOf<[I32]>;

class Lora_Op<string mnemonic, list<Trait> traits = []> : Op<Lora_Dialect, mnemonic, traits>;

#endif
