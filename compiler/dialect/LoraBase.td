// The dialect, its weight type and the storage formats of frozen weights.
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

def Lora_FormatKind : I32EnumAttr<"FormatKind", "how a frozen weight is stored", [
    I32EnumAttrCase<"F32", 0, "f32">, I32EnumAttrCase<"F16", 1, "f16">, I32EnumAttrCase<"BF16", 2, "bf16">,
    I32EnumAttrCase<"Q8_0", 3, "q8_0">, I32EnumAttrCase<"Q4_0", 4, "q4_0">, I32EnumAttrCase<"Q4_1", 5, "q4_1">,
    I32EnumAttrCase<"NF4", 6, "nf4">, I32EnumAttrCase<"FP4", 7, "fp4">, I32EnumAttrCase<"Vector", 8, "vector">]> {
  let cppNamespace = "::lorac::lora";
  let genSpecializedAttr = 0;
}

def Lora_WeightType : TypeDef<Lora_Dialect, "Weight"> {
  let mnemonic = "weight";
  let summary = "a frozen weight `[out, in]` (or a norm's `[n]`) in a storage format";
  let description = [{
    `nf4` and `fp4` state the block (over the flat row-major matrix) and, for double quantization, `dq256`.
    ```mlir
    !lora.weight<64x176, f32>
    !lora.weight<64x176, nf4<64, dq256>>
    ```
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape, "FormatKind":$format, "int64_t":$block, "bool":$doubleQuant);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// The format as docs/design.md spells it: `nf4<64, dq256>`.
    std::string formatName() const;
  }];
}

// Activations and adapter factors.
def Lora_Tensor : RankedTensorOf<[F32]>;
def Lora_Ints : RankedTensorOf<[I32]>;

class Lora_Op<string mnemonic, list<Trait> traits = []> : Op<Lora_Dialect, mnemonic, traits>;

#endif
