// RUN: lorac-opt %s --lora-fuse-elementwise | FileCheck %s

// silu(gate) * up: one map.
// CHECK-LABEL: lora.program micro_batch @chain
// CHECK-SAME: (%[[G:.*]]: tensor<?x3xf32>, %[[U:.*]]: tensor<?x3xf32>)
// CHECK-NEXT: %[[Y:.*]] = lora.map %[[G]], %[[U]] : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32> {
// CHECK-NEXT: ^bb0(%[[A:.*]]: f32, %[[B:.*]]: f32):
// CHECK-NEXT: %[[N:.*]] = math.exp %[[A]] : f32
// CHECK-NEXT: %[[M:.*]] = arith.mulf %[[N]], %[[B]] : f32
// CHECK-NEXT: lora.yield %[[M]] : f32
// CHECK: lora.return %[[Y]]
lora.program micro_batch @chain(%gate: tensor<?x3xf32>, %up: tensor<?x3xf32>) -> tensor<?x3xf32> {
  %s = lora.map %gate : (tensor<?x3xf32>) -> tensor<?x3xf32> {
  ^bb0(%a: f32):
    %n = math.exp %a : f32
    lora.yield %n : f32
  }
  %y = lora.map %s, %up : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32> {
  ^bb0(%a: f32, %b: f32):
    %m = arith.mulf %a, %b : f32
    lora.yield %m : f32
  }
  lora.return %y : tensor<?x3xf32>
}

// Declined: the inner value is read elsewhere too.
// CHECK-LABEL: lora.program micro_batch @read_twice
// CHECK-COUNT-2: lora.map
lora.program micro_batch @read_twice(%x: tensor<?x3xf32>) -> (tensor<?x3xf32>, tensor<?x3xf32>) {
  %s = lora.map %x : (tensor<?x3xf32>) -> tensor<?x3xf32> {
  ^bb0(%a: f32):
    %n = math.exp %a : f32
    lora.yield %n : f32
  }
  %y = lora.map %s : (tensor<?x3xf32>) -> tensor<?x3xf32> {
  ^bb0(%a: f32):
    %n = arith.negf %a : f32
    lora.yield %n : f32
  }
  lora.return %s, %y : tensor<?x3xf32>, tensor<?x3xf32>
}

// Declined: sums belong to FuseKernels.
// CHECK-LABEL: lora.program micro_batch @sum
// CHECK-COUNT-2: lora.map
lora.program micro_batch @sum(%x: tensor<?x3xf32>, %z: tensor<?x3xf32>) -> tensor<?x3xf32> {
  %s = lora.map %x, %z : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32> {
  ^bb0(%a: f32, %b: f32):
    %n = arith.addf %a, %b : f32
    lora.yield %n : f32
  }
  %y = lora.map %s : (tensor<?x3xf32>) -> tensor<?x3xf32> {
  ^bb0(%a: f32):
    %n = arith.negf %a : f32
    lora.yield %n : f32
  }
  lora.return %y : tensor<?x3xf32>
}
