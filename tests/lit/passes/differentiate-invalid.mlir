// RUN: lorac-opt %s --lora-differentiate --split-input-file --verify-diagnostics

// expected-error@+1 {{needs the programs @hidden and @loss}}
module {
}

// -----

lora.frozen @embed : !lora.weight<16x8, f32>
// expected-error@+1 {{gets no gradient: the loss does not depend on it}}
lora.param @a : tensor<2x8xf32>
lora.program inference @hidden(%ids: tensor<?xi32>, %positions: tensor<?xi32>, %segments: tensor<?xi32>) -> tensor<?x8xf32> {
  %e = lora.use @embed : !lora.weight<16x8, f32>
  %x = lora.embed %ids, %e : (tensor<?xi32>, !lora.weight<16x8, f32>) -> tensor<?x8xf32>
  lora.return %x : tensor<?x8xf32>
}
lora.program inference @loss(%h: tensor<?x8xf32>, %labels: tensor<?xi32>) -> tensor<?xf32> {
  %w = lora.use @embed : !lora.weight<16x8, f32>
  %l = lora.cross_entropy %h, %w, %labels : (tensor<?x8xf32>, !lora.weight<16x8, f32>, tensor<?xi32>) -> tensor<?xf32>
  lora.return %l : tensor<?xf32>
}

// -----

// An op without a gradient between a trainable and the loss.
lora.frozen @embed : !lora.weight<16x8, f32>
lora.param @a : tensor<2x8xf32>
lora.program inference @hidden(%ids: tensor<?xi32>, %positions: tensor<?xi32>, %segments: tensor<?xi32>) -> tensor<?x8xf32> {
  %e = lora.use @embed : !lora.weight<16x8, f32>
  %x = lora.embed %ids, %e : (tensor<?xi32>, !lora.weight<16x8, f32>) -> tensor<?x8xf32>
  %a = lora.use @a : tensor<2x8xf32>
  %t = lora.matmul nt %x, %a scale 1.0 : (tensor<?x8xf32>, tensor<2x8xf32>) -> tensor<?x2xf32>
  // expected-error@+1 {{lies between a trainable and the loss and has no gradient}}
  %h = lora.matmul nn %t, %a scale 1.0 : (tensor<?x2xf32>, tensor<2x8xf32>) -> tensor<?x8xf32>
  lora.return %h : tensor<?x8xf32>
}
lora.program inference @loss(%h: tensor<?x8xf32>, %labels: tensor<?xi32>) -> tensor<?xf32> {
  %w = lora.use @embed : !lora.weight<16x8, f32>
  %l = lora.cross_entropy %h, %w, %labels : (tensor<?x8xf32>, !lora.weight<16x8, f32>, tensor<?xi32>) -> tensor<?xf32>
  lora.return %l : tensor<?xf32>
}

// -----

// A map of an op that has no rule.
lora.frozen @embed : !lora.weight<16x8, f32>
lora.param @a : tensor<2x8xf32>
lora.param @b : tensor<8x2xf32>
lora.program inference @hidden(%ids: tensor<?xi32>, %positions: tensor<?xi32>, %segments: tensor<?xi32>) -> tensor<?x8xf32> {
  %e = lora.use @embed : !lora.weight<16x8, f32>
  %x = lora.embed %ids, %e : (tensor<?xi32>, !lora.weight<16x8, f32>) -> tensor<?x8xf32>
  %a = lora.use @a : tensor<2x8xf32>
  %b = lora.use @b : tensor<8x2xf32>
  %u = lora.low_rank %x, %a, %b scale 1.0 : (tensor<?x8xf32>, tensor<2x8xf32>, tensor<8x2xf32>) -> tensor<?x8xf32>
  %h = lora.map %u : (tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%v: f32):
    // expected-error@+1 {{has no gradient in a lora.map; addf, subf, mulf, divf, negf, select and the functions of dsl/Functions.def have one}}
    %s = math.sin %v : f32
    lora.yield %s : f32
  }
  lora.return %h : tensor<?x8xf32>
}
lora.program inference @loss(%h: tensor<?x8xf32>, %labels: tensor<?xi32>) -> tensor<?xf32> {
  %w = lora.use @embed : !lora.weight<16x8, f32>
  %l = lora.cross_entropy %h, %w, %labels : (tensor<?x8xf32>, !lora.weight<16x8, f32>, tensor<?xi32>) -> tensor<?xf32>
  lora.return %l : tensor<?xf32>
}
