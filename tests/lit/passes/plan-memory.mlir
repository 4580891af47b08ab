// RUN: lorac-opt %s --lora-plan-memory | FileCheck %s
// Regions of parameters and gradients, then those that are declared (10 floats, 40 bytes, each region 128 with its margin), then io, then
// locals by lifetime.

// CHECK: lora.arena bytes 4736 persistent 576
// CHECK: lora.region @params params floats 10 at 0
// CHECK: lora.region @grads grads floats 10 at 128
module {
  // CHECK: lora.param @a : tensor<2x4xf32> {offset = 0 : i64}
  // CHECK: lora.param @b : tensor<2x1xf32> {offset = 8 : i64}
  // CHECK: lora.region @exp_avg state floats 10 at 256
  // CHECK: lora.region @exp_avg_sq state floats 10 at 384
  lora.param @a : tensor<2x4xf32>
  lora.param @b : tensor<2x1xf32>
  lora.region @exp_avg state floats 10 at -1
  lora.region @exp_avg_sq state floats 10 at -1
  lora.kernel @copy family "map" rows tile 16 count 0 scratch 0 {}
  lora.kernel @add family "map" rows tile 16 count 0 scratch 0 {}

  // CHECK-LABEL: lora.program micro_batch @train
  lora.program micro_batch @train() {
    // CHECK: lora.buffer io "ids" at 512
    %ids = lora.buffer io "ids" at -1 : memref<16xi32>
    // CHECK: lora.buffer param "b" at 32
    %b = lora.buffer param "b" at -1 : memref<2x1xf32>
    // CHECK: lora.buffer grad "b" at 160
    %gb = lora.buffer grad "b" at -1 : memref<2x1xf32>
    // x and y live at one time, so do y and z; z takes x's place.
    // CHECK: lora.buffer local "x" at 2624
    // CHECK: lora.buffer local "y" at 576
    // CHECK: lora.buffer local "z" at 2624
    %x = lora.buffer local "x" at -1 : memref<16x16xf32>
    %y = lora.buffer local "y" at -1 : memref<32x16xf32>
    %z = lora.buffer local "z" at -1 : memref<32x16xf32>
    lora.launch @copy(%ids, %x) rows [0, 16] : memref<16xi32>, memref<16x16xf32>
    lora.launch @add(%x, %b, %y) rows [0, 16] : memref<16x16xf32>, memref<2x1xf32>, memref<32x16xf32>
    // A slice keeps the whole alive.
    // CHECK: lora.slice
    %part = lora.slice %y by 1024 : memref<32x16xf32> to memref<16x16xf32>
    lora.launch @copy(%part, %z) rows [0, 16] : memref<16x16xf32>, memref<32x16xf32>
    lora.launch @copy(%z, %gb) rows [0, 16] : memref<32x16xf32>, memref<2x1xf32>
    lora.return
  }

  // Another program shares the arena: the same io, its locals from the same place on.
  // CHECK-LABEL: lora.program inference @hidden
  lora.program inference @hidden() {
    // CHECK: lora.buffer io "ids" at 512
    %ids = lora.buffer io "ids" at -1 : memref<16xi32>
    // CHECK: lora.buffer local "h" at 576
    %h = lora.buffer local "h" at -1 : memref<16x16xf32>
    lora.launch @copy(%ids, %h) rows [0, 16] : memref<16xi32>, memref<16x16xf32>
    lora.return
  }
}
