// Ops of the stages 10-model to 40-fused: a model, its adapters, their gradients.
#ifndef LORA_OPS_TD
#define LORA_OPS_TD

include "LoraBase.td"
include "LoraInterfaces.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

//===--- symbols ---===//

def Lora_FrozenOp : Lora_Op<"frozen", [Symbol]> {
  let summary = "a frozen weight of the model";
  let description = [{
    Named by its Hugging Face tensor name. `layer` is the block that it belongs to. `gguf` is its name in GGUF files, `kind` what the
    architecture calls it; `permute_heads` is the number of heads whose rows a GGUF of this architecture stores in rope order (the reader
    undoes it); `hf_add` is what the reader adds to the numbers of a Hugging Face folder (Gemma's norms: it holds them less 1).
    ```mlir
    lora.frozen @"model.layers.0.self_attn.q_proj.weight" : !lora.weight<64x64, f32> layer 0 {gguf = "blk.0.attn_q.weight", kind = "linear", permute_heads = 4 : i64}
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<Lora_WeightType>:$type, OptionalAttr<I64Attr>:$layer, OptionalAttr<StrAttr>:$gguf,
                       OptionalAttr<StrAttr>:$kind, OptionalAttr<I64Attr>:$permute_heads, OptionalAttr<F64Attr>:$hf_add);
  let assemblyFormat = "$sym_name `:` $type (`layer` $layer^)? attr-dict";
}

def Lora_FrequenciesOp : Lora_Op<"frequencies", [Symbol]> {
  let summary = "the inverse frequencies of rotary positions";
  let description = [{
    Of each pair of a head by how much its angle grows with a position, scaled as the model's files ask. Each cosine and sine is multiplied
    by `factor`.
    ```mlir
    lora.frequencies @rope [1.0, 0.1] factor 1.0
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, DenseF32ArrayAttr:$inverse, F64Attr:$factor);
  let assemblyFormat = "$sym_name $inverse `factor` $factor attr-dict";
}

def Lora_AdapterOp : Lora_Op<"adapter", [Symbol]> {
  let summary = "the update of one frozen weight: its rank and scale";
  let description = [{
    Named by the adapted module. Rank 0: the module has none. `method` is one of compiler/methods; without it AdaLoRA where the rank `falls`,
    else LoRA. `falls` is AdaLoRA's: the rank at the start, the least and the most that an allocation may give.
    - (C1) neither the rank nor the bounds are negative.
    ```mlir
    lora.adapter @"model.layers.0.self_attn.q_proj" of @"model.layers.0.self_attn.q_proj.weight" rank 4 scale 2.0 dropout 0.1
    lora.adapter @"model.layers.0.self_attn.k_proj" of @"model.layers.0.self_attn.k_proj.weight" rank 4 scale 2.0 method "dora"
    lora.adapter @"model.layers.0.mlp.up_proj" of @"model.layers.0.mlp.up_proj.weight" rank 24 scale 1.0 falls [24, 0, 24]
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, FlatSymbolRefAttr:$weight, I64Attr:$rank, F64Attr:$scale, OptionalAttr<F64Attr>:$dropout,
                       OptionalAttr<StrAttr>:$method, OptionalAttr<DenseI64ArrayAttr>:$falls);
  let assemblyFormat = [{
    $sym_name `of` $weight `rank` $rank `scale` $scale (`dropout` $dropout^)? (`method` $method^)? (`falls` $falls^)? attr-dict
  }];
  let hasVerifier = 1;
}

def Lora_AdaLoraOp : Lora_Op<"adalora"> {
  let summary = "AdaLoRA: ranks of all adapters together, and the weight of the orthogonality term";
  let description = [{
    ```mlir
    lora.adalora initial 336 target 168 orth_reg_weight 0.5
    ```
  }];
  let arguments = (ins I64Attr:$initial, I64Attr:$target, F64Attr:$orth_reg_weight);
  let assemblyFormat = "`initial` $initial `target` $target `orth_reg_weight` $orth_reg_weight attr-dict";
}

def Lora_ParamRole : I32EnumAttr<"ParamRole", "what a trainable tensor is to its adapter", [
    I32EnumAttrCase<"LoraA", 0, "lora_A">, I32EnumAttrCase<"LoraB", 1, "lora_B">, I32EnumAttrCase<"LoraE", 2, "lora_E">,
    I32EnumAttrCase<"LoraMagnitude", 3, "lora_magnitude_vector">, I32EnumAttrCase<"LoraGate", 4, "lora_gate">]> {
  let cppNamespace = "::lorac::lora";
}

def Lora_ParamOp : Lora_Op<"param", [Symbol, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "a trainable tensor";
  let description = [{
    Its role in its adapter decides its learning rate. AdaLoRA's `lora_E` stands in no product: it is folded into B for a step
    (B·diag(E)), and its gradient is formed from that of the fold. `offset` counts floats from the start of a region; PlanMemory sets it.
    - (C1) the adapter is a `lora.adapter`, and its rank is a size of the tensor: `lora_A` has so many rows, `lora_B` columns, `lora_E` is r x 1.
      DoRA's `lora_magnitude_vector` and the `lora_gate` of gated LoRA have a number for each row of the adapter's weight.
    ```mlir
    lora.param @"model.layers.0.self_attn.q_proj.lora_A.weight" lora_A of @"model.layers.0.self_attn.q_proj" : tensor<4x64xf32>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<Lora_Tensor>:$type, OptionalAttr<Lora_ParamRole>:$role,
                       OptionalAttr<FlatSymbolRefAttr>:$adapter, OptionalAttr<I64Attr>:$offset);
  let assemblyFormat = "$sym_name ($role^ `of` $adapter)? `:` $type attr-dict";
  let extraClassDeclaration = [{
    bool is(::lorac::lora::ParamRole role) { return getRole() == role; }
    int64_t count() { return ::llvm::cast<::mlir::RankedTensorType>(getType()).getNumElements(); }
  }];
}

def Lora_StackOp : Lora_Op<"stack", [Symbol, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "trainable tensors as the rows of one matrix";
  let description = [{
    A name for params that lie one after another in the arena, so that products with each of them are one product: `x·Aᵀ` of q, k
    and v (OrderProducts). `lora.use` reads all rows, `lora.gradient` adds to the gradients of all parts.
    - (C1) the parts are `lora.param`s as wide as the stack, and their rows add up to its rows.
    ```mlir
    lora.stack @"self_attn.q_proj+k_proj.lora_A" [@"self_attn.q_proj.lora_A.weight", @"self_attn.k_proj.lora_A.weight"] : tensor<8x64xf32>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypedArrayAttrBase<FlatSymbolRefAttr, "params">:$parts, TypeAttrOf<Lora_Tensor>:$type);
  let assemblyFormat = "$sym_name $parts `:` $type attr-dict";
}

def Lora_UseOp : Lora_Op<"use", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "the value of a frozen weight, a trainable tensor or a stack of them";
  let description = [{
    - (C1) the symbol is a `lora.frozen`, a `lora.param` or a `lora.stack` and has the result's type.
    ```mlir
    %a = lora.use @"model.layers.0.self_attn.q_proj.lora_A.weight" : tensor<4x64xf32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$symbol);
  let results = (outs AnyTypeOf<[Lora_WeightType, Lora_Tensor]>:$value);
  let assemblyFormat = "$symbol attr-dict `:` type($value)";
}

def Lora_GradientOp : Lora_Op<"gradient", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "adds a value to the gradient of a trainable tensor";
  let description = [{
    - (C1) the symbol is a `lora.param` or a `lora.stack` of the value's type.
    ```mlir
    lora.gradient @"model.layers.0.self_attn.q_proj.lora_A.weight", %da : tensor<4x64xf32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$symbol, Lora_Tensor:$value);
  let assemblyFormat = "$symbol `,` $value attr-dict `:` type($value)";
}

def Lora_SetOp : Lora_Op<"set", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "gives a trainable tensor its value";
  let description = [{
    - (C1) the symbol is a `lora.param` of the value's type.
    ```mlir
    lora.set @"model.layers.0.self_attn.q_proj.lora_magnitude_vector", %n : tensor<64xf32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$symbol, Lora_Tensor:$value);
  let assemblyFormat = "$symbol `,` $value attr-dict `:` type($value)";
}

//===--- the described model ---===//

def Lora_EmbedOp : Lora_Op<"embed", [Pure]> {
  let summary = "rows of the embedding matrix";
  let description = [{
    `y[m, :] = W[ids[m], :]`.
    - (C1) `y` is `[tokens, in]` of a weight `[vocab, in]`.
    ```mlir
    %x = lora.embed %ids, %w : (tensor<?xi32>, !lora.weight<512x64, f32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Lora_Ints:$ids, Lora_WeightType:$weight);
  let results = (outs Lora_Tensor:$y);
  let assemblyFormat = "$ids `,` $weight attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Lora_RmsNormOp : Lora_Op<"rms_norm", [Pure, DeclareOpInterfaceMethods<Lora_DifferentiableOp>]> {
  let summary = "root-mean-square norm";
  let description = [{
    `y = x / sqrt(mean(x²) + eps) · w` (Zhang & Sennrich 2019, eq. 4), along the last dimension: of `[tokens, heads, d]` head by head.
    - (C1) `w` has the length of `x`'s last dimension.
    ```mlir
    %h = lora.rms_norm %x, %w eps 1.0e-05 : (tensor<?x64xf32>, !lora.weight<64, vector>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Lora_Tensor:$x, Lora_WeightType:$weight, F64Attr:$eps);
  let results = (outs Lora_Tensor:$y);
  let assemblyFormat = "$x `,` $weight `eps` $eps attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Lora_RmsNormBackwardOp : Lora_Op<"rms_norm_backward", [Pure]> {
  let summary = "gradient of rms_norm by its input";
  let description = [{
    With `s = 1/sqrt(mean(x²) + eps)`, `g = dy·w`: `dx = [onto +] s·g - x·s³·mean(g·x)`.
    ```mlir
    %dx = lora.rms_norm_backward %x, %w, %dy eps 1.0e-05 : (tensor<?x64xf32>, !lora.weight<64, vector>, tensor<?x64xf32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Lora_Tensor:$x, Lora_WeightType:$weight, Lora_Tensor:$dy, Optional<Lora_Tensor>:$onto, F64Attr:$eps);
  let results = (outs Lora_Tensor:$dx);
  let assemblyFormat = [{
    $x `,` $weight `,` $dy (`onto` `(` $onto^ `)`)? `eps` $eps attr-dict `:` functional-type(operands, results)
  }];
}

def Lora_LinearOp : Lora_Op<"linear", [Pure, DeclareOpInterfaceMethods<Lora_DifferentiableOp>]> {
  let summary = "product with a frozen weight `x·Wᵀ`";
  let description = [{
    - (C1) `x` is `[tokens, in]`, `y` is `[tokens, out]` of a weight `[out, in]`.
    ```mlir
    %y = lora.linear %x, %w : (tensor<?x64xf32>, !lora.weight<176x64, nf4<64, dq256>>) -> tensor<?x176xf32>
    ```
  }];
  let arguments = (ins Lora_Tensor:$x, Lora_WeightType:$weight);
  let results = (outs Lora_Tensor:$y);
  let assemblyFormat = "$x `,` $weight attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Lora_LinearBackwardOp : Lora_Op<"linear_backward", [Pure]> {
  let summary = "gradient of linear by its input: `dx = dy·W`";
  let description = [{
    - (C1) `dy` is `[tokens, out]`, `dx` is `[tokens, in]` of a weight `[out, in]`.
    ```mlir
    %dx = lora.linear_backward %dy, %w : (tensor<?x176xf32>, !lora.weight<176x64, f32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Lora_Tensor:$dy, Lora_WeightType:$weight);
  let results = (outs Lora_Tensor:$dx);
  let assemblyFormat = "$dy `,` $weight attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Lora_ViewOp : Lora_Op<"view", [Pure, DeclareOpInterfaceMethods<Lora_DifferentiableOp>]> {
  let summary = "the same rows under another shape: `[tokens, h*d]` and `[tokens, h, d]`";
  let description = [{
    - (C1) both shapes have the same number of elements a token.
    ```mlir
    %q = lora.view %y : tensor<?x64xf32> to tensor<?x4x16xf32>
    ```
  }];
  let arguments = (ins Lora_Tensor:$x);
  let results = (outs Lora_Tensor:$y);
  let assemblyFormat = "$x attr-dict `:` type($x) `to` type($y)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Lora_RopeOp : Lora_Op<"rope", [Pure, DeclareOpInterfaceMethods<Lora_DifferentiableOp>, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "rotary position embedding, halves rotated (Su et al. 2021, in Hugging Face's layout)";
  let description = [{
    With `c, s` the cosine and sine of `position · inverse[i]`, `i < d/2`, times the frequencies' factor:
    `y[i] = x[i]·c - x[i+d/2]·s`, `y[i+d/2] = x[i+d/2]·c + x[i]·s`; `inverse` rotates back.
    - (C1) `x` is `[tokens, heads, d]` with even `d`.
    - (C2) the symbol is a `lora.frequencies` of d/2 numbers.
    ```mlir
    %r = lora.rope %q, %positions by @rope : (tensor<?x4x16xf32>, tensor<?xi32>) -> tensor<?x4x16xf32>
    ```
  }];
  let arguments = (ins Lora_Tensor:$x, Lora_Ints:$positions, FlatSymbolRefAttr:$frequencies, UnitAttr:$inverse);
  let results = (outs Lora_Tensor:$y);
  let assemblyFormat = "$x `,` $positions `by` $frequencies (`inverse` $inverse^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Lora_AttentionOp : Lora_Op<"attention", [Pure, DeclareOpInterfaceMethods<Lora_DifferentiableOp>]> {
  let summary = "causal attention inside each segment, grouped heads";
  let description = [{
    `o = softmax(scale · q·kᵀ + causal mask)·v` for each head; query head `h` reads key head `h / (heads / kv_heads)`. `lse` is the
    logarithm of the sum of exponentials, which the backward pass needs (Dao 2022, section 3). With `window` w query i sees key j where
    i - w < j <= i. With `softcap` c a score s becomes c·tanh(s/c) before the mask.
    - (C1) `q` is `[tokens, heads, d]`, `k` and `v` are `[tokens, kv_heads, d]`, `heads` a multiple of `kv_heads`.
    - (C2) `o` is `[tokens, heads*d]`, `lse` is `[tokens, heads]`.
    - (C3) a window and a cap are positive.
    ```mlir
    %o, %lse = lora.attention %q, %k, %v, %segments scale 2.5e-01
        : (tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>) -> (tensor<?x64xf32>, tensor<?x4xf32>)
    ```
  }];
  let arguments = (ins Lora_Tensor:$q, Lora_Tensor:$k, Lora_Tensor:$v, Lora_Ints:$segments, F64Attr:$scale, OptionalAttr<I64Attr>:$window,
                       OptionalAttr<F64Attr>:$softcap);
  let results = (outs Lora_Tensor:$o, Lora_Tensor:$lse);
  let assemblyFormat = [{
    $q `,` $k `,` $v `,` $segments `scale` $scale (`window` $window^)? (`softcap` $softcap^)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Lora_AttentionBackwardOp : Lora_Op<"attention_backward", [Pure]> {
  let summary = "gradients of attention by q, k and v";
  let description = [{
    `p = exp(scale·q·kᵀ - lse)`, `dv = pᵀ·do`, `ds = p·(do·vᵀ - rowsum(do·o))`, `dq = scale·ds·k`, `dk = scale·dsᵀ·q`
    (Dao 2022, algorithm 4); keys' gradients sum over the query heads of their group. With `softcap` c, `ds` is times `1 - (s/c)²` of the
    capped score s.
    ```mlir
    %dq, %dk, %dv = lora.attention_backward %q, %k, %v, %segments, %o, %lse, %do scale 2.5e-01
        : (tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?x64xf32>, tensor<?x4xf32>, tensor<?x64xf32>)
        -> (tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>)
    ```
  }];
  let arguments = (ins Lora_Tensor:$q, Lora_Tensor:$k, Lora_Tensor:$v, Lora_Ints:$segments, Lora_Tensor:$o,
                       Lora_Tensor:$lse, Lora_Tensor:$dout, F64Attr:$scale, OptionalAttr<I64Attr>:$window, OptionalAttr<F64Attr>:$softcap);
  let results = (outs Lora_Tensor:$dq, Lora_Tensor:$dk, Lora_Tensor:$dv);
  let assemblyFormat = [{
    $q `,` $k `,` $v `,` $segments `,` $o `,` $lse `,` $dout `scale` $scale (`window` $window^)? (`softcap` $softcap^)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Lora_MapOp : Lora_Op<"map", [Pure, SingleBlock, IsolatedFromAbove, DeclareOpInterfaceMethods<Lora_DifferentiableOp>]> {
  let summary = "elementwise function, its body in `arith` and `math`";
  let description = [{
    An operand `tensor<n>` beside results `[tokens, n]` is one row for all tokens (a magnitude); its gradient is the sum over them. So is a
    frozen `!lora.weight<n, vector>` (a bias).
    - (C1) all results have one shape; so have all operands, or those but one that are such a row. The block takes one f32 an operand and
      yields one an result.
    ```mlir
    %y = lora.map %a, %b : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32> {
    ^bb0(%x: f32, %m: f32):
      %s = arith.mulf %x, %m : f32
      lora.yield %s : f32
    }
    ```
  }];
  let arguments = (ins Variadic<AnyTypeOf<[Lora_Tensor, Lora_WeightType]>>:$inputs);
  let results = (outs Variadic<Lora_Tensor>:$outputs);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$inputs attr-dict-with-keyword `:` functional-type(operands, results) $body";
  let hasVerifier = 1;
  let hasCanonicalizeMethod = 1;
  let extraClassDeclaration = [{
    /// The body is `yield(arg0 + arg1)` and nothing else, of operands of one shape.
    bool isSum();
    /// Whether an operand is one row for all tokens.
    bool isRow(::mlir::Value operand) { return operand.getType() != getOutputs().front().getType(); }
    bool hasRows() { return ::llvm::any_of(getInputs(), [&](::mlir::Value operand) { return isRow(operand); }); }
    /// A map of one result, of the type of the first operand that is no row; `element` writes the body.
    static ::mlir::Value of(::mlir::OpBuilder &b, ::mlir::Location loc, ::mlir::ValueRange operands,
                            ::llvm::function_ref<::mlir::Value(::mlir::ValueRange)> element);
    static ::mlir::Value sum(::mlir::OpBuilder &b, ::mlir::Location loc, ::mlir::Value x, ::mlir::Value y);
  }];
}

def Lora_YieldOp : Lora_Op<"yield", [Pure, Terminator, ReturnLike]> {
  let summary = "the values of a map's element or of a sum, or of a fused kernel";
  let description = "See `lora.map` and `lora.fused`.";
  let arguments = (ins Variadic<AnyTypeOf<[F32, F64, Lora_Tensor]>>:$values);
  let assemblyFormat = "$values attr-dict `:` type($values)";
}

def Lora_CrossEntropyOp : Lora_Op<"cross_entropy", [Pure, IsolatedFromAbove]> {
  let summary = "loss of each row under a frozen head; logits never exist as a whole";
  let description = [{
    `row_loss[m] = logsumexp(h[m]·Wᵀ) - (h[m]·Wᵀ)[labels[m]]`, 0 where the label is -100. A body, as that of `lora.map`, makes the logits of
    the products (Gemma 2 caps them).
    - (C1) `h` is `[tokens, in]` of a head `[vocab, in]`; `row_loss` is `[tokens]`.
    - (C2) a body takes one f32 and yields one.
    ```mlir
    %loss = lora.cross_entropy %h, %w, %labels : (tensor<?x64xf32>, !lora.weight<512x64, f32>, tensor<?xi32>) -> tensor<?xf32>
    ```
  }];
  let arguments = (ins Lora_Tensor:$h, Lora_WeightType:$weight, Lora_Ints:$labels);
  let results = (outs Lora_Tensor:$row_loss);
  let regions = (region MaxSizedRegion<1>:$body);
  let assemblyFormat = "$h `,` $weight `,` $labels attr-dict `:` functional-type(operands, results) (`logits` $body^)?";
  let hasVerifier = 1;
}

def Lora_CrossEntropyBackwardOp : Lora_Op<"cross_entropy_backward", [Pure, IsolatedFromAbove]> {
  let summary = "loss of each row, and the gradient of the step's loss by h, chunk by chunk";
  let description = [{
    `dh = loss_scale · (softmax(h·Wᵀ) - onehot(label))·W`; `loss_scale` (1 / labels in the accumulation window) is a value of the
    step, not of the program. A body's derivative is part of it.
    ```mlir
    %loss, %dh = lora.cross_entropy_backward %h, %w, %labels
        : (tensor<?x64xf32>, !lora.weight<512x64, f32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?x64xf32>)
    ```
  }];
  let arguments = (ins Lora_Tensor:$h, Lora_WeightType:$weight, Lora_Ints:$labels);
  let results = (outs Lora_Tensor:$row_loss, Lora_Tensor:$dh);
  let regions = (region MaxSizedRegion<1>:$body);
  let assemblyFormat = "$h `,` $weight `,` $labels attr-dict `:` functional-type(operands, results) (`logits` $body^)?";
  let hasVerifier = 1;
}

//===--- adapters ---===//

def Lora_LowRankOp : Lora_Op<"low_rank", [Pure, DeclareOpInterfaceMethods<Lora_DifferentiableOp>]> {
  let summary = "low-rank update `scale · (x·Aᵀ)·Bᵀ` (Hu et al. 2021, eq. 3)";
  let description = [{
    The trained half of an adapted layer. `scale` is resolved: alpha/r for LoRA, alpha/√r for rsLoRA.
    - (C1) `A` is `[r, in]` and `B` is `[out, r]`, with one `r`.
    ```mlir
    %dy = lora.low_rank %x, %a, %b scale 2.0 : (tensor<?x64xf32>, tensor<4x64xf32>, tensor<32x4xf32>) -> tensor<?x32xf32>
    ```
  }];
  let arguments = (ins Lora_Tensor:$x, Lora_Tensor:$a, Lora_Tensor:$b, F64Attr:$scale);
  let results = (outs Lora_Tensor:$y);
  let assemblyFormat = "$x `,` $a `,` $b `scale` $scale attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Lora_LowRankBackwardOp : Lora_Op<"low_rank_backward", [Pure]> {
  let summary = "gradients of low_rank by x, A and B";
  let description = [{
    `dt = scale·dy·B`, `dx = dt·A`, `da = dtᵀ·x`, `db = scale·dyᵀ·(x·Aᵀ)`; OrderProducts chooses how they are formed. `dx` is present
    where it is wanted.
    ```mlir
    %da, %db, %dx = lora.low_rank_backward %x, %a, %b, %dy scale 2.0
        : (tensor<?x64xf32>, tensor<4x64xf32>, tensor<32x4xf32>, tensor<?x32xf32>) -> (tensor<4x64xf32>, tensor<32x4xf32>, tensor<?x64xf32>)
    ```
  }];
  let arguments = (ins Lora_Tensor:$x, Lora_Tensor:$a, Lora_Tensor:$b, Lora_Tensor:$dy, F64Attr:$scale);
  let results = (outs Lora_Tensor:$da, Lora_Tensor:$db, Optional<Lora_Tensor>:$dx);
  let assemblyFormat = "$x `,` $a `,` $b `,` $dy `scale` $scale attr-dict `:` functional-type(operands, results)";
}

def Lora_WeightNormOp : Lora_Op<"weight_norm", [Pure]> {
  let summary = "length of each row of an adapted weight, `‖W + scale·B·A‖`";
  let description = [{
    `norm[i] = sqrt(Σk (W[i,k] + scale·Σr B[i,r]·A[r,k])²)`, of W as it is stored, dequantized. It has no gradient: DoRA takes it as a constant
    in the backward pass (Liu et al. 2024, section 4.3), and Differentiate goes no further.
    - (C1) `A` is `[r, in]`, `B` is `[out, r]` and `norm` is `[out]` of a weight `[out, in]`, with one `r`.
    ```mlir
    %n = lora.weight_norm %w, %a, %b scale 2.0 : (!lora.weight<32x64, nf4<64>>, tensor<4x64xf32>, tensor<32x4xf32>) -> tensor<32xf32>
    ```
  }];
  let arguments = (ins Lora_WeightType:$weight, Lora_Tensor:$a, Lora_Tensor:$b, F64Attr:$scale);
  let results = (outs Lora_Tensor:$norm);
  let assemblyFormat = "$weight `,` $a `,` $b `scale` $scale attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Lora_SumRowsOp : Lora_Op<"sum_rows", [Pure]> {
  let summary = "sum over tokens: `y[j] = Σm x[m,j]`";
  let description = [{
    The gradient of a row that a map reads for all tokens.
    - (C1) `x` is `[tokens, n]`, `y` is `[n]`.
    ```mlir
    %dm = lora.sum_rows %x : tensor<?x64xf32> to tensor<64xf32>
    ```
  }];
  let arguments = (ins Lora_Tensor:$x);
  let results = (outs Lora_Tensor:$y);
  let assemblyFormat = "$x attr-dict `:` type($x) `to` type($y)";
  let hasVerifier = 1;
}

def Lora_DropoutOp : Lora_Op<"dropout", [Pure, SameOperandsAndResultType, DeclareOpInterfaceMethods<Lora_DifferentiableOp>]> {
  let summary = "inverted dropout from a counter-based generator; forward and backward are one op";
  let description = [{
    `y = x · keep / (1 - p)`; `keep` is a function of (seed, step, micro-batch, `stream`, element), see docs/plan.md, so no mask is stored.
    - (C1) `0 < p < 1`.
    ```mlir
    %y = lora.dropout %x p 1.0e-01 stream 3 : tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Lora_Tensor:$x, F64Attr:$p, I64Attr:$stream);
  let results = (outs Lora_Tensor:$y);
  let assemblyFormat = "$x `p` $p `stream` $stream attr-dict `:` type($x)";
  let hasVerifier = 1;
}

//===--- ordered and fused ---===//

def Lora_ProductKind : I32EnumAttr<"ProductKind", "which operand of a product is transposed", [
    I32EnumAttrCase<"NT", 0, "nt">, I32EnumAttrCase<"NN", 1, "nn">, I32EnumAttrCase<"TN", 2, "tn">]> {
  let cppNamespace = "::lorac::lora";
}

def Lora_MatmulOp : Lora_Op<"matmul", [Pure]> {
  let summary = "dense product of an adapter's small matrices and activations";
  let description = [{
    `nt`: `C[m,j] = scale·Σk A[m,k]·B[j,k]`; `nn`: `C[m,j] = scale·Σk A[m,k]·B[k,j]`; `tn`: `C[i,j] = scale·Σm A[m,i]·B[m,j]`.
    - (C1) the summed dimensions are equal and the result has the two others.
    ```mlir
    %t = lora.matmul nt %x, %a scale 1.0 : (tensor<?x64xf32>, tensor<4x64xf32>) -> tensor<?x4xf32>
    ```
  }];
  let arguments = (ins Lora_ProductKind:$kind, Lora_Tensor:$a, Lora_Tensor:$b, F64Attr:$scale);
  let results = (outs Lora_Tensor:$c);
  let assemblyFormat = "$kind $a `,` $b `scale` $scale attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Lora_OrthogonalTermOp : Lora_Op<"orthogonal_term", [Pure]> {
  let summary = "how far a Gram matrix is from the identity, and the gradient of that";
  let description = [{
    `norm = ‖G - I‖` (Frobenius), `gradient = scale/norm·(G - I)`, 0 where the norm is 0. `I` has a 1 where G's diagonal is not 0: a triplet
    that is gone is a row of zeros and no part of the term. (AdaLoRA, section 3.1; PEFT takes the norm, not its square.)
    - (C1) G is square, the gradient of its type, the norm one number.
    ```mlir
    %d, %n = lora.orthogonal_term %g scale 5.0e-01 : tensor<8x8xf32> -> tensor<8x8xf32>, tensor<1xf32>
    ```
  }];
  let arguments = (ins Lora_Tensor:$gram, F64Attr:$scale);
  let results = (outs Lora_Tensor:$gradient, Lora_Tensor:$norm);
  let assemblyFormat = "$gram `scale` $scale attr-dict `:` type($gram) `->` type($gradient) `,` type($norm)";
  let hasVerifier = 1;
}

def Lora_ColumnsOp : Lora_Op<"columns", [Pure]> {
  let summary = "some columns of a matrix, where they lie";
  let description = [{
    - (C1) columns `[from, from + n)` exist; the rows stay.
    ```mlir
    %tk = lora.columns %t from 4 : tensor<?x12xf32> to tensor<?x4xf32>
    ```
  }];
  let arguments = (ins Lora_Tensor:$x, I64Attr:$from);
  let results = (outs Lora_Tensor:$y);
  let assemblyFormat = "$x `from` $from attr-dict `:` type($x) `to` type($y)";
  let hasVerifier = 1;
}

def Lora_ConcatOp : Lora_Op<"concat", [Pure]> {
  let summary = "matrices side by side";
  let description = [{
    The products that the operands come from write into the result's buffer: nothing is copied.
    - (C1) the operands' columns add up to the result's.
    ```mlir
    %dt = lora.concat %dtq, %dtk : (tensor<?x8xf32>, tensor<?x4xf32>) -> tensor<?x12xf32>
    ```
  }];
  let arguments = (ins Variadic<Lora_Tensor>:$parts);
  let results = (outs Lora_Tensor:$y);
  let assemblyFormat = "$parts attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Lora_AdaptedLinearOp : Lora_Op<"adapted_linear", [Pure, AttrSizedOperandSegments]> {
  let summary = "`y = [residual +] x·Wᵀ [+ scale·t·Bᵀ]` in one kernel";
  let description = [{
    The low-rank update rides along as extra panels of the inner product; each element is one chain that starts from the residual.
    - (C1) `t` is `[tokens, r]` and `b` is `[out, r]`, both present or neither.
    ```mlir
    %y = lora.adapted_linear(%x, %w) low_rank(%t, %b) residual(%r) scale 2.0
        : (tensor<?x64xf32>, !lora.weight<32x64, nf4<64>>, tensor<?x4xf32>, tensor<32x4xf32>, tensor<?x32xf32>) -> tensor<?x32xf32>
    ```
  }];
  let arguments = (ins Lora_Tensor:$x, Lora_WeightType:$weight, Optional<Lora_Tensor>:$t, Optional<Lora_Tensor>:$b,
                       Optional<Lora_Tensor>:$residual, F64Attr:$scale);
  let results = (outs Lora_Tensor:$y);
  let assemblyFormat = [{
    `(` $x `,` $weight `)` (`low_rank` `(` $t^ `,` $b `)`)? (`residual` `(` $residual^ `)`)? `scale` $scale attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Lora_AdaptedLinearBackwardOp : Lora_Op<"adapted_linear_backward", [Pure, AttrSizedOperandSegments]> {
  let summary = "`dx = [onto +] dy·W [+ dt·A]` in one kernel, from the same packed weight";
  let description = [{
    - (C1) `dt` is `[tokens, r]` and `a` is `[r, in]`, both present or neither.
    ```mlir
    %dx = lora.adapted_linear_backward(%dy, %w) low_rank(%dt, %a) onto(%acc)
        : (tensor<?x32xf32>, !lora.weight<32x64, nf4<64>>, tensor<?x4xf32>, tensor<4x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins Lora_Tensor:$dy, Lora_WeightType:$weight, Optional<Lora_Tensor>:$dt, Optional<Lora_Tensor>:$a,
                       Optional<Lora_Tensor>:$onto);
  let results = (outs Lora_Tensor:$dx);
  let assemblyFormat = [{
    `(` $dy `,` $weight `)` (`low_rank` `(` $dt^ `,` $a `)`)? (`onto` `(` $onto^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Lora_FusedOp : Lora_Op<"fused", [SingleBlock, NoRegionArguments, RecursiveMemoryEffects]> {
  let summary = "a product over a frozen weight and what is done with it, in one kernel";
  let description = [{
    The epilogue works on tiles of the product while they are in cache or registers. It means what its body means.
    - (C1) the body is one `lora.adapted_linear` or `lora.adapted_linear_backward`, then one `lora.map` or `lora.rope` that reads it,
      with views between them.
    - (C2) it yields the epilogue's results, then the product itself where others read it.
    ```mlir
    %q = lora.fused : tensor<?x4x16xf32> {
      %y = lora.adapted_linear(%x, %w) scale 1.0 : (tensor<?x64xf32>, !lora.weight<64x64, f32>) -> tensor<?x64xf32>
      %heads = lora.view %y : tensor<?x64xf32> to tensor<?x4x16xf32>
      %r = lora.rope %heads, %positions by @rope : (tensor<?x4x16xf32>, tensor<?xi32>) -> tensor<?x4x16xf32>
      lora.yield %r : tensor<?x4x16xf32>
    }
    ```
  }];
  let results = (outs Variadic<Lora_Tensor>:$outputs);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "attr-dict-with-keyword `:` type($outputs) $body";
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    /// The product, and the map or rope that reads it.
    ::mlir::Operation *product();
    ::mlir::Operation *epilogue();
  }];
}

#endif
