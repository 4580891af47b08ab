// RUN: lorac-opt %s --lora-order-products | FileCheck %s

lora.param @a : tensor<4x64xf32>
lora.param @b : tensor<32x4xf32>
lora.param @wide_a : tensor<24x64xf32>
lora.param @wide_b : tensor<32x24xf32>

// x·Aᵀ is formed once, for forward and backward.
// CHECK-LABEL: lora.program micro_batch @forward_and_backward
// CHECK-SAME: (%[[X:.*]]: tensor<?x64xf32>, %[[DY:.*]]: tensor<?x32xf32>)
lora.program micro_batch @forward_and_backward(%x: tensor<?x64xf32>, %dy: tensor<?x32xf32>) -> (tensor<?x32xf32>, tensor<?x64xf32>) {
  // CHECK: %[[A:.*]] = lora.use @a
  // CHECK: %[[B:.*]] = lora.use @b
  %a = lora.use @a : tensor<4x64xf32>
  %b = lora.use @b : tensor<32x4xf32>
  // CHECK-NEXT: %[[T:.*]] = lora.matmul nt %[[X]], %[[A]] scale 1.000000e+00 : (tensor<?x64xf32>, tensor<4x64xf32>) -> tensor<?x4xf32>
  // CHECK-NEXT: %[[Y:.*]] = lora.matmul nt %[[T]], %[[B]] scale 2.000000e+00 : (tensor<?x4xf32>, tensor<32x4xf32>) -> tensor<?x32xf32>
  %y = lora.low_rank %x, %a, %b scale 2.0 : (tensor<?x64xf32>, tensor<4x64xf32>, tensor<32x4xf32>) -> tensor<?x32xf32>
  // CHECK-NOT: lora.matmul nt
  // CHECK: %[[DT:.*]] = lora.matmul nn %[[DY]], %[[B]] scale 2.000000e+00
  // CHECK-NEXT: %[[DA:.*]] = lora.matmul tn %[[DT]], %[[X]] scale 1.000000e+00
  // CHECK-NEXT: %[[DB:.*]] = lora.matmul tn %[[DY]], %[[T]] scale 2.000000e+00
  // CHECK-NEXT: %[[DX:.*]] = lora.matmul nn %[[DT]], %[[A]] scale 1.000000e+00
  %da, %db, %dx = lora.low_rank_backward %x, %a, %b, %dy scale 2.0
      : (tensor<?x64xf32>, tensor<4x64xf32>, tensor<32x4xf32>, tensor<?x32xf32>) -> (tensor<4x64xf32>, tensor<32x4xf32>, tensor<?x64xf32>)
  // CHECK-NEXT: lora.gradient @a, %[[DA]]
  // CHECK-NEXT: lora.gradient @b, %[[DB]]
  // CHECK-NEXT: lora.return %[[Y]], %[[DX]]
  lora.gradient @a, %da : tensor<4x64xf32>
  lora.gradient @b, %db : tensor<32x4xf32>
  lora.return %y, %dx : tensor<?x32xf32>, tensor<?x64xf32>
}

// Another input of the same A has a product of its own; without dx the last product is not formed.
// CHECK-LABEL: lora.program micro_batch @other_input
// CHECK-SAME: (%[[X:.*]]: tensor<?x64xf32>, %[[D:.*]]: tensor<?x64xf32>,
lora.program micro_batch @other_input(%x: tensor<?x64xf32>, %d: tensor<?x64xf32>, %dy: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %a = lora.use @a : tensor<4x64xf32>
  %b = lora.use @b : tensor<32x4xf32>
  // CHECK: lora.matmul nt %[[X]]
  %y = lora.low_rank %x, %a, %b scale 2.0 : (tensor<?x64xf32>, tensor<4x64xf32>, tensor<32x4xf32>) -> tensor<?x32xf32>
  // CHECK: lora.matmul tn %{{.*}}, %[[D]]
  // CHECK: %[[T:.*]] = lora.matmul nt %[[D]]
  // CHECK: lora.matmul tn %{{.*}}, %[[T]]
  // CHECK-NOT: lora.matmul nn {{.*}} -> tensor<?x64xf32>
  %da, %db = lora.low_rank_backward %d, %a, %b, %dy scale 2.0
      : (tensor<?x64xf32>, tensor<4x64xf32>, tensor<32x4xf32>, tensor<?x32xf32>) -> (tensor<4x64xf32>, tensor<32x4xf32>)
  lora.gradient @a, %da : tensor<4x64xf32>
  lora.gradient @b, %db : tensor<32x4xf32>
  lora.return %y : tensor<?x32xf32>
}

// At this rank the gradients cost less through the gradient of W.
// CHECK-LABEL: lora.program micro_batch @large_rank
// CHECK-SAME: (%[[X:.*]]: tensor<?x64xf32>, %[[DY:.*]]: tensor<?x32xf32>)
lora.program micro_batch @large_rank(%x: tensor<?x64xf32>, %dy: tensor<?x32xf32>) {
  %a = lora.use @wide_a : tensor<24x64xf32>
  %b = lora.use @wide_b : tensor<32x24xf32>
  // CHECK: %[[Z:.*]] = lora.matmul tn %[[DY]], %[[X]] scale 1.000000e+00 : (tensor<?x32xf32>, tensor<?x64xf32>) -> tensor<32x64xf32>
  // CHECK-NEXT: %[[DA:.*]] = lora.matmul tn %{{.*}}, %[[Z]] scale 2.000000e+00 : (tensor<32x24xf32>, tensor<32x64xf32>) -> tensor<24x64xf32>
  // CHECK-NEXT: %[[DB:.*]] = lora.matmul nt %[[Z]], %{{.*}} scale 2.000000e+00 : (tensor<32x64xf32>, tensor<24x64xf32>) -> tensor<32x24xf32>
  %da, %db = lora.low_rank_backward %x, %a, %b, %dy scale 2.0
      : (tensor<?x64xf32>, tensor<24x64xf32>, tensor<32x24xf32>, tensor<?x32xf32>) -> (tensor<24x64xf32>, tensor<32x24xf32>)
  // CHECK-NEXT: lora.gradient @wide_a, %[[DA]]
  // CHECK-NEXT: lora.gradient @wide_b, %[[DB]]
  lora.gradient @wide_a, %da : tensor<24x64xf32>
  lora.gradient @wide_b, %db : tensor<32x24xf32>
  lora.return
}
