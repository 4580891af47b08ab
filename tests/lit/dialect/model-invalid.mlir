// RUN: lorac-opt %s --split-input-file --verify-diagnostics
// One case for each constraint of the described model's ops.

// use_c1: no such symbol
lora.program micro_batch @f() {
  // expected-error@+1 {{no frozen weight, param or stack is named @w}}
  %w = lora.use @w : !lora.weight<4x4, f32>
  lora.return
}

// -----

// use_c1: the symbol is something else
lora.program micro_batch @f() {
  // expected-error@+1 {{no frozen weight, param or stack is named @f}}
  %w = lora.use @f : !lora.weight<4x4, f32>
  lora.return
}

// -----

// use_c1: another type
lora.frozen @w : !lora.weight<4x4, f32>
lora.program micro_batch @f() {
  // expected-error@+1 {{@w has type '!lora.weight<4x4, f32>', used as '!lora.weight<4x4, f16>'}}
  %w = lora.use @w : !lora.weight<4x4, f16>
  lora.return
}

// -----

// gradient_c1: frozen weights have none
lora.frozen @w : !lora.weight<4x4, f32>
lora.program micro_batch @f(%g: tensor<4x4xf32>) {
  // expected-error@+1 {{no param or stack is named @w}}
  lora.gradient @w, %g : tensor<4x4xf32>
  lora.return
}

// -----

// gradient_c1: another shape
lora.param @a : tensor<4x8xf32>
lora.program micro_batch @f(%g: tensor<8x4xf32>) {
  // expected-error@+1 {{@a has type 'tensor<4x8xf32>', its gradient has 'tensor<8x4xf32>'}}
  lora.gradient @a, %g : tensor<8x4xf32>
  lora.return
}

// -----

// embed_c1
lora.program micro_batch @f(%ids: tensor<?xi32>, %w: !lora.weight<9x4, f32>) {
  // expected-error@+1 {{needs rows of length 4, got 'tensor<?x5xf32>'}}
  %x = lora.embed %ids, %w : (tensor<?xi32>, !lora.weight<9x4, f32>) -> tensor<?x5xf32>
  lora.return
}

// -----

// embed_c1: a norm is no matrix
lora.program micro_batch @f(%ids: tensor<?xi32>, %w: !lora.weight<4, vector>) {
  // expected-error@+1 {{needs rows of length 4}}
  %x = lora.embed %ids, %w : (tensor<?xi32>, !lora.weight<4, vector>) -> tensor<?x4xf32>
  lora.return
}

// -----

// rms_norm_c1
lora.program micro_batch @f(%x: tensor<?x8xf32>, %w: !lora.weight<4, vector>) {
  // expected-error@+1 {{needs a weight as long as the last dimension, got 'tensor<?x8xf32>' and '!lora.weight<4, vector>'}}
  %y = lora.rms_norm %x, %w eps 1.0e-05 : (tensor<?x8xf32>, !lora.weight<4, vector>) -> tensor<?x8xf32>
  lora.return
}

// -----

// linear_c1
lora.program micro_batch @f(%x: tensor<?x8xf32>, %w: !lora.weight<4x9, f32>) {
  // expected-error@+1 {{needs [tokens, 9] and [tokens, 4] for '!lora.weight<4x9, f32>', got 'tensor<?x8xf32>' and 'tensor<?x4xf32>'}}
  %y = lora.linear %x, %w : (tensor<?x8xf32>, !lora.weight<4x9, f32>) -> tensor<?x4xf32>
  lora.return
}

// -----

// linear_c1: the result
lora.program micro_batch @f(%x: tensor<?x9xf32>, %w: !lora.weight<4x9, f32>) {
  // expected-error@+1 {{needs [tokens, 9] and [tokens, 4]}}
  %y = lora.linear %x, %w : (tensor<?x9xf32>, !lora.weight<4x9, f32>) -> tensor<?x9xf32>
  lora.return
}

// -----

// linear_c1: a norm is no matrix
lora.program micro_batch @f(%x: tensor<?x9xf32>, %w: !lora.weight<9, vector>) {
  // expected-error@+1 {{needs a weight [out, in], got '!lora.weight<9, vector>'}}
  %y = lora.linear %x, %w : (tensor<?x9xf32>, !lora.weight<9, vector>) -> tensor<?x9xf32>
  lora.return
}

// -----

// linear_backward_c1
lora.program micro_batch @f(%dy: tensor<?x9xf32>, %w: !lora.weight<4x9, f32>) {
  // expected-error@+1 {{needs [tokens, 4] and [tokens, 9] for '!lora.weight<4x9, f32>', got 'tensor<?x9xf32>' and 'tensor<?x4xf32>'}}
  %dx = lora.linear_backward %dy, %w : (tensor<?x9xf32>, !lora.weight<4x9, f32>) -> tensor<?x4xf32>
  lora.return
}

// -----

// view_c1
lora.program micro_batch @f(%x: tensor<?x64xf32>) {
  // expected-error@+1 {{needs the same number of elements a token, got 'tensor<?x64xf32>' and 'tensor<?x4x15xf32>'}}
  %y = lora.view %x : tensor<?x64xf32> to tensor<?x4x15xf32>
  lora.return
}

// -----

// rope_c1: two dimensions
lora.program micro_batch @f(%x: tensor<?x64xf32>, %p: tensor<?xi32>) {
  // expected-error@+1 {{needs [tokens, heads, even d], got 'tensor<?x64xf32>'}}
  %y = lora.rope %x, %p by @rope : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x64xf32>
  lora.return
}

// -----

// rope_c1: odd d
lora.program micro_batch @f(%x: tensor<?x4x15xf32>, %p: tensor<?xi32>) {
  // expected-error@+1 {{needs [tokens, heads, even d], got 'tensor<?x4x15xf32>'}}
  %y = lora.rope %x, %p by @rope : (tensor<?x4x15xf32>, tensor<?xi32>) -> tensor<?x4x15xf32>
  lora.return
}

// -----

// rope_c2: no frequencies of this name
lora.program micro_batch @f(%x: tensor<?x4x16xf32>, %p: tensor<?xi32>) {
  // expected-error@+1 {{no frequencies are named @rope}}
  %y = lora.rope %x, %p by @rope : (tensor<?x4x16xf32>, tensor<?xi32>) -> tensor<?x4x16xf32>
  lora.return
}

// -----

// rope_c2: a frequency for each pair
lora.frequencies @rope [1.0, 0.1] factor 1.0
lora.program micro_batch @f(%x: tensor<?x4x16xf32>, %p: tensor<?xi32>) {
  // expected-error@+1 {{@rope has 2 frequencies, a head has 8 pairs}}
  %y = lora.rope %x, %p by @rope : (tensor<?x4x16xf32>, tensor<?xi32>) -> tensor<?x4x16xf32>
  lora.return
}

// -----

// attention_c3: a window of no keys
lora.program micro_batch @f(%q: tensor<?x4x16xf32>, %k: tensor<?x2x16xf32>, %s: tensor<?xi32>) {
  // expected-error@+1 {{needs a positive window, got 0}}
  %o, %lse = lora.attention %q, %k, %k, %s scale 0.25 window 0 : (tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>) -> (tensor<?x64xf32>, tensor<?x4xf32>)
  lora.return
}

// -----

// attention_c3: a cap of 0
lora.program micro_batch @f(%q: tensor<?x4x16xf32>, %k: tensor<?x2x16xf32>, %s: tensor<?xi32>) {
  // expected-error@+1 {{needs a positive softcap, got 0}}
  %o, %lse = lora.attention %q, %k, %k, %s scale 0.25 softcap 0.0 : (tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>) -> (tensor<?x64xf32>, tensor<?x4xf32>)
  lora.return
}

// -----

// cross_entropy_c2: a body of two results
lora.program micro_batch @f(%h: tensor<?x4xf32>, %w: !lora.weight<9x4, f32>, %labels: tensor<?xi32>) {
  // expected-error@+1 {{needs a body of one f32 that yields one f32}}
  %l = lora.cross_entropy %h, %w, %labels : (tensor<?x4xf32>, !lora.weight<9x4, f32>, tensor<?xi32>) -> tensor<?xf32> logits {
  ^bb0(%z: f32):
    lora.yield %z, %z : f32, f32
  }
  lora.return
}

// -----

// rope_c1: another shape comes out
lora.program micro_batch @f(%x: tensor<?x4x16xf32>, %p: tensor<?xi32>) {
  // expected-error@+1 {{needs [tokens, heads, even d]}}
  %y = lora.rope %x, %p by @rope : (tensor<?x4x16xf32>, tensor<?xi32>) -> tensor<?x2x32xf32>
  lora.return
}

// -----

// attention_c1: 4 heads over 3
lora.program micro_batch @f(%q: tensor<?x4x16xf32>, %k: tensor<?x3x16xf32>, %s: tensor<?xi32>) {
  // expected-error@+1 {{needs heads a multiple of kv heads and one head size, got 'tensor<?x4x16xf32>' and 'tensor<?x3x16xf32>'}}
  %o, %lse = lora.attention %q, %k, %k, %s scale 1.0
      : (tensor<?x4x16xf32>, tensor<?x3x16xf32>, tensor<?x3x16xf32>, tensor<?xi32>) -> (tensor<?x64xf32>, tensor<?x4xf32>)
  lora.return
}

// -----

// attention_c1: head sizes
lora.program micro_batch @f(%q: tensor<?x4x16xf32>, %k: tensor<?x2x8xf32>, %s: tensor<?xi32>) {
  // expected-error@+1 {{needs heads a multiple of kv heads and one head size}}
  %o, %lse = lora.attention %q, %k, %k, %s scale 1.0
      : (tensor<?x4x16xf32>, tensor<?x2x8xf32>, tensor<?x2x8xf32>, tensor<?xi32>) -> (tensor<?x64xf32>, tensor<?x4xf32>)
  lora.return
}

// -----

// attention_c1: k and v differ
lora.program micro_batch @f(%q: tensor<?x4x16xf32>, %k: tensor<?x2x16xf32>, %v: tensor<?x4x16xf32>, %s: tensor<?xi32>) {
  // expected-error@+1 {{needs heads a multiple of kv heads and one head size}}
  %o, %lse = lora.attention %q, %k, %v, %s scale 1.0
      : (tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x4x16xf32>, tensor<?xi32>) -> (tensor<?x64xf32>, tensor<?x4xf32>)
  lora.return
}

// -----

// attention_c2: o
lora.program micro_batch @f(%q: tensor<?x4x16xf32>, %k: tensor<?x2x16xf32>, %s: tensor<?xi32>) {
  // expected-error@+1 {{needs results [tokens, 64] and [tokens, 4]}}
  %o, %lse = lora.attention %q, %k, %k, %s scale 1.0
      : (tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>) -> (tensor<?x32xf32>, tensor<?x4xf32>)
  lora.return
}

// -----

// attention_c2: lse
lora.program micro_batch @f(%q: tensor<?x4x16xf32>, %k: tensor<?x2x16xf32>, %s: tensor<?xi32>) {
  // expected-error@+1 {{needs results [tokens, 64] and [tokens, 4]}}
  %o, %lse = lora.attention %q, %k, %k, %s scale 1.0
      : (tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>) -> (tensor<?x64xf32>, tensor<?x2xf32>)
  lora.return
}

// -----

// map_c1: arguments
lora.program micro_batch @f(%a: tensor<?x4xf32>) {
  // expected-error@+1 {{needs one block argument an operand and one yielded value a result}}
  %y = lora.map %a, %a : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%x: f32):
    lora.yield %x : f32
  }
  lora.return
}

// -----

// map_c1: yielded values
lora.program micro_batch @f(%a: tensor<?x4xf32>) {
  // expected-error@+1 {{needs one block argument an operand and one yielded value a result}}
  %y = lora.map %a : (tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%x: f32):
    lora.yield %x, %x : f32, f32
  }
  lora.return
}

// -----

// map_c1: shapes of inputs
lora.program micro_batch @f(%a: tensor<?x4xf32>, %b: tensor<?x5xf32>) {
  // expected-error@+1 {{needs one shape, got 'tensor<?x5xf32>' and 'tensor<?x4xf32>'}}
  %y = lora.map %a, %b : (tensor<?x4xf32>, tensor<?x5xf32>) -> tensor<?x4xf32> {
  ^bb0(%x: f32, %z: f32):
    lora.yield %x : f32
  }
  lora.return
}

// -----

// map_c1: a row of another length
lora.program micro_batch @f(%a: tensor<?x4xf32>, %b: tensor<5xf32>) {
  // expected-error@+1 {{needs one shape, got 'tensor<5xf32>' and 'tensor<?x4xf32>'}}
  %y = lora.map %a, %b : (tensor<?x4xf32>, tensor<5xf32>) -> tensor<?x4xf32> {
  ^bb0(%x: f32, %z: f32):
    lora.yield %x : f32
  }
  lora.return
}

// -----

// map_c1: a row beside heads
lora.program micro_batch @f(%a: tensor<?x2x4xf32>, %b: tensor<4xf32>) {
  // expected-error@+1 {{needs one shape, got 'tensor<4xf32>' and 'tensor<?x2x4xf32>'}}
  %y = lora.map %a, %b : (tensor<?x2x4xf32>, tensor<4xf32>) -> tensor<?x2x4xf32> {
  ^bb0(%x: f32, %z: f32):
    lora.yield %x : f32
  }
  lora.return
}

// -----

// map_c1: rows alone
lora.program micro_batch @f(%a: tensor<4xf32>) {
  // expected-error@+1 {{has no operand of its results' shape}}
  %y = lora.map %a : (tensor<4xf32>) -> tensor<?x4xf32> {
  ^bb0(%x: f32):
    lora.yield %x : f32
  }
  lora.return
}

// -----

// map_c1: block arguments
lora.program micro_batch @f(%a: tensor<?x4xf32>) {
  // expected-error@+1 {{needs f32 block arguments and yields, got 'f64'}}
  %y = lora.map %a : (tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%x: f64):
    %c = arith.constant 1.0 : f32
    lora.yield %c : f32
  }
  lora.return
}

// -----

// cross_entropy_c1
lora.program micro_batch @f(%h: tensor<?x4xf32>, %w: !lora.weight<9x5, f32>, %labels: tensor<?xi32>) {
  // expected-error@+1 {{needs h [tokens, 5], got 'tensor<?x4xf32>'}}
  %l = lora.cross_entropy %h, %w, %labels : (tensor<?x4xf32>, !lora.weight<9x5, f32>, tensor<?xi32>) -> tensor<?xf32>
  lora.return
}

// -----

// cross_entropy_c3: a whole label
lora.program micro_batch @f(%h: tensor<?x4xf32>, %w: !lora.weight<9x4, f32>, %labels: tensor<?xi32>) {
  // expected-error@+1 {{needs a smoothing in [0, 1), got 1.000000e+00}}
  %l, %dh = lora.cross_entropy_backward %h, %w, %labels smoothing 1.0 : (tensor<?x4xf32>, !lora.weight<9x4, f32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?x4xf32>)
  lora.return
}
