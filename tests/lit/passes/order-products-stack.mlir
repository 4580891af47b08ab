// RUN: lorac-opt %s --lora-order-products | FileCheck %s
// Updates that read one x: their A are stacked, forward and backward.

lora.param @q_a : tensor<4x64xf32>
lora.param @q_b : tensor<32x4xf32>
lora.param @k_a : tensor<2x64xf32>
lora.param @k_b : tensor<16x2xf32>
// CHECK: lora.stack @[[S:"q_a\+k_a.lora_A"]] [@q_a, @k_a] : tensor<6x64xf32>
// CHECK-NOT: lora.stack

// CHECK-LABEL: lora.program micro_batch @step
// CHECK-SAME: (%[[X:.*]]: tensor<?x64xf32>, %[[DQ:.*]]: tensor<?x32xf32>, %[[DK:.*]]: tensor<?x16xf32>, %[[BASE:.*]]: tensor<?x64xf32>)
lora.program micro_batch @step(%x: tensor<?x64xf32>, %dq: tensor<?x32xf32>, %dk: tensor<?x16xf32>, %base: tensor<?x64xf32>)
    -> (tensor<?x32xf32>, tensor<?x16xf32>, tensor<?x64xf32>) {
  %qa = lora.use @q_a : tensor<4x64xf32>
  %qb = lora.use @q_b : tensor<32x4xf32>
  // CHECK: %[[A:.*]] = lora.use @[[S]] : tensor<6x64xf32>
  // CHECK-NEXT: %[[T:.*]] = lora.matmul nt %[[X]], %[[A]] scale 1.000000e+00 : (tensor<?x64xf32>, tensor<6x64xf32>) -> tensor<?x6xf32>
  // CHECK-NEXT: %[[TQ:.*]] = lora.columns %[[T]] from 0 : tensor<?x6xf32> to tensor<?x4xf32>
  // CHECK-NEXT: %[[TK:.*]] = lora.columns %[[T]] from 4 : tensor<?x6xf32> to tensor<?x2xf32>
  // CHECK-NEXT: %[[Q:.*]] = lora.matmul nt %[[TQ]], %{{.*}} scale 2.000000e+00
  %q = lora.low_rank %x, %qa, %qb scale 2.0 : (tensor<?x64xf32>, tensor<4x64xf32>, tensor<32x4xf32>) -> tensor<?x32xf32> loc("attn.q")
  %ka = lora.use @k_a : tensor<2x64xf32>
  %kb = lora.use @k_b : tensor<16x2xf32>
  // CHECK: %[[K:.*]] = lora.matmul nt %[[TK]], %{{.*}} scale 3.000000e+00
  %k = lora.low_rank %x, %ka, %kb scale 3.0 : (tensor<?x64xf32>, tensor<2x64xf32>, tensor<16x2xf32>) -> tensor<?x16xf32> loc("attn.k")
  // Backward comes in the other order; the stack's products stand where the last of them stands.
  // CHECK: %[[DTK:.*]] = lora.matmul nn %[[DK]], %{{.*}} scale 3.000000e+00
  // CHECK-NEXT: %[[DBK:.*]] = lora.matmul tn %[[DK]], %[[TK]] scale 3.000000e+00
  // CHECK-NEXT: lora.gradient @k_b, %[[DBK]]
  // CHECK-NEXT: %[[DTQ:.*]] = lora.matmul nn %[[DQ]], %{{.*}} scale 2.000000e+00
  // CHECK-NEXT: %[[DBQ:.*]] = lora.matmul tn %[[DQ]], %[[TQ]] scale 2.000000e+00
  // CHECK-NEXT: %[[DT:.*]] = lora.concat %[[DTQ]], %[[DTK]] : (tensor<?x4xf32>, tensor<?x2xf32>) -> tensor<?x6xf32>
  // CHECK-NEXT: %[[A2:.*]] = lora.use @[[S]]
  // CHECK-NEXT: %[[DA:.*]] = lora.matmul tn %[[DT]], %[[X]] scale 1.000000e+00 : (tensor<?x6xf32>, tensor<?x64xf32>) -> tensor<6x64xf32>
  // CHECK-NEXT: lora.gradient @[[S]], %[[DA]] : tensor<6x64xf32>
  // CHECK-NEXT: %[[DX:.*]] = lora.matmul nn %[[DT]], %[[A2]] scale 1.000000e+00 : (tensor<?x6xf32>, tensor<6x64xf32>) -> tensor<?x64xf32>
  // CHECK-NEXT: lora.gradient @q_b, %[[DBQ]]
  %dka, %dkb, %dkx = lora.low_rank_backward %x, %ka, %kb, %dk scale 3.0
      : (tensor<?x64xf32>, tensor<2x64xf32>, tensor<16x2xf32>, tensor<?x16xf32>) -> (tensor<2x64xf32>, tensor<16x2xf32>, tensor<?x64xf32>) loc("attn.k")
  lora.gradient @k_a, %dka : tensor<2x64xf32>
  lora.gradient @k_b, %dkb : tensor<16x2xf32>
  // k's dx is in the stack's: the sum that took it is gone.
  %sum = lora.map %base, %dkx : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32> {
  ^bb0(%p: f32, %r: f32):
    %s = arith.addf %p, %r : f32
    lora.yield %s : f32
  }
  %dqa, %dqb, %dqx = lora.low_rank_backward %x, %qa, %qb, %dq scale 2.0
      : (tensor<?x64xf32>, tensor<4x64xf32>, tensor<32x4xf32>, tensor<?x32xf32>) -> (tensor<4x64xf32>, tensor<32x4xf32>, tensor<?x64xf32>) loc("attn.q")
  lora.gradient @q_a, %dqa : tensor<4x64xf32>
  lora.gradient @q_b, %dqb : tensor<32x4xf32>
  // CHECK-NEXT: %[[ALL:.*]] = lora.map %[[BASE]], %[[DX]]
  %all = lora.map %sum, %dqx : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32> {
  ^bb0(%p: f32, %r: f32):
    %s = arith.addf %p, %r : f32
    lora.yield %s : f32
  }
  // CHECK: lora.return %[[Q]], %[[K]], %[[ALL]]
  lora.return %q, %k, %all : tensor<?x32xf32>, tensor<?x16xf32>, tensor<?x64xf32>
}

// Another x a module (dropout): nothing to share.
// CHECK-LABEL: lora.program micro_batch @apart
// CHECK-NOT: lora.columns
lora.program micro_batch @apart(%x: tensor<?x64xf32>) -> (tensor<?x32xf32>, tensor<?x16xf32>) {
  %qa = lora.use @q_a : tensor<4x64xf32>
  %qb = lora.use @q_b : tensor<32x4xf32>
  %ka = lora.use @k_a : tensor<2x64xf32>
  %kb = lora.use @k_b : tensor<16x2xf32>
  %d = lora.dropout %x p 1.0e-01 stream 0 : tensor<?x64xf32>
  %e = lora.dropout %x p 1.0e-01 stream 1 : tensor<?x64xf32>
  %q = lora.low_rank %d, %qa, %qb scale 2.0 : (tensor<?x64xf32>, tensor<4x64xf32>, tensor<32x4xf32>) -> tensor<?x32xf32> loc("attn.q")
  %k = lora.low_rank %e, %ka, %kb scale 3.0 : (tensor<?x64xf32>, tensor<2x64xf32>, tensor<16x2xf32>) -> tensor<?x16xf32> loc("attn.k")
  lora.return %q, %k : tensor<?x32xf32>, tensor<?x16xf32>
}
