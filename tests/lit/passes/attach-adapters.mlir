// RUN: lorac-opt %s --lora-attach-adapters | FileCheck %s
// RUN: lorac-opt %s --lora-attach-adapters --mlir-print-debuginfo | FileCheck %s --check-prefix=LOC

// LOC: #[[TOML:loc[0-9]*]] = loc("tiny.toml":8:1)
// LOC: #[[AT:loc[0-9]+]] = loc("q"(#[[TOML]]))

module {
  // CHECK: lora.adapter @o of @o.weight rank 3 scale 5.000000e-01 dropout 1.000000e-01
  // CHECK-NEXT: lora.param @q.lora_A.weight lora_A of @q : tensor<2x8xf32>
  // CHECK-NEXT: lora.param @q.lora_B.weight lora_B of @q : tensor<4x2xf32>
  // CHECK-NEXT: lora.param @o.lora_A.weight lora_A of @o : tensor<3x8xf32>
  // CHECK-NEXT: lora.param @o.lora_B.weight lora_B of @o : tensor<4x3xf32>
  lora.frozen @q.weight : !lora.weight<4x8, f32>
  lora.frozen @v.weight : !lora.weight<4x8, nf4<64>>
  lora.frozen @o.weight : !lora.weight<4x8, f32>
  lora.frozen @k.weight : !lora.weight<4x8, f32>
  lora.adapter @q of @q.weight rank 2 scale 2.0 dropout 0.0 loc("tiny.toml":8:1)
  lora.adapter @v of @v.weight rank 0 scale 2.0
  lora.adapter @o of @o.weight rank 3 scale 0.5 dropout 0.1

  // CHECK-LABEL: lora.program inference @hidden
  // CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>)
  lora.program inference @hidden(%x: tensor<?x8xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) {
    // CHECK: %[[BASE:.*]] = lora.linear %[[X]]
    // CHECK-NEXT: %[[A:.*]] = lora.use @q.lora_A.weight
    // CHECK-NEXT: %[[B:.*]] = lora.use @q.lora_B.weight
    // CHECK-NEXT: %[[UP:.*]] = lora.low_rank %[[X]], %[[A]], %[[B]] scale 2.000000e+00
    // CHECK-NEXT: %[[Q:.*]] = lora.map %[[BASE]], %[[UP]] :
    // CHECK: arith.addf
    // The update stands where the spec's adapter stands.
    // LOC: lora.low_rank {{.*}} loc(#[[AT]])
    %w = lora.use @q.weight : !lora.weight<4x8, f32>
    %q = lora.linear %x, %w : (tensor<?x8xf32>, !lora.weight<4x8, f32>) -> tensor<?x4xf32>
    // Rank 0: the module stays as it is.
    // CHECK: %[[V:.*]] = lora.linear {{.*}} nf4<64>
    // CHECK-NOT: low_rank
    %vw = lora.use @v.weight : !lora.weight<4x8, nf4<64>>
    %v = lora.linear %x, %vw : (tensor<?x8xf32>, !lora.weight<4x8, nf4<64>>) -> tensor<?x4xf32>
    // Dropout stands in front of A; the base product sees x itself. The second adapted module has stream 1.
    // CHECK: %[[BASE2:.*]] = lora.linear %[[X]]
    // CHECK-NEXT: %[[D:.*]] = lora.dropout %[[X]] p 1.000000e-01 stream 1
    // CHECK: %[[UP2:.*]] = lora.low_rank %[[D]], {{.*}} scale 5.000000e-01
    // CHECK-NEXT: %[[O:.*]] = lora.map %[[BASE2]], %[[UP2]] :
    %ow = lora.use @o.weight : !lora.weight<4x8, f32>
    %o = lora.linear %x, %ow : (tensor<?x8xf32>, !lora.weight<4x8, f32>) -> tensor<?x4xf32>
    // A module that no adapter names stays.
    // CHECK: %[[K:.*]] = lora.linear
    // CHECK-NEXT: lora.return %[[Q]], %[[V]], %[[O]], %[[K]]
    %kw = lora.use @k.weight : !lora.weight<4x8, f32>
    %k = lora.linear %x, %kw : (tensor<?x8xf32>, !lora.weight<4x8, f32>) -> tensor<?x4xf32>
    lora.return %q, %v, %o, %k : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  }
}
