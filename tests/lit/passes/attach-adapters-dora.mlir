// RUN: lorac-opt %s --lora-attach-adapters | FileCheck %s
// DoRA: a length for each row of W, trained; the sum of base product and update is scaled row by row.

module {
  // CHECK: lora.param @q.lora_A.weight lora_A of @q : tensor<2x8xf32>
  // CHECK-NEXT: lora.param @q.lora_B.weight lora_B of @q : tensor<4x2xf32>
  // CHECK-NEXT: lora.param @q.lora_magnitude_vector lora_magnitude_vector of @q : tensor<4xf32>
  // CHECK-NEXT: lora.param @o.lora_A.weight lora_A of @o : tensor<3x8xf32>
  lora.frozen @q.weight : !lora.weight<4x8, nf4<64>>
  lora.frozen @o.weight : !lora.weight<4x8, f32>
  lora.adapter @q of @q.weight rank 2 scale 2.0 method "dora"
  lora.adapter @o of @o.weight rank 3 scale 0.5 dropout 0.1 method "dora"

  // CHECK-LABEL: lora.program inference @hidden
  // CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>)
  lora.program inference @hidden(%x: tensor<?x8xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
    // CHECK: %[[W:.*]] = lora.use @q.weight
    // CHECK-NEXT: %[[BASE:.*]] = lora.linear %[[X]], %[[W]]
    // CHECK-NEXT: %[[A:.*]] = lora.use @q.lora_A.weight
    // CHECK-NEXT: %[[B:.*]] = lora.use @q.lora_B.weight
    // CHECK-NEXT: %[[UP:.*]] = lora.low_rank %[[X]], %[[A]], %[[B]] scale 2.000000e+00
    // CHECK-NEXT: %[[M:.*]] = lora.use @q.lora_magnitude_vector
    // CHECK-NEXT: %[[N:.*]] = lora.weight_norm %[[W]], %[[A]], %[[B]] scale 2.000000e+00
    // CHECK-NEXT: %[[Z:.*]] = lora.map %[[BASE]], %[[UP]] :
    // CHECK: %[[Q:.*]] = lora.map %[[Z]], %[[M]], %[[N]] :
    // CHECK-NEXT: ^bb0(%[[ZE:.*]]: f32, %[[ME:.*]]: f32, %[[NE:.*]]: f32):
    // A row without a length keeps what it is.
    // CHECK: %[[IS_ZERO:.*]] = arith.cmpf oeq, %[[NE]], %
    // CHECK-NEXT: %[[DIVISOR:.*]] = arith.select %[[IS_ZERO]], %[[ONE:.*]], %[[NE]]
    // CHECK-NEXT: %[[QUOTIENT:.*]] = arith.divf %[[ME]], %[[DIVISOR]]
    // CHECK-NEXT: %[[RATIO:.*]] = arith.select %[[IS_ZERO]], %[[ONE]], %[[QUOTIENT]]
    // CHECK-NEXT: arith.mulf %[[RATIO]], %[[ZE]]
    %w = lora.use @q.weight : !lora.weight<4x8, nf4<64>>
    %q = lora.linear %x, %w : (tensor<?x8xf32>, !lora.weight<4x8, nf4<64>>) -> tensor<?x4xf32>
    // With dropout the base product of what it takes away is added as it is.
    // CHECK: %[[V:.*]] = lora.use @o.weight
    // CHECK-NEXT: %[[D:.*]] = lora.dropout %[[X]] p 1.000000e-01 stream 1
    // CHECK: %[[UP2:.*]] = lora.low_rank %[[D]]
    // CHECK: lora.weight_norm %[[V]]
    // CHECK: %[[OFD:.*]] = lora.linear %[[D]], %[[V]]
    // CHECK: %[[Z2:.*]] = lora.map %[[OFD]], %[[UP2]] :
    // CHECK: %[[SCALED:.*]] = lora.map %[[Z2]],
    // CHECK: %[[REST:.*]] = lora.map %[[X]], %[[D]] :
    // CHECK: arith.subf
    // CHECK: %[[OFREST:.*]] = lora.linear %[[REST]], %[[V]]
    // CHECK: %[[O:.*]] = lora.map %[[OFREST]], %[[SCALED]] :
    // CHECK: lora.return %[[Q]], %[[O]]
    %v = lora.use @o.weight : !lora.weight<4x8, f32>
    %o = lora.linear %x, %v : (tensor<?x8xf32>, !lora.weight<4x8, f32>) -> tensor<?x4xf32>
    lora.return %q, %o : tensor<?x4xf32>, tensor<?x4xf32>
  }
  // CHECK-LABEL: lora.program start @initialize()
  // CHECK-NEXT: %[[W:.*]] = lora.use @q.weight
  // CHECK-NEXT: %[[A:.*]] = lora.use @q.lora_A.weight
  // CHECK-NEXT: %[[B:.*]] = lora.use @q.lora_B.weight
  // CHECK-NEXT: %[[N:.*]] = lora.weight_norm %[[W]], %[[A]], %[[B]] scale 2.000000e+00
  // CHECK-NEXT: lora.set @q.lora_magnitude_vector, %[[N]] : tensor<4xf32>
  // CHECK: lora.set @o.lora_magnitude_vector
  // CHECK-NEXT: lora.return
}
