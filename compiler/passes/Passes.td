// All passes of lorac, in the order of compiler/pipeline/Pipeline.cpp. Up to FuseKernels no target is known.
#ifndef LORA_PASSES_TD
#define LORA_PASSES_TD

include "mlir/Pass/PassBase.td"

def AttachAdapters : Pass<"lora-attach-adapters", "::mlir::ModuleOp"> {
  let summary = "10-model -> 20-adapted: targets become frozen base + low-rank update";
  let description = [{
    Each `lora.adapter` becomes the update of its weight's linear, as its method (compiler/methods) writes it; one of rank 0 is left out. A
    method may add programs: AdaLoRA `@regularize`, DoRA `@initialize`.
    ```mlir
    %y = lora.linear %x, %w
    ==>
    %base = lora.linear %x, %w
    %up = lora.low_rank %x, %a, %b scale 2.0
    %y = lora.map %base, %up { add }
    ```
  }];
}

def FuseElementwise : Pass<"lora-fuse-elementwise", "::mlir::ModuleOp"> {
  let summary = "elementwise chains become one map";
  let description = [{
    Before Differentiate, so that a chain has one gradient (`silu(g)*u`: one map forward, one backward), and again in 40-fused.
    Sums stay apart: FuseKernels takes them into products.
  }];
}

def Differentiate : Pass<"lora-differentiate", "::mlir::ModuleOp"> {
  let summary = "20-adapted -> 30-backward: @train with the gradients of trainables only";
  let description = [{
    Copies `@hidden` into `@train`, puts the loss behind it and walks back by the op interface. A gradient is formed only where
    a trainable is reached, so nothing below the lowest adapter; `lora.weight_norm` is a constant. Fails if a `lora.param` gets no gradient.
    ```mlir
    %y = lora.low_rank %x, %a, %b scale 2.0
    ==>
    %da, %db, %dx = lora.low_rank_backward %x, %a, %b, %dy scale 2.0
    lora.gradient @A, %da
    lora.gradient @B, %db
    ```
  }];
}

def CacheAttention : Pass<"lora-cache-attention", "::mlir::ModuleOp"> {
  let summary = "20-adapted -> 30-cached: for text, attention over a cache of keys and values";
  let description = [{
    In the place of Differentiate, in a module of @hidden and @head alone. Each attention has a cache of its own, in their order.
    ```mlir
    %o, %lse = lora.attention %q, %k, %v, %segments scale 2.5e-01
    ==>
    %o = lora.cached_attention %q, %k, %v, %segments, %positions cache 0 scale 2.5e-01
    ```
  }];
}

def OrderProducts : Pass<"lora-order-products", "::mlir::ModuleOp"> {
  let summary = "30-backward -> 35-ordered: low-rank updates become products in the cheapest order, stacked where they share x";
  let description = [{
    Writes the small products as `lora.matmul`. `x·Aᵀ` is formed once for forward and backward, and once for all updates that read the
    same x: their A are rows of one `lora.stack`, and so are their gradients. The gradients of A and B come through the narrow middle
    (dt = dy·B) or, where that costs more FLOPs and bytes at these shapes, through the gradient of W (RunLoRA, Cherniuk et al. 2023).
    ```mlir
    %q = lora.low_rank %x, %aq, %bq scale 2.0
    %k = lora.low_rank %x, %ak, %bk scale 2.0
    ==>
    %t = lora.matmul nt %x, %a scale 1.0       // %a = lora.use @"q_proj+k_proj.lora_A"
    %tq = lora.columns %t from 0
    %tk = lora.columns %t from 4
    %q = lora.matmul nt %tq, %bq scale 2.0
    %k = lora.matmul nt %tk, %bk scale 2.0
    ```
  }];
}

def FuseKernels : Pass<"lora-fuse-kernels", "::mlir::ModuleOp"> {
  let summary = "35-ordered -> 40-fused: base product, low-rank panel and residual in one op";
  let description = [{
    Runs after Differentiate: the fused ops have no gradient of their own.
    ```mlir
    %base = lora.linear %x, %w
    %up = lora.matmul nt %t, %b scale 2.0
    %y = lora.map %base, %up { add }
    ==>
    %y = lora.adapted_linear(%x, %w) low_rank(%t, %b) scale 2.0
    ```
  }];
}

def PlanRecompute : Pass<"lora-plan-recompute", "::mlir::ModuleOp"> {
  let summary = "40-fused: what the backward pass recomputes instead of keeping";
  let description = [{
    Norms, dropout and elementwise ops are computed again in front of their first use in the backward pass wherever less is kept then.
    With a limit further ops follow, the fewest FLOP a saved byte first, lower layers first, until the most that lives at a time fits: kept
    values, temporaries of both passes, what is computed again, and the chunk of logits, each as the target stores it. An op brings along
    what it reads and nobody keeps: a linear with its update, sum, rope or map is one choice. What a later layer reads is always kept. The
    last layers keep what would live at the peak in any case; a chunk of logits has fewer rows where it is the peak. Where the limit cannot
    be met the plan is the least one. `lora.recompute` says by layers what is kept and what comes again.
    ```mlir
    %y = lora.adapted_linear(%x, %w) low_rank(%t, %b) scale 2.0
    %loss, %dh = lora.cross_entropy_backward ...
    %z = lora.map %y, %dy { ... }
    ==>
    %y = lora.adapted_linear(%x, %w) low_rank(%t, %b) scale 2.0
    %loss, %dh = lora.cross_entropy_backward ...
    %again = lora.adapted_linear(%x, %w) low_rank(%t, %b) scale 2.0 {recompute}
    %z = lora.map %again, %dy { ... }
    ```
  }];
  let options = [Option<"memory", "memory", "int64_t", "0", "bytes that buffers of a step may take at a time; 0: no limit">,
                 Option<"device", "device", "std::string", "\"cpu\"", "cpu or cuda">];
}

def FuseEpilogues : Pass<"lora-fuse-epilogues", "::mlir::ModuleOp"> {
  let summary = "40-fused: the map or rope that reads a product joins its kernel";
  let description = [{
    Where everything else that the map or rope reads is there when the product is formed: SwiGLU behind the later of gate and up, its
    gradients behind dX of down, rope behind q and k. A map or rope that is recomputed joins only a product that is; a map that reads a
    row for all tokens joins none.
    ```mlir
    %up = lora.adapted_linear(%x, %w) ...
    %act = lora.map %gate, %up { silu(gate) * up }
    ==>
    %act, %up = lora.fused {
      %y = lora.adapted_linear(%x, %w) ...
      %z = lora.map %gate, %y { silu(gate) * up }
      lora.yield %z, %y
    }
    ```
  }];
}

def SelectKernels : Pass<"lora-select-kernels", "::mlir::ModuleOp"> {
  let summary = "40-fused -> 50-planned: ops become launches of kernels over buffers";
  let description = [{
    Values become buffers (padded leading dimension), identical ops share a `lora.kernel`, the loss is cut into chunks of rows.
    On the CPU sizes that are ranks come with the launch (`scalars`), so that one kernel serves every rank: a dimension is one where it is that
    of a factor (its `group` says which), or of what products make of factors. With `rank-per-kernel` they are constants of the kernel, as `make
    bench-adalora` has them to see what that would gain.
    A result takes over the buffer of an operand that dies there where the family allows it. For `device=cuda` activations have 16 bits
    and a kernel's parameters name the element types of its buffers (docs/cuda.md). A chunk of the loss has 128 rows; on a GPU, where each
    chunk reads the head's weight anew, as many hundreds as 256 MiB of logits allow; where `lora.limits` has `head_rows`, so many.
    Of a program for text the region `kv_cache` is declared, as large as its `sequences` and `length` ask, and a product over one row has a
    path of its own.
  }];
  let options = [Option<"headRows", "head-rows", "int64_t", "0", "rows of logits that exist at a time; 0: chosen for the device">,
                 Option<"device", "device", "std::string", "\"cpu\"", "cpu or cuda">,
                 Option<"compute", "compute", "std::string", "\"f32\"", "type of activations on cuda: bf16 or f16">,
                 Option<"rankPerKernel", "rank-per-kernel", "bool", "false", "on the CPU: a kernel is made for one rank">];
  let dependentDialects = ["::mlir::memref::MemRefDialect"];
}

def StackLaunches : Pass<"lora-stack-launches", "::mlir::ModuleOp"> {
  let summary = "50-planned, on devices: products that read one x, or add to one dx, become one launch";
  let description = [{
    Neighbouring launches of `linear_forward` over one x (q, k and v) become parts of one, side by side; where one's map reads what the one
    before it has written (gate and up), a block forms both in turn. Neighbouring launches of `linear_backward` that add to one dx keep
    their sum in registers. Kernels that no launch names any more are erased.
  }];
}

def AppendUpdate : Pass<"lora-append-update", "::mlir::ModuleOp"> {
  let summary = "50-planned: the optimizer's step as the programs @begin, @norm and @update";
  let description = [{
    One launch of the family `each` over all parameters, by the table `update_spans`, which says which group each span belongs to. Its body
    is what compiler/optimizers/<name>.cpp writes for one element; its states become a `lora.region` each, and the numbers that the host computes
    before each update a `lora.scalar` each. States of 8 bits make two launches of one body: over the parameters that are large enough, whose
    spans come first in the table, and over the others, whose states lie in a compact region. @begin writes 0
    into the gradients. @norm is their norm and the clip factor, summed in one order on all targets. On devices the place of the step's scalars comes with it.
  }];
  let options = [Option<"optimizer", "optimizer", "std::string", "\"adamw\"", "its word in a spec">,
                 Option<"beta1", "beta1", "double", "0.9", "first of the betas">,
                 Option<"beta2", "beta2", "double", "0.999", "second of the betas">,
                 Option<"eps", "eps", "double", "1e-8", "what the denominator has beside the root">,
                 Option<"weightDecay", "weight-decay", "double", "0", "decoupled from the gradient">,
                 Option<"min8bitSize", "min-8bit-size", "int64_t", "4096", "elements from which on a parameter has states of 8 bits">,
                 Option<"device", "device", "std::string", "\"cpu\"", "cpu or cuda">];
  let dependentDialects = ["::mlir::memref::MemRefDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

def AppendTriplets : Pass<"lora-append-triplets", "::mlir::ModuleOp"> {
  let summary = "50-planned: AdaLoRA's regions, and what it does between programs";
  let description = [{
    Where parameters are triplets: regions of the importance and of B without E, and the program @importance, which takes a step into the
    averages: one launch of `each`, its betas scalars of the host. @fold puts B·diag(E) in B's place, @unfold takes it
    back, @unfold_grads turns the gradient by it into those by B and E; @scores gives one number a triplet, @zero_triplets zeroes what is masked
    or died. One launch each, over all modules by the table `triplets`.
  }];
  let options = [Option<"beta1", "beta1", "double", "0.85", "of the sensitivity's average">,
                 Option<"beta2", "beta2", "double", "0.85", "of the uncertainty's average">];
  let dependentDialects = ["::mlir::memref::MemRefDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

def PlanMemory : Pass<"lora-plan-memory", "::mlir::ModuleOp"> {
  let summary = "50-planned: lifetimes -> one arena with offsets";
  let description = [{
    Inputs and outputs, tables and regions have places of their own; everything else shares by lifetime, largest first. Declares the
    regions of parameters and, but for text, of gradients; each `lora.region` then has its offset. What @hidden, @loss and @head hand to one another lies where a step has its locals. The peak stands in the
    `lora.arena` and is what the runtime allocates.
  }];
  let options = [Option<"alignment", "alignment", "int64_t", "64", "bytes that every buffer's offset is a multiple of">];
}

def CheckMemory : Pass<"lora-check-memory", "::mlir::ModuleOp"> {
  let summary = "no two buffers that are in use at once lie over each other";
  let description = [{
    Runs behind PlanMemory, and asks the launches anew who is in use when; changes nothing. Regions, inputs, outputs and tables
    are in use throughout; what @hidden, @loss and @head hand to one another, in these alone.
  }];
}

#endif
