// RUN: lorac-opt %s --lora-select-kernels="device=cuda compute=bf16" --lora-stack-launches | FileCheck %s
// Products of one x become parts of one launch, products that add to one dx as well; what must come one after the other stays apart.

module {
  lora.limits tokens 64 length 16
  lora.frozen @embed : !lora.weight<100x64, f32>
  lora.frozen @q : !lora.weight<64x64, nf4<64>>
  lora.frozen @k : !lora.weight<32x64, nf4<64>>
  lora.frozen @v : !lora.weight<32x64, int8<32, f16>>
  lora.frozen @o : !lora.weight<64x32, nf4<64>>
  lora.param @b : tensor<64x4xf32>
  // CHECK-NOT: lora.kernel @linear_forward_nf4_64x64
  // CHECK-DAG: lora.kernel @linear_forward_nf4_64_32x64_low_rank {{.*}}in_turn = false, parts = [{{.*}}n = 64{{.*}}n = 32
  // CHECK-DAG: lora.kernel @linear_backward_nf4_64_64x64 {{.*}}parts = [
  // CHECK-DAG: lora.kernel @linear_forward_nf4_64_64x64_map {{.*}}in_turn = true

  // CHECK-LABEL: lora.program micro_batch @beside
  lora.program micro_batch @beside(%ids: tensor<?xi32> loc("ids"), %t: tensor<?x4xf32> loc("t")) -> tensor<?x64xf32> {
    %e = lora.use @embed : !lora.weight<100x64, f32>
    %wq = lora.use @q : !lora.weight<64x64, nf4<64>>
    %wk = lora.use @k : !lora.weight<32x64, nf4<64>>
    %wv = lora.use @v : !lora.weight<32x64, int8<32, f16>>
    %wo = lora.use @o : !lora.weight<64x32, nf4<64>>
    %b = lora.use @b : tensor<64x4xf32>
    // CHECK: lora.launch @embed{{.*}}%[[X:[^ ,)]*]]) rows
    %x = lora.embed %ids, %e : (tensor<?xi32>, !lora.weight<100x64, f32>) -> tensor<?x64xf32>
    // CHECK: lora.launch @linear_forward_nf4_64_32x64_low_rank(%[[X]], %{{[^,]*}}, %{{[^,]*}}, %{{[^,]*}}, %[[Q:[^,]*]], %{{[^,]*}}, %[[K:[^,)]*]]) rows{{ ?}}[0, 64] scalars{{ ?}}[4, 16]
    %q = lora.adapted_linear(%x, %wq) low_rank(%t, %b) scale 1.0 : (tensor<?x64xf32>, !lora.weight<64x64, nf4<64>>, tensor<?x4xf32>, tensor<64x4xf32>) -> tensor<?x64xf32>
    %k = lora.adapted_linear(%x, %wk) scale 1.0 : (tensor<?x64xf32>, !lora.weight<32x64, nf4<64>>) -> tensor<?x32xf32>
    // Of another format.
    // CHECK: lora.launch @linear_forward_int8_32x64(%[[X]],
    %v = lora.adapted_linear(%x, %wv) scale 1.0 : (tensor<?x64xf32>, !lora.weight<32x64, int8<32, f16>>) -> tensor<?x32xf32>
    // Of what the launch before has written.
    // CHECK: lora.launch @linear_forward_nf4_64x32_residual(%[[K]], %{{[^,]*}}, %[[Q]],
    // CHECK: lora.launch @linear_forward_nf4_64x32_residual(
    %s = lora.adapted_linear(%k, %wo) residual(%q) scale 1.0 : (tensor<?x32xf32>, !lora.weight<64x32, nf4<64>>, tensor<?x64xf32>) -> tensor<?x64xf32>
    %u = lora.adapted_linear(%v, %wo) residual(%s) scale 1.0 : (tensor<?x32xf32>, !lora.weight<64x32, nf4<64>>, tensor<?x64xf32>) -> tensor<?x64xf32>
    lora.return %u : tensor<?x64xf32>
  }

  // A map of a product with the one before it.
  // CHECK-LABEL: lora.program micro_batch @in_turn
  lora.program micro_batch @in_turn(%ids: tensor<?xi32> loc("ids")) -> tensor<?x32xf32> {
    %e = lora.use @embed : !lora.weight<100x64, f32>
    %wv = lora.use @v : !lora.weight<32x64, int8<32, f16>>
    %x = lora.embed %ids, %e : (tensor<?xi32>, !lora.weight<100x64, f32>) -> tensor<?x64xf32>
    %w = lora.use @q : !lora.weight<64x64, nf4<64>>
    // CHECK: lora.launch @linear_forward_nf4_64_64x64_map(%{{[^,]*}}, %{{[^,]*}}, %[[GATE:[^,]*]], %{{[^,]*}}, %[[GATE]],
    %gate = lora.adapted_linear(%x, %w) scale 1.0 : (tensor<?x64xf32>, !lora.weight<64x64, nf4<64>>) -> tensor<?x64xf32>
    %f = lora.fused : tensor<?x64xf32> {
      %up = lora.adapted_linear(%x, %w) scale 1.0 : (tensor<?x64xf32>, !lora.weight<64x64, nf4<64>>) -> tensor<?x64xf32>
      %m = lora.map %gate, %up : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32> {
      ^bb0(%a: f32, %c: f32):
        %p = arith.mulf %a, %c : f32
        lora.yield %p : f32
      }
      lora.yield %m : tensor<?x64xf32>
    }
    // CHECK-NEXT: lora.launch @linear_forward_int8
    %y = lora.adapted_linear(%f, %wv) scale 1.0 : (tensor<?x64xf32>, !lora.weight<32x64, int8<32, f16>>) -> tensor<?x32xf32>
    lora.return %y : tensor<?x32xf32>
  }

  // CHECK-LABEL: lora.program micro_batch @sums
  lora.program micro_batch @sums(%ids: tensor<?xi32> loc("ids")) -> tensor<?x32xf32> {
    %e = lora.use @embed : !lora.weight<100x64, f32>
    %wv = lora.use @v : !lora.weight<32x64, int8<32, f16>>
    %x = lora.embed %ids, %e : (tensor<?xi32>, !lora.weight<100x64, f32>) -> tensor<?x64xf32>
    %w = lora.use @q : !lora.weight<64x64, nf4<64>>
    // CHECK: lora.launch @linear_backward_nf4_64_64x64(%[[DY:[^,]*]], %[[W:[^,]*]], %[[DY]], %[[W]], %{{[^,)]*}}) rows
    %a = lora.adapted_linear_backward(%x, %w) : (tensor<?x64xf32>, !lora.weight<64x64, nf4<64>>) -> tensor<?x64xf32>
    %b = lora.adapted_linear_backward(%x, %w) onto(%a) : (tensor<?x64xf32>, !lora.weight<64x64, nf4<64>>, tensor<?x64xf32>) -> tensor<?x64xf32>
    // CHECK-NEXT: lora.launch @linear_forward_int8
    %y = lora.adapted_linear(%b, %wv) scale 1.0 : (tensor<?x64xf32>, !lora.weight<32x64, int8<32, f16>>) -> tensor<?x32xf32>
    lora.return %y : tensor<?x32xf32>
  }
}
