// What a module is at every stage: a model, its limits, programs; what passes chose for it.
#ifndef LORA_PROGRAM_OPS_TD
#define LORA_PROGRAM_OPS_TD

include "LoraBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/FunctionInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Lora_ModelOp : Lora_Op<"model"> {
  let summary = "the model's architecture and its numbers";
  let description = [{
    `hyper` is what the model's file or the spec gives for the architecture's parameters.
    ```mlir
    lora.model "llama" {head_dim = 16 : i64, hidden_size = 64 : i64, layers = 2 : i64, vocab_size = 512 : i64}
    ```
  }];
  let arguments = (ins StrAttr:$architecture, DictionaryAttr:$hyper);
  let assemblyFormat = "$architecture $hyper attr-dict";
}

def Lora_LimitsOp : Lora_Op<"limits"> {
  let summary = "the most that a program is made for";
  let description = [{
    `tokens` of a micro-batch and `length` of a sample. `head_rows` of the logits exist at a time: chosen by PlanRecompute where memory
    asks for it, else by SelectKernels. `memory`, if there is a limit, is what weights, arena and scratch of `workers` threads may take, in bytes.
    A program for text has `sequences` with a cache, of `length` positions each; elsewhere a micro-batch has at most as many samples as tokens.
    - (C1) all are positive.
    ```mlir
    lora.limits tokens 128 length 32
    lora.limits tokens 128 length 32 head_rows 128 memory 4194304 workers 2
    lora.limits tokens 64 length 2048 head_rows 1 sequences 1
    ```
  }];
  let arguments = (ins I64Attr:$tokens, I64Attr:$length, OptionalAttr<I64Attr>:$head_rows, OptionalAttr<I64Attr>:$memory,
                       OptionalAttr<I64Attr>:$workers, OptionalAttr<I64Attr>:$sequences);
  let assemblyFormat = [{
    `tokens` $tokens `length` $length (`head_rows` $head_rows^)? (`memory` $memory^)? (`workers` $workers^)? (`sequences` $sequences^)? attr-dict
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Segments that a run has at most.
    int64_t segments() { return getSequences().value_or(getTokens()); }
  }];
}

def Lora_When : I32EnumAttr<"When", "when a program runs", [
    I32EnumAttrCase<"MicroBatch", 0, "micro_batch">, I32EnumAttrCase<"WindowEnd", 1, "window_end">,
    I32EnumAttrCase<"Update", 2, "update">, I32EnumAttrCase<"Allocation", 3, "allocation">,
    I32EnumAttrCase<"Inference", 4, "inference">, I32EnumAttrCase<"Start", 5, "start">,
    I32EnumAttrCase<"WindowBegin", 6, "window_begin">]> {
  let cppNamespace = "::lorac::lora";
}

def Lora_ProgramOp : Lora_Op<"program", [FunctionOpInterface, IsolatedFromAbove]> {
  let summary = "a part of a step, and when it runs";
  let description = [{
    `start`: once, before the first step. `window_begin`: before the micro-batches of a step, whose gradients add up; `micro_batch`: each
    of them; `window_end`: when the gradients are there. `update`: behind that, if they are finite. `allocation`: where AdaLoRA gives ranks.
    `inference`: for evaluation and text; a step in between finds nothing that it needs, and leaves nothing. What it reads and writes of the arena's regions are its `lora.buffer`s of the role `region`.
    - (C1) it has a body, and what `lora.return` gives has the types that it states.
    ```mlir
    lora.program inference @head(%h: tensor<?x64xf32>) -> tensor<?x512xf32> {
      %w = lora.use @lm_head.weight : !lora.weight<512x64, f32>
      %y = lora.linear %h, %w : (tensor<?x64xf32>, !lora.weight<512x64, f32>) -> tensor<?x512xf32>
      lora.return %y : tensor<?x512xf32>
    }
    ```
  }];
  let arguments = (ins Lora_When:$runs, SymbolNameAttr:$sym_name, TypeAttrOf<FunctionType>:$function_type,
                       OptionalAttr<DictArrayAttr>:$arg_attrs, OptionalAttr<DictArrayAttr>:$res_attrs);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "::lorac::lora::When":$runs, "::llvm::StringRef":$name, "::mlir::FunctionType":$type)>];
  let extraClassDeclaration = [{
    ::llvm::ArrayRef<::mlir::Type> getArgumentTypes() { return getFunctionType().getInputs(); }
    ::llvm::ArrayRef<::mlir::Type> getResultTypes() { return getFunctionType().getResults(); }
    ::mlir::Region *getCallableRegion() { return &getBody(); }
    bool isInference() { return getRuns() == ::lorac::lora::When::Inference; }
  }];
}

def Lora_ReturnOp : Lora_Op<"return", [Pure, Terminator, ReturnLike, HasParent<"ProgramOp">]> {
  let summary = "what a program gives";
  let description = [{
    - (C1) its values have the types of the program's results.
    ```mlir
    lora.return %y : tensor<?x512xf32>
    ```
  }];
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
  let builders = [OpBuilder<(ins), [{ build($_builder, $_state, ::mlir::ValueRange()); }]>];
  let hasVerifier = 1;
}

def Lora_RecomputeOp : Lora_Op<"recompute", [SingleBlock, NoTerminator, NoRegionArguments]> {
  let summary = "what PlanRecompute chose: which layers keep what, and what comes again";
  let description = [{
    For readers, and for the next try where the plan takes more than it may. Bytes that are `kept` for the backward pass, the `flops` of what is
    computed again, the estimated peak of the locals. `least`: less could not be kept. Neighbouring layers that are alike are one line; layer
    -1 is what stands before the first.
    ```mlir
    lora.recompute kept 106496 flops 184320 estimate 303104 evaluations 1 {
      lora.layers -1 to -1 kept 8192 flops 0 again []
      lora.layers 0 to 1 kept 49152 flops 92160 again ["input_layernorm", "map"]
    }
    ```
  }];
  let arguments = (ins I64Attr:$kept, I64Attr:$flops, I64Attr:$estimate, I64Attr:$evaluations, UnitAttr:$least);
  let regions = (region SizedRegion<1>:$layers);
  let assemblyFormat = "`kept` $kept `flops` $flops `estimate` $estimate `evaluations` $evaluations (`least` $least^)? attr-dict-with-keyword $layers";
}

def Lora_LayersOp : Lora_Op<"layers", [HasParent<"RecomputeOp">]> {
  let summary = "of some layers: bytes that each keeps, FLOP that each computes again, and what";
  let description = "See `lora.recompute`.";
  let arguments = (ins I64Attr:$first, I64Attr:$last, I64Attr:$kept, I64Attr:$flops, StrArrayAttr:$again);
  let assemblyFormat = "$first `to` $last `kept` $kept `flops` $flops `again` $again attr-dict";
}

def Lora_ArenaOp : Lora_Op<"arena"> {
  let summary = "the bytes of the arena, which the runtime allocates";
  let description = [{
    What lies before `persistent` keeps its place throughout; behind it programs have their locals.
    ```mlir
    lora.arena bytes 4736 persistent 576
    ```
  }];
  let arguments = (ins I64Attr:$bytes, I64Attr:$persistent);
  let assemblyFormat = "`bytes` $bytes `persistent` $persistent attr-dict";
}

#endif
