// RUN: lorac-opt %s | FileCheck %s
// RUN: lorac-opt %s | lorac-opt | FileCheck %s
// RUN: lorac-opt %s --mlir-print-op-generic | lorac-opt | FileCheck %s
// Adapters, their gradients and the fused ops print as they parse.

lora.frozen @w : !lora.weight<32x64, nf4<64>>
lora.frozen @norm : !lora.weight<64, vector>
lora.frequencies @rope [1.0, 0.3162, 0.1, 0.03162, 0.01, 0.003162, 0.001, 0.0003162] factor 1.0
// CHECK: lora.frozen @layered : !lora.weight<32x64, f32> layer 3 {gguf = "blk.3.w", kind = "linear", permute_heads = 4 : i64}
lora.frozen @layered : !lora.weight<32x64, f32> layer 3 {gguf = "blk.3.w", kind = "linear", permute_heads = 4 : i64}
// CHECK: lora.adapter @q of @w rank 4 scale 2.000000e+00 dropout 1.000000e-01 falls [4, 0, 8]
lora.adapter @q of @w rank 4 scale 2.0 dropout 0.1 falls [4, 0, 8]
// CHECK: lora.adapter @k of @layered rank 2 scale 1.000000e+00{{$}}
lora.adapter @k of @layered rank 2 scale 1.0
// CHECK: lora.adapter @v of @layered rank 2 scale 1.000000e+00 dropout 1.000000e-01 method "dora"
lora.adapter @v of @layered rank 2 scale 1.0 dropout 0.1 method "dora"
// CHECK: lora.adalora initial 8 target 4 orth_reg_weight 5.000000e-01
lora.adalora initial 8 target 4 orth_reg_weight 0.5
// CHECK: lora.orthogonality weight 1.000000e-01
lora.orthogonality weight 0.1
// CHECK: lora.param @q.lora_A.weight lora_A of @q : tensor<4x64xf32> {offset = 0 : i64}
lora.param @q.lora_A.weight lora_A of @q : tensor<4x64xf32> {offset = 0 : i64}
lora.param @q.lora_B.weight : tensor<32x4xf32>
lora.param @k.lora_A.weight : tensor<2x64xf32>
// CHECK: lora.stack @"q+k.lora_A" [@q.lora_A.weight, @k.lora_A.weight] : tensor<6x64xf32>
lora.stack @"q+k.lora_A" [@q.lora_A.weight, @k.lora_A.weight] : tensor<6x64xf32>

// CHECK: lora.param @v.lora_magnitude_vector lora_magnitude_vector of @v : tensor<32xf32>
lora.param @v.lora_magnitude_vector lora_magnitude_vector of @v : tensor<32xf32>

// CHECK-LABEL: lora.program micro_batch @rows
lora.program micro_batch @rows(%x: tensor<?x32xf32>, %a: tensor<2x64xf32>, %b: tensor<32x2xf32>) {
  %w = lora.use @layered : !lora.weight<32x64, f32>
  // CHECK: %[[N:.*]] = lora.weight_norm %{{.*}}, %{{.*}}, %{{.*}} scale 2.000000e+00 : (!lora.weight<32x64, f32>, tensor<2x64xf32>, tensor<32x2xf32>) -> tensor<32xf32>
  %n = lora.weight_norm %w, %a, %b scale 2.0 : (!lora.weight<32x64, f32>, tensor<2x64xf32>, tensor<32x2xf32>) -> tensor<32xf32>
  // CHECK: lora.map %{{.*}}, %[[N]] : (tensor<?x32xf32>, tensor<32xf32>) -> tensor<?x32xf32>
  %y = lora.map %x, %n : (tensor<?x32xf32>, tensor<32xf32>) -> tensor<?x32xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.divf %p, %q : f32
    lora.yield %r : f32
  }
  // CHECK: %[[S:.*]] = lora.sum_rows %{{.*}} : tensor<?x32xf32> to tensor<32xf32>
  %s = lora.sum_rows %y : tensor<?x32xf32> to tensor<32xf32>
  // CHECK: lora.set @v.lora_magnitude_vector, %[[S]] : tensor<32xf32>
  lora.set @v.lora_magnitude_vector, %s : tensor<32xf32>
  lora.return
}

// CHECK-LABEL: lora.program micro_batch @low_rank
lora.program micro_batch @low_rank(%x: tensor<?x64xf32>, %dy: tensor<?x32xf32>) {
  // CHECK: %[[A:.*]] = lora.use @q.lora_A.weight : tensor<4x64xf32>
  %a = lora.use @q.lora_A.weight : tensor<4x64xf32>
  %b = lora.use @q.lora_B.weight : tensor<32x4xf32>
  // CHECK: %[[D:.*]] = lora.dropout %{{.*}} p 1.000000e-01 stream 3 : tensor<?x64xf32>
  %d = lora.dropout %x p 1.0e-01 stream 3 : tensor<?x64xf32>
  // CHECK: lora.low_rank %[[D]], %[[A]], %{{.*}} scale 2.000000e+00 : (tensor<?x64xf32>, tensor<4x64xf32>, tensor<32x4xf32>) -> tensor<?x32xf32>
  %y = lora.low_rank %d, %a, %b scale 2.0 : (tensor<?x64xf32>, tensor<4x64xf32>, tensor<32x4xf32>) -> tensor<?x32xf32>
  // CHECK: %[[DA:.*]], %{{.*}}, %{{.*}} = lora.low_rank_backward {{.*}} -> (tensor<4x64xf32>, tensor<32x4xf32>, tensor<?x64xf32>)
  %da, %db, %dx = lora.low_rank_backward %d, %a, %b, %dy scale 2.0
      : (tensor<?x64xf32>, tensor<4x64xf32>, tensor<32x4xf32>, tensor<?x32xf32>) -> (tensor<4x64xf32>, tensor<32x4xf32>, tensor<?x64xf32>)
  // CHECK: lora.low_rank_backward {{.*}} -> (tensor<4x64xf32>, tensor<32x4xf32>){{$}}
  %da2, %db2 = lora.low_rank_backward %d, %a, %b, %dy scale 2.0
      : (tensor<?x64xf32>, tensor<4x64xf32>, tensor<32x4xf32>, tensor<?x32xf32>) -> (tensor<4x64xf32>, tensor<32x4xf32>)
  // CHECK: lora.gradient @q.lora_A.weight, %[[DA]] : tensor<4x64xf32>
  lora.gradient @q.lora_A.weight, %da : tensor<4x64xf32>
  lora.return
}

// CHECK-LABEL: lora.program micro_batch @backward
lora.program micro_batch @backward(%x: tensor<?x64xf32>, %dy: tensor<?x32xf32>) {
  %w = lora.use @w : !lora.weight<32x64, nf4<64>>
  %n = lora.use @norm : !lora.weight<64, vector>
  // CHECK: %[[DX:.*]] = lora.linear_backward %{{.*}}, %{{.*}} : (tensor<?x32xf32>, !lora.weight<32x64, nf4<64>>) -> tensor<?x64xf32>
  %dx = lora.linear_backward %dy, %w : (tensor<?x32xf32>, !lora.weight<32x64, nf4<64>>) -> tensor<?x64xf32>
  // CHECK: lora.rms_norm_backward %{{.*}}, %{{.*}}, %[[DX]] eps 1.000000e-05 :
  %dh = lora.rms_norm_backward %x, %n, %dx eps 1.0e-05 : (tensor<?x64xf32>, !lora.weight<64, vector>, tensor<?x64xf32>) -> tensor<?x64xf32>
  // CHECK: lora.rms_norm_backward %{{.*}}, %{{.*}}, %[[DX]] onto(%{{.*}}) eps 1.000000e-05 :
  %di = lora.rms_norm_backward %x, %n, %dx onto(%dh) eps 1.0e-05
      : (tensor<?x64xf32>, !lora.weight<64, vector>, tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  lora.return
}

// CHECK-LABEL: lora.program micro_batch @fused
lora.program micro_batch @fused(%x: tensor<?x64xf32>, %r: tensor<?x32xf32>) {
  %w = lora.use @w : !lora.weight<32x64, nf4<64>>
  %a = lora.use @q.lora_A.weight : tensor<4x64xf32>
  %b = lora.use @q.lora_B.weight : tensor<32x4xf32>
  // CHECK: %[[T:.*]] = lora.matmul nt %{{.*}}, %{{.*}} scale 1.000000e+00 : (tensor<?x64xf32>, tensor<4x64xf32>) -> tensor<?x4xf32>
  %t = lora.matmul nt %x, %a scale 1.0 : (tensor<?x64xf32>, tensor<4x64xf32>) -> tensor<?x4xf32>
  // CHECK: lora.matmul nn %{{.*}}, %{{.*}} scale 2.000000e+00 : (tensor<?x32xf32>, tensor<32x4xf32>) -> tensor<?x4xf32>
  %dt = lora.matmul nn %r, %b scale 2.0 : (tensor<?x32xf32>, tensor<32x4xf32>) -> tensor<?x4xf32>
  // CHECK: lora.matmul tn %{{.*}}, %{{.*}} scale 1.000000e+00 : (tensor<?x4xf32>, tensor<?x64xf32>) -> tensor<4x64xf32>
  %da = lora.matmul tn %dt, %x scale 1.0 : (tensor<?x4xf32>, tensor<?x64xf32>) -> tensor<4x64xf32>
  // CHECK: lora.adapted_linear(%{{.*}}, %{{.*}}) low_rank(%[[T]], %{{.*}}) residual(%{{.*}}) scale 2.000000e+00 :
  %0 = lora.adapted_linear(%x, %w) low_rank(%t, %b) residual(%r) scale 2.0
      : (tensor<?x64xf32>, !lora.weight<32x64, nf4<64>>, tensor<?x4xf32>, tensor<32x4xf32>, tensor<?x32xf32>) -> tensor<?x32xf32>
  // CHECK: lora.adapted_linear(%{{.*}}, %{{.*}}) residual(%{{.*}}) scale 1.000000e+00 :
  %1 = lora.adapted_linear(%x, %w) residual(%r) scale 1.0
      : (tensor<?x64xf32>, !lora.weight<32x64, nf4<64>>, tensor<?x32xf32>) -> tensor<?x32xf32>
  // CHECK: lora.adapted_linear(%{{.*}}, %{{.*}}) scale 1.000000e+00 :
  %2 = lora.adapted_linear(%x, %w) scale 1.0 : (tensor<?x64xf32>, !lora.weight<32x64, nf4<64>>) -> tensor<?x32xf32>
  // CHECK: lora.adapted_linear_backward(%{{.*}}, %{{.*}}) low_rank(%{{.*}}, %{{.*}}) onto(%{{.*}}) :
  %3 = lora.adapted_linear_backward(%r, %w) low_rank(%dt, %a) onto(%x)
      : (tensor<?x32xf32>, !lora.weight<32x64, nf4<64>>, tensor<?x4xf32>, tensor<4x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  // CHECK: lora.adapted_linear_backward(%{{.*}}, %{{.*}}) :
  %4 = lora.adapted_linear_backward(%r, %w) : (tensor<?x32xf32>, !lora.weight<32x64, nf4<64>>) -> tensor<?x64xf32>
  lora.return
}

// CHECK-LABEL: lora.program micro_batch @stacked
lora.program micro_batch @stacked(%x: tensor<?x64xf32>) -> tensor<?x10xf32> {
  // CHECK: %[[A:.*]] = lora.use @"q+k.lora_A" : tensor<6x64xf32>
  %a = lora.use @"q+k.lora_A" : tensor<6x64xf32>
  // CHECK: %[[T:.*]] = lora.matmul nt %{{.*}}, %[[A]]
  %t = lora.matmul nt %x, %a scale 1.0 : (tensor<?x64xf32>, tensor<6x64xf32>) -> tensor<?x6xf32>
  // CHECK: %[[K:.*]] = lora.columns %[[T]] from 4 : tensor<?x6xf32> to tensor<?x2xf32>
  %tk = lora.columns %t from 4 : tensor<?x6xf32> to tensor<?x2xf32>
  // CHECK: lora.concat %[[K]], %[[T]], %[[K]] : (tensor<?x2xf32>, tensor<?x6xf32>, tensor<?x2xf32>) -> tensor<?x10xf32>
  %c = lora.concat %tk, %t, %tk : (tensor<?x2xf32>, tensor<?x6xf32>, tensor<?x2xf32>) -> tensor<?x10xf32>
  lora.return %c : tensor<?x10xf32>
}

// CHECK-LABEL: lora.program micro_batch @epilogues
lora.program micro_batch @epilogues(%x: tensor<?x64xf32>, %positions: tensor<?xi32>) -> (tensor<?x2x16xf32>, tensor<?x32xf32>, tensor<?x32xf32>) {
  %w = lora.use @w : !lora.weight<32x64, nf4<64>>
  // CHECK: %[[Q:.*]] = lora.fused : tensor<?x2x16xf32> {
  %q = lora.fused : tensor<?x2x16xf32> {
    // CHECK-NEXT: %[[Y:.*]] = lora.adapted_linear
    %y = lora.adapted_linear(%x, %w) scale 1.0 : (tensor<?x64xf32>, !lora.weight<32x64, nf4<64>>) -> tensor<?x32xf32>
    // CHECK-NEXT: %[[V:.*]] = lora.view %[[Y]]
    %v = lora.view %y : tensor<?x32xf32> to tensor<?x2x16xf32>
    // CHECK-NEXT: %[[R:.*]] = lora.rope %[[V]]
    %r = lora.rope %v, %positions by @rope : (tensor<?x2x16xf32>, tensor<?xi32>) -> tensor<?x2x16xf32>
    // CHECK-NEXT: lora.yield %[[R]] : tensor<?x2x16xf32>
    lora.yield %r : tensor<?x2x16xf32>
  }
  // CHECK: lora.fused : tensor<?x32xf32>, tensor<?x32xf32> {
  %0:2 = lora.fused : tensor<?x32xf32>, tensor<?x32xf32> {
    %y = lora.adapted_linear(%x, %w) scale 1.0 : (tensor<?x64xf32>, !lora.weight<32x64, nf4<64>>) -> tensor<?x32xf32>
    %z = lora.map %y : (tensor<?x32xf32>) -> tensor<?x32xf32> {
    ^bb0(%e: f32):
      %n = arith.negf %e : f32
      lora.yield %n : f32
    }
    lora.yield %z, %y : tensor<?x32xf32>, tensor<?x32xf32>
  }
  lora.return %q, %0#0, %0#1 : tensor<?x2x16xf32>, tensor<?x32xf32>, tensor<?x32xf32>
}
