// The `device` dialect: what a CUDA kernel needs beside arith, math, scf, memref and gpu.
#ifndef LORAC_DEVICE_OPS_TD
#define LORAC_DEVICE_OPS_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Device_Dialect : Dialect {
  let name = "device";
  let cppNamespace = "::lorac::device";
  let summary = "What a warp of a CUDA device does: asynchronous copies, fragments, tensor-core products, packed codes";
  let description = [{
    One op an instruction of sm_80 (of sm_90a where that is said) or a few of them; CudaPrinter writes each as a call of a named function. A `ui32` is a register that
    holds two 16-bit numbers, or eight 4-bit codes. Fragments lie in local arrays of such registers.
  }];
  let useDefaultTypePrinterParser = 1;
}

class Device_Op<string mnemonic, list<Trait> traits = []> : Op<Device_Dialect, mnemonic, traits>;

def Device_CodesType : TypeDef<Device_Dialect, "Codes"> {
  let mnemonic = "codes";
  let summary = "sixteen numbers of 16 bits, in registers";
}

def Device_Word : UI<32>;
def Device_Half : AnyTypeOf<[BF16, F16]>;

//===--- memory ---===//

def Device_SharedOp : Device_Op<"shared", [Pure]> {
  let summary = "a part of the block's dynamic shared memory, from a byte on";
  let description = [{
    ```mlir
    %x_tile = device.shared at 0 : memref<8192xbf16, #gpu.address_space<workgroup>>
    ```
  }];
  let arguments = (ins I64Attr:$offset);
  let results = (outs AnyMemRef:$memory);
  let assemblyFormat = "`at` $offset attr-dict `:` type($memory)";
}

def Device_AdvanceOp : Device_Op<"advance", [Pure, AllTypesMatch<["memory", "result"]>]> {
  let summary = "the same memory from an element on";
  let description = "A pointer under a name of its own: constant distances from it cost no arithmetic.";
  let arguments = (ins AnyMemRef:$memory, I32:$index);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$memory `[` $index `]` attr-dict `:` type($memory)";
}

def Device_KeepOp : Device_Op<"keep", [AllTypesMatch<["value", "result"]>]> {
  let summary = "the same number, in a register of its own";
  let description = "The compiler does not see through it, so it cannot compute the number again in each round of a loop.";
  let arguments = (ins I32:$value);
  let results = (outs I32:$result);
  let assemblyFormat = "$value attr-dict";
}

def Device_CopyOp : Device_Op<"copy", [AttrSizedOperandSegments]> {
  let summary = "4, 8 or 16 bytes in one instruction";
  let description = [{
    Both places are aligned to `bytes`. Indices count elements; a local array takes all its dimensions' indices.
    ```mlir
    device.copy %from[%i] to %words[%j] bytes 16 : memref<?xbf16>, memref<4xui32, #gpu.address_space<private>>
    ```
  }];
  let arguments = (ins AnyMemRef:$from, Variadic<I32>:$fromIndices, AnyMemRef:$to, Variadic<I32>:$toIndices, I64Attr:$bytes);
  let assemblyFormat = [{
    $from `[` $fromIndices `]` `to` $to `[` $toIndices `]` `bytes` $bytes attr-dict `:` type($from) `,` type($to)
  }];
}

def Device_StorePairOp : Device_Op<"store_pair"> {
  let summary = "a register's two 16-bit numbers to an even place in memory";
  let arguments = (ins Device_Word:$pair, AnyMemRef:$to, I32:$index);
  let assemblyFormat = "$pair `,` $to `[` $index `]` attr-dict `:` type($to)";
}

def Device_CopyAsyncOp : Device_Op<"copy_async"> {
  let summary = "cp.async: 16 bytes from global to shared memory, behind the warp's back";
  let description = [{
    Of the 16 bytes only the first `size` are read, the rest becomes zero. Done when `device.wait` says so.
    ```mlir
    device.copy_async %x[%i] to %x_tile[%j] size %bytes : memref<?xbf16>, memref<8192xbf16, #gpu.address_space<workgroup>>
    ```
  }];
  let arguments = (ins AnyMemRef:$from, I32:$fromIndex, AnyMemRef:$to, I32:$toIndex, Optional<I32>:$size);
  let assemblyFormat = [{
    $from `[` $fromIndex `]` `to` $to `[` $toIndex `]` (`size` $size^)? attr-dict `:` type($from) `,` type($to)
  }];
}

def Device_CommitOp : Device_Op<"commit"> {
  let summary = "closes the group of this thread's asynchronous copies";
  let assemblyFormat = "attr-dict";
}

def Device_WaitOp : Device_Op<"wait"> {
  let summary = "waits until at most `groups` of the newest groups are still on their way";
  let arguments = (ins I64Attr:$groups);
  let assemblyFormat = "$groups attr-dict";
}

//===--- tensor cores ---===//

def Device_LdMatrixOp : Device_Op<"ldmatrix"> {
  let summary = "ldmatrix.x4: four 8x8 matrices of 16-bit numbers from shared memory";
  let description = [{
    Lane l gives the address of row l % 8 of matrix l / 8 (16 bytes, aligned). Register j of lane l then holds elements
    2(l % 4) and 2(l % 4) + 1 of row l / 4 of matrix j; with `trans`, of its column. (PTX ISA, "ldmatrix")
    `registers` are four in a row of a local array, named by the indices before its last one.
    ```mlir
    device.ldmatrix %x_tile[%i] to %a[%m] : memref<8192xbf16, #gpu.address_space<workgroup>>, memref<4x4xui32, #gpu.address_space<private>>
    ```
  }];
  let arguments = (ins AnyMemRef:$from, I32:$index, AnyMemRef:$registers, Variadic<I32>:$indices, UnitAttr:$trans);
  let assemblyFormat = [{
    $from `[` $index `]` (`trans` $trans^)? `to` $registers `[` $indices `]` attr-dict `:` type($from) `,` type($registers)
  }];
}

def Device_MmaOp : Device_Op<"mma", [AttrSizedOperandSegments]> {
  let summary = "mma.m16n8k16: sums += a·b, float32 sums of 16-bit products";
  let description = [{
    Fragments as the PTX ISA lays them out ("Matrix fragments for mma.m16n8k16 with floating point type"): four registers of a, two of b,
    four sums: rows l / 4 and l / 4 + 8, columns 2(l % 4) and the next.
    ```mlir
    device.mma %sums[%i, %j], %a[%i], %b0, %b1 of bf16 : memref<4x8x4xf32, …>, memref<4x4xui32, …>
    ```
  }];
  let arguments = (ins AnyMemRef:$sums, Variadic<I32>:$sumIndices, AnyMemRef:$a, Variadic<I32>:$aIndices, Device_Word:$b0, Device_Word:$b1,
                       TypeAttr:$element);
  let assemblyFormat = [{
    $sums `[` $sumIndices `]` `,` $a `[` $aIndices `]` `,` $b0 `,` $b1 `of` $element attr-dict `:` type($sums) `,` type($a)
  }];
  let hasVerifier = 1;
}

//===--- warpgroups (sm_90a) ---===//

def Device_DescriptorOp : Device_Op<"descriptor", [Pure]> {
  let summary = "the low half of a matrix descriptor: where a tile begins, in units of 16 bytes";
  let description = [{
    The tile lies in rows of 128 bytes, pieces of 16 of row r at piece ^ (r % 8), eight rows in 1024 bytes at a multiple of that. `lead`:
    bytes to the next 64 columns, where rows run along the depth. What is added to the result moves the begin, in units of 16 bytes. (PTX
    ISA, "Matrix descriptor format")
    ```mlir
    %a = device.descriptor %x_tile[%i] lead 16 : memref<65536xi8, #gpu.address_space<workgroup>>
    ```
  }];
  let arguments = (ins AnyMemRef:$memory, I32:$index, I64Attr:$lead);
  let results = (outs I32:$low);
  let assemblyFormat = "$memory `[` $index `]` `lead` $lead attr-dict `:` type($memory)";
}

def Device_WarpgroupMmaOp : Device_Op<"warpgroup_mma"> {
  let summary = "wgmma.m64nNk16: sums += a·b of four warps, both from shared memory, behind their backs";
  let description = [{
    `sums`, named by the indices before its last two, are N/8 x 4 registers: for eight columns those of `device.mma`; warp w of the four has
    rows 16w to 16w + 15. N is 128 or 256. They are nobody's until `device.warpgroup_wait`. With `trans` b lies as [depth, columns].
    ```mlir
    device.warpgroup_mma %sums[%i], %a, %b of bf16 : memref<2x16x4xf32, #gpu.address_space<private>>
    ```
  }];
  let arguments = (ins AnyMemRef:$sums, Variadic<I32>:$sumIndices, I32:$a, I32:$b, TypeAttr:$element, UnitAttr:$trans);
  let assemblyFormat = [{
    $sums `[` $sumIndices `]` `,` $a `,` $b `of` $element (`trans` $trans^)? attr-dict `:` type($sums)
  }];
  let hasVerifier = 1;
}

def Device_WarpgroupFenceOp : Device_Op<"warpgroup_fence"> {
  let summary = "sums that others have used are there for the products that follow";
  let arguments = (ins AnyMemRef:$sums);
  let assemblyFormat = "$sums attr-dict `:` type($sums)";
}

def Device_WarpgroupCommitOp : Device_Op<"warpgroup_commit"> {
  let summary = "closes the group of this warpgroup's products";
  let assemblyFormat = "attr-dict";
}

def Device_WarpgroupWaitOp : Device_Op<"warpgroup_wait"> {
  let summary = "waits until at most `groups` of the newest groups of products are still on their way";
  let description = "`sums` can be used behind it; nothing of them where some groups are left.";
  let arguments = (ins I64Attr:$groups, Optional<AnyMemRef>:$sums);
  let assemblyFormat = "$groups (`for` $sums^ `:` type($sums))? attr-dict";
}

def Device_ProxyFenceOp : Device_Op<"proxy_fence"> {
  let summary = "what this thread wrote to shared memory is there for products of warpgroups, behind the next barrier";
  let assemblyFormat = "attr-dict";
}

//===--- packed numbers ---===//

def Device_PackOp : Device_Op<"pack", [Pure]> {
  let summary = "two float32 as 16-bit numbers in a register, rounded to nearest even; `low` in the low half";
  let arguments = (ins F32:$low, F32:$high, TypeAttr:$element);
  let results = (outs Device_Word:$word);
  let assemblyFormat = "$low `,` $high `of` $element attr-dict";
}

def Device_UnpackOp : Device_Op<"unpack", [Pure]> {
  let summary = "one of a register's two 16-bit numbers as float32";
  let arguments = (ins Device_Word:$word, TypeAttr:$element, UnitAttr:$high);
  let results = (outs F32:$value);
  let assemblyFormat = "$word `of` $element (`high` $high^)? attr-dict";
}

def Device_MulPairsOp : Device_Op<"mul_pairs", [Pure]> {
  let summary = "products of two pairs of 16-bit numbers, each rounded once";
  let arguments = (ins Device_Word:$x, Device_Word:$y, TypeAttr:$element);
  let results = (outs Device_Word:$word);
  let assemblyFormat = "$x `,` $y `of` $element attr-dict";
}

def Device_ZipOp : Device_Op<"zip", [Pure]> {
  let summary = "the low halves of two registers as one; the high halves with `high`";
  let description = "x's half comes first, in the low half of the result.";
  let arguments = (ins Device_Word:$x, Device_Word:$y, UnitAttr:$high);
  let results = (outs Device_Word:$word);
  let assemblyFormat = "$x `,` $y (`high` $high^)? attr-dict";
}

def Device_CodeTableOp : Device_Op<"code_table", []> {
  let summary = "the sixteen values of a 4-bit code as 16-bit numbers, kept in eight registers";
  let description = [{
    They make a round trip through `scratch` (32 bytes of shared memory): ptxas would otherwise build the constants again before each use.
    All threads of the block take part.
  }];
  let arguments = (ins AnyMemRef:$scratch, DenseF32ArrayAttr:$values, TypeAttr:$element);
  let results = (outs Device_CodesType:$table);
  let assemblyFormat = "$values `through` $scratch `of` $element attr-dict `:` type($scratch)";
}

def Device_DecodeOp : Device_Op<"decode", []> {
  let summary = "the eight 4-bit codes of a register as four registers of pairs";
  let description = [{
    Code j, in bits 4j..4j+3, becomes number j: register j / 2 from the indexed one on. Eight byte permutations and three masks for four
    codes.
    ```mlir
    device.decode %word by %table to %pairs[%c4] : memref<8xui32, #gpu.address_space<private>>
    ```
  }];
  let arguments = (ins Device_Word:$word, Device_CodesType:$table, AnyMemRef:$registers, Variadic<I32>:$indices);
  let assemblyFormat = "$word `by` $table `to` $registers `[` $indices `]` attr-dict `:` type($registers)";
}

def Device_ByteOp : Device_Op<"byte", [Pure]> {
  let summary = "a byte of a register as a number, its sign kept";
  let arguments = (ins Device_Word:$word, I64Attr:$byte);
  let results = (outs F32:$value);
  let assemblyFormat = "$word `[` $byte `]` attr-dict";
}

def Device_PhiloxOp : Device_Op<"philox", [Pure]> {
  let summary = "whether an element is kept: its word of Philox4x32-10 is at least `threshold`";
  let description = [{
    Element `e = row * columns + column` has word `e % 4` at counter `{e/4 low, e/4 high, stream, micro}` under key `{seed, step}`
    (Salmon et al. 2011).
  }];
  let arguments = (ins I32:$row, I32:$columns, I32:$column, I32:$stream, I32:$micro, I32:$seed, I32:$step, I64Attr:$threshold);
  let results = (outs I1:$keep);
  let assemblyFormat = "$row `,` $columns `,` $column `,` $stream `,` $micro `,` $seed `,` $step `at_least` $threshold attr-dict";
}

//===--- the step ---===//

def Device_StepOp : Device_Op<"step", []> {
  let summary = "a field of the step's scalars (LoracStep in runtime/abi.h)";
  let description = [{
    `tokens`, `segments`, `seed`, `step`, `micro` are i32, `loss_scale` is f32.
  }];
  let arguments = (ins StrAttr:$field);
  let results = (outs AnyTypeOf<[I32, F32]>:$value);
  let assemblyFormat = "$field attr-dict `:` type($value)";
}

def Device_ReturnIfOp : Device_Op<"return_if"> {
  let summary = "threads for which the condition holds are done";
  let arguments = (ins I1:$condition);
  let assemblyFormat = "$condition attr-dict";
}

#endif
