// Ops of the stages 50-planned and 60-kernels: kernels, buffers with offsets, launches in order.
#ifndef LORA_PLAN_OPS_TD
#define LORA_PLAN_OPS_TD

include "LoraBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Lora_TileSpace : I32EnumAttr<"TileSpace", "what a kernel's tiles count", [
    I32EnumAttrCase<"Rows", 0, "rows">, I32EnumAttrCase<"Const", 1, "const">, I32EnumAttrCase<"Segments", 2, "segments">]> {
  let cppNamespace = "::lorac::lora";
}

def Lora_BufferRole : I32EnumAttr<"BufferRole", "whose a place in the arena is", [
    I32EnumAttrCase<"IO", 0, "io">, I32EnumAttrCase<"Table", 1, "table">, I32EnumAttrCase<"Param", 2, "param">,
    I32EnumAttrCase<"Grad", 3, "grad">, I32EnumAttrCase<"Local", 4, "local">, I32EnumAttrCase<"Region", 5, "region">]> {
  let cppNamespace = "::lorac::lora";
}

def Lora_RegionRole : I32EnumAttr<"RegionRole", "what a region of the arena holds", [
    I32EnumAttrCase<"Params", 0, "params">, I32EnumAttrCase<"Grads", 1, "grads">, I32EnumAttrCase<"State", 2, "state">,
    I32EnumAttrCase<"Importance", 3, "importance">, I32EnumAttrCase<"Unfolded", 4, "unfolded">, I32EnumAttrCase<"KvCache", 5, "kv_cache">]> {
  let cppNamespace = "::lorac::lora";
}

def Lora_Storage : I32EnumAttr<"Storage", "how the numbers of a region lie in memory", [
    I32EnumAttrCase<"Floats", 0, "floats">, I32EnumAttrCase<"Compact", 1, "compact">,
    I32EnumAttrCase<"DynamicSigned", 2, "dynamic8_signed">, I32EnumAttrCase<"DynamicUnsigned", 3, "dynamic8_unsigned">,
    I32EnumAttrCase<"Absmax", 4, "absmax">]> {
  let cppNamespace = "::lorac::lora";
}

def Lora_RegionOp : Lora_Op<"region", [Symbol]> {
  let summary = "a place of the arena that outlives programs";
  let description = [{
    Parameters, gradients, an optimizer's states, AdaLoRA's importance: regions of one order, a number of each element, parameter after
    parameter. `unfolded` holds lora_B alone, `kv_cache` the keys and values of a program for text. `offset` counts bytes from the arena's start; PlanMemory sets it (-1 before). Storages:
    - `floats`: float32. `compact`: float32 of some parameters alone, one after the other.
    - `dynamic8_signed`, `dynamic8_unsigned`: a byte each, bitsandbytes' dynamic 8-bit numbers in blocks of 256 of one parameter;
      `absmax`: float32, one for each block of the region that its name begins with.
    - (C1) it has no negative number of them.
    ```mlir
    lora.region @exp_avg state floats 4096 at 32768
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Lora_RegionRole:$role, Lora_Storage:$storage, I64Attr:$count, I64Attr:$offset);
  let assemblyFormat = "$sym_name $role $storage $count `at` $offset attr-dict";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    int64_t bytes();
    /// i8 or f32.
    ::mlir::Type elementType();
  }];
}

def Lora_ScalarOp : Lora_Op<"scalar"> {
  let summary = "a number that the host puts into a buffer before the program runs";
  let description = [{
    `formula` is postfix: numbers, `rate` (the learning rate), `update` (counts from 1), and `+ - * / pow sqrt neg min max`; computed in
    float64 and rounded once. With `by_group` n there is one for each rate group, n floats apart, and `rate` is that group's.
    - (C1) the formula leaves one number.
    - (C2) its place is in the buffer, a vector of f32.
    ```mlir
    lora.scalar %update[9] "decay" [1.0, "rate", 0.01, "*", "-"] by_group 2 : memref<13xf32>
    ```
  }];
  let arguments = (ins AnyMemRef:$memory, I64Attr:$at, StrAttr:$label, ArrayAttr:$formula, OptionalAttr<I64Attr>:$by_group);
  let assemblyFormat = "$memory `[` $at `]` $label $formula (`by_group` $by_group^)? attr-dict `:` type($memory)";
  let hasVerifier = 1;
}

def Lora_KernelOp : Lora_Op<"kernel", [Symbol, IsolatedFromAbove]> {
  let summary = "one kernel to be generated: a family and its parameters";
  let description = [{
    The name is the content key: identical layers share. `params` are those that docs/plan.md lists for the family; `tile`, `count`
    and `scratch` (bytes a worker) are what the family's `describe` answered. The region is the body of a `map` or of what goes over elements (`each`), or empty.
    ```mlir
    lora.kernel @rms_norm_forward_64 family "rms_norm_forward" rows tile 16 count 0 scratch 0 {n = 64 : i64, ldx = 64 : i64, ldy = 64 : i64, eps = 1.0e-5 : f64}
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$family, Lora_TileSpace:$space, I64Attr:$tile, I64Attr:$count,
                       I64Attr:$scratch, DictionaryAttr:$params);
  let regions = (region AnyRegion:$body);
  let assemblyFormat = [{
    $sym_name `family` $family $space `tile` $tile `count` $count `scratch` $scratch $params attr-dict-with-keyword (`body` $body^)?
  }];
  let extraClassDeclaration = [{
    /// A parameter by name; asserts that it is there (SelectKernels wrote it).
    int64_t intParam(::llvm::StringRef name);
    double floatParam(::llvm::StringRef name);
    ::llvm::StringRef stringParam(::llvm::StringRef name);
    ::llvm::ArrayRef<int64_t> integers(::llvm::StringRef name);
    bool hasParam(::llvm::StringRef name);
    /// Of a kernel over elements (`each`): how each of its regions is stored; all `floats` where the param `storage` is not there.
    static ::llvm::SmallVector<Storage> storageOf(::mlir::DictionaryAttr params);
  }];
}

def Lora_BufferOp : Lora_Op<"buffer", [Pure]> {
  let summary = "a place in the arena";
  let description = [{
    `offset` counts bytes from the arena's start; PlanMemory sets it (-1 before). `role` says whose the place is: `io` (named by
    the label), `table`, `param` and `grad` (the label is the param's symbol) have places of their own, `local` shares by lifetime. A
    `region` is all of a `lora.region`, which the label names.
    A table of rope names its `lora.frequencies`.
    ```mlir
    %h = lora.buffer local "layers.0.h" at 4096 : memref<128x64xf32>
    ```
  }];
  let arguments = (ins Lora_BufferRole:$role, StrAttr:$label, I64Attr:$offset, OptionalAttr<FlatSymbolRefAttr>:$frequencies);
  let results = (outs AnyMemRef:$memory);
  let builders = [OpBuilder<(ins "::mlir::Type":$memory, "::lorac::lora::BufferRole":$role, "::llvm::StringRef":$label, "int64_t":$offset),
                            [{ build($_builder, $_state, memory, role, label, uint64_t(offset), ::mlir::FlatSymbolRefAttr()); }]>];
  let assemblyFormat = "$role $label `at` $offset attr-dict `:` type($memory)";
}

def Lora_SliceOp : Lora_Op<"slice", [Pure]> {
  let summary = "a part of a buffer that begins some bytes further";
  let description = [{
    ```mlir
    %c = lora.slice %h by 32768 : memref<256x64xf32> to memref<128x64xf32>
    ```
  }];
  let arguments = (ins AnyMemRef:$memory, I64Attr:$delta);
  let results = (outs AnyMemRef:$part);
  let assemblyFormat = "$memory `by` $delta attr-dict `:` type($memory) `to` type($part)";
}

def Lora_LaunchOp : Lora_Op<"launch", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "runs a kernel over rows `[begin, begin + count)` of the micro-batch";
  let description = [{
    `scalars` are integers that the kernel gets beside its buffers: what would make it another kernel for each value, such as ranks. On the CPU
    they are those that `scalars` of the kernel's params names, in that order.
    `flops` are those of all its rows; on a GPU `grid` is blocks in x, y and z.
    With `fixed` the rows are no tokens (those of a gradient of W, say): all of them, whatever the micro-batch holds.
    - (C1) the symbol is a `lora.kernel`.
    ```mlir
    lora.launch @rms_norm_forward_64(%x, %w, %h) rows [0, 128] : memref<128x64xf32>, !lora.weight<64, vector>, memref<128x64xf32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, Variadic<AnyTypeOf<[AnyMemRef, Lora_WeightType]>>:$buffers, I64Attr:$begin,
                       I64Attr:$count, OptionalAttr<DenseI64ArrayAttr>:$scalars, UnitAttr:$fixed,
                       DefaultValuedAttr<I64Attr, "0">:$flops, OptionalAttr<DenseI64ArrayAttr>:$grid);
  let assemblyFormat = "$kernel `(` $buffers `)` `rows` `[` $begin `,` $count `]` (`scalars` $scalars^)? (`fixed` $fixed^)? attr-dict `:` type($buffers)";
}

#endif
