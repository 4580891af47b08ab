// RUN: lorac-opt %s --canonicalize | FileCheck %s
// A view of the same shape, and a view back, are the value itself.

// CHECK-LABEL: lora.program micro_batch @views
// CHECK-SAME: (%[[X:.*]]: tensor<?x64xf32>)
// CHECK-NEXT: lora.return %[[X]], %[[X]]
lora.program micro_batch @views(%x: tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %same = lora.view %x : tensor<?x64xf32> to tensor<?x64xf32>
  %heads = lora.view %x : tensor<?x64xf32> to tensor<?x4x16xf32>
  %back = lora.view %heads : tensor<?x4x16xf32> to tensor<?x64xf32>
  lora.return %same, %back : tensor<?x64xf32>, tensor<?x64xf32>
}

// A view that stays: another shape than before.
// CHECK-LABEL: lora.program micro_batch @view_stays
// CHECK: lora.view
lora.program micro_batch @view_stays(%x: tensor<?x64xf32>) -> tensor<?x4x16xf32> {
  %heads = lora.view %x : tensor<?x64xf32> to tensor<?x4x16xf32>
  lora.return %heads : tensor<?x4x16xf32>
}

// Only what is used is computed: %unused goes, its input too; %same is the input itself.
// CHECK-LABEL: lora.program micro_batch @map
// CHECK-SAME: (%[[A:.*]]: tensor<?x3xf32>, %[[B:.*]]: tensor<?x3xf32>)
lora.program micro_batch @map(%a: tensor<?x3xf32>, %b: tensor<?x3xf32>) -> (tensor<?x3xf32>, tensor<?x3xf32>) {
  // CHECK-NEXT: %[[Y:.*]] = lora.map %[[A]] : (tensor<?x3xf32>) -> tensor<?x3xf32> {
  // CHECK-NEXT: ^bb0(%[[X:.*]]: f32):
  // CHECK-NEXT: %[[N:.*]] = arith.negf %[[X]] : f32
  // CHECK-NEXT: lora.yield %[[N]] : f32
  %y, %unused, %same = lora.map %a, %b : (tensor<?x3xf32>, tensor<?x3xf32>) -> (tensor<?x3xf32>, tensor<?x3xf32>, tensor<?x3xf32>) {
  ^bb0(%x: f32, %z: f32):
    %n = arith.negf %x : f32
    %e = math.exp %z : f32
    lora.yield %n, %e, %z : f32, f32, f32
  }
  // CHECK: lora.return %[[Y]], %[[B]]
  lora.return %y, %same : tensor<?x3xf32>, tensor<?x3xf32>
}

// A value that comes in twice comes in once; a map that nobody reads goes.
// CHECK-LABEL: lora.program micro_batch @map_twice
// CHECK-SAME: (%[[A:.*]]: tensor<?x3xf32>)
// CHECK-NEXT: lora.map %[[A]] : (tensor<?x3xf32>) -> tensor<?x3xf32>
// CHECK: arith.mulf %[[X:.*]], %[[X]] : f32
// CHECK-NOT: math.exp
lora.program micro_batch @map_twice(%a: tensor<?x3xf32>) -> tensor<?x3xf32> {
  %y = lora.map %a, %a : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32> {
  ^bb0(%x: f32, %z: f32):
    %n = arith.mulf %x, %z : f32
    lora.yield %n : f32
  }
  %dead = lora.map %y : (tensor<?x3xf32>) -> tensor<?x3xf32> {
  ^bb0(%x: f32):
    %n = math.exp %x : f32
    lora.yield %n : f32
  }
  lora.return %y : tensor<?x3xf32>
}

// A row for all tokens is no result; where rows alone would be left, an operand of the results' shape stays.
// CHECK-LABEL: lora.program micro_batch @map_rows
// CHECK-SAME: (%[[A:.*]]: tensor<?x3xf32>, %[[M:.*]]: tensor<3xf32>)
// CHECK-NEXT: %[[Y:.*]] = lora.map %[[M]], %[[A]] : (tensor<3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32> {
// CHECK-NEXT: ^bb0(%[[X:.*]]: f32, %{{.*}}: f32):
// CHECK-NEXT: lora.yield %[[X]] : f32
// CHECK: lora.return %[[Y]]
lora.program micro_batch @map_rows(%a: tensor<?x3xf32>, %m: tensor<3xf32>) -> tensor<?x3xf32> {
  %y, %unused = lora.map %a, %m : (tensor<?x3xf32>, tensor<3xf32>) -> (tensor<?x3xf32>, tensor<?x3xf32>) {
  ^bb0(%x: f32, %z: f32):
    %n = arith.mulf %x, %z : f32
    lora.yield %z, %n : f32, f32
  }
  lora.return %y : tensor<?x3xf32>
}
