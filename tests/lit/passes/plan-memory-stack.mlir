// RUN: lorac-opt %s --lora-plan-memory | FileCheck %s
// The parts of a stack follow one another; the stack begins where its first part begins.

module {
  // CHECK: lora.param @q_a : tensor<2x4xf32> {offset = 0 : i64}
  // CHECK: lora.param @q_b : tensor<3x2xf32> {offset = 12 : i64}
  // CHECK: lora.param @k_a : tensor<1x4xf32> {offset = 8 : i64}
  // CHECK: lora.param @k_b : tensor<3x1xf32> {offset = 18 : i64}
  lora.param @q_a : tensor<2x4xf32>
  lora.param @q_b : tensor<3x2xf32>
  lora.param @k_a : tensor<1x4xf32>
  lora.param @k_b : tensor<3x1xf32>
  lora.stack @a [@q_a, @k_a] : tensor<3x4xf32>
  lora.kernel @copy family "map" rows tile 16 count 0 scratch 0 {}
  lora.program micro_batch @train() {
    // CHECK: lora.buffer param "a" at 0 :
    // CHECK: lora.buffer grad "a" at 192 :
    // CHECK: lora.buffer param "k_a" at 32 :
    %a = lora.buffer param "a" at -1 : memref<3x4xf32>
    %ga = lora.buffer grad "a" at -1 : memref<3x4xf32>
    %k = lora.buffer param "k_a" at -1 : memref<1x4xf32>
    lora.launch @copy(%a, %ga) rows [0, 16] : memref<3x4xf32>, memref<3x4xf32>
    lora.launch @copy(%k, %ga) rows [0, 16] : memref<1x4xf32>, memref<3x4xf32>
    lora.return
  }
}
