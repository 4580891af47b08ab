// RUN: lorac-opt %s --lora-plan-memory --lora-check-memory | FileCheck %s
// What @hidden hands to @loss is nothing to a step, which has its locals there; in both programs of inference it has a place of its own.

// CHECK: lora.arena bytes 4352 persistent 192
module {
  lora.kernel @copy family "map" rows tile 16 count 0 scratch 0 {}

  // CHECK-LABEL: lora.program micro_batch @train
  lora.program micro_batch @train() {
    // CHECK: lora.buffer io "ids" at 128
    // CHECK: lora.buffer local "x" at 192
    %ids = lora.buffer io "ids" at -1 : memref<16xi32>
    %x = lora.buffer local "x" at -1 : memref<64x16xf32>
    lora.launch @copy(%ids, %x) rows [0, 16] : memref<16xi32>, memref<64x16xf32>
    lora.return
  }

  // CHECK-LABEL: lora.program inference @hidden
  lora.program inference @hidden() {
    // CHECK: lora.buffer io "hidden" at 192
    // CHECK: lora.buffer local "h" at 1216
    %ids = lora.buffer io "ids" at -1 : memref<16xi32>
    %hidden = lora.buffer io "hidden" at -1 : memref<16x16xf32>
    %h = lora.buffer local "h" at -1 : memref<16x16xf32>
    lora.launch @copy(%ids, %h) rows [0, 16] : memref<16xi32>, memref<16x16xf32>
    lora.launch @copy(%h, %hidden) rows [0, 16] : memref<16x16xf32>, memref<16x16xf32>
    lora.return
  }

  // CHECK-LABEL: lora.program inference @loss
  lora.program inference @loss() {
    // CHECK: lora.buffer io "hidden" at 192
    // CHECK: lora.buffer local "z" at 1216
    %hidden = lora.buffer io "hidden" at -1 : memref<16x16xf32>
    %z = lora.buffer local "z" at -1 : memref<16x16xf32>
    lora.launch @copy(%hidden, %z) rows [0, 16] : memref<16x16xf32>, memref<16x16xf32>
    lora.return
  }
}
