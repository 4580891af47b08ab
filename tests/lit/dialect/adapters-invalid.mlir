// RUN: lorac-opt %s --split-input-file --verify-diagnostics
// One case for each constraint of adapters, fused ops and launches.

// low_rank_c1: ranks
lora.program micro_batch @f(%x: tensor<?x8xf32>, %a: tensor<2x8xf32>, %b: tensor<5x3xf32>) {
  // expected-error@+1 {{needs one rank, got 2 and 3}}
  %y = lora.low_rank %x, %a, %b scale 1.0 : (tensor<?x8xf32>, tensor<2x8xf32>, tensor<5x3xf32>) -> tensor<?x5xf32>
  lora.return
}

// -----

// low_rank_c1: A's input
lora.program micro_batch @f(%x: tensor<?x8xf32>, %a: tensor<2x7xf32>, %b: tensor<5x2xf32>) {
  // expected-error@+1 {{needs A [r, 8] and B [5, r], got 'tensor<2x7xf32>' and 'tensor<5x2xf32>'}}
  %y = lora.low_rank %x, %a, %b scale 1.0 : (tensor<?x8xf32>, tensor<2x7xf32>, tensor<5x2xf32>) -> tensor<?x5xf32>
  lora.return
}

// -----

// low_rank_c1: B's output
lora.program micro_batch @f(%x: tensor<?x8xf32>, %a: tensor<2x8xf32>, %b: tensor<5x2xf32>) {
  // expected-error@+1 {{needs A [r, 8] and B [6, r]}}
  %y = lora.low_rank %x, %a, %b scale 1.0 : (tensor<?x8xf32>, tensor<2x8xf32>, tensor<5x2xf32>) -> tensor<?x6xf32>
  lora.return
}

// -----

// weight_norm_c1: ranks
lora.program micro_batch @f(%w: !lora.weight<4x8, f32>, %a: tensor<2x8xf32>, %b: tensor<4x3xf32>) {
  // expected-error@+1 {{needs A [r, 8], B [4, r] and a norm [4], got 'tensor<2x8xf32>', 'tensor<4x3xf32>' and 'tensor<4xf32>'}}
  %n = lora.weight_norm %w, %a, %b scale 1.0 : (!lora.weight<4x8, f32>, tensor<2x8xf32>, tensor<4x3xf32>) -> tensor<4xf32>
  lora.return
}

// -----

// weight_norm_c1: a number a row
lora.program micro_batch @f(%w: !lora.weight<4x8, f32>, %a: tensor<2x8xf32>, %b: tensor<4x2xf32>) {
  // expected-error@+1 {{needs A [r, 8], B [4, r] and a norm [4]}}
  %n = lora.weight_norm %w, %a, %b scale 1.0 : (!lora.weight<4x8, f32>, tensor<2x8xf32>, tensor<4x2xf32>) -> tensor<8xf32>
  lora.return
}

// -----

// weight_norm: a matrix
lora.program micro_batch @f(%w: !lora.weight<8, vector>, %a: tensor<2x8xf32>, %b: tensor<4x2xf32>) {
  // expected-error@+1 {{needs a weight [out, in], got '!lora.weight<8, vector>'}}
  %n = lora.weight_norm %w, %a, %b scale 1.0 : (!lora.weight<8, vector>, tensor<2x8xf32>, tensor<4x2xf32>) -> tensor<4xf32>
  lora.return
}

// -----

// sum_rows_c1
lora.program micro_batch @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{needs [tokens, n] and [n], got 'tensor<?x8xf32>' and 'tensor<7xf32>'}}
  %y = lora.sum_rows %x : tensor<?x8xf32> to tensor<7xf32>
  lora.return
}

// -----

// set_c1: the symbol
lora.program micro_batch @f(%x: tensor<8xf32>) {
  // expected-error@+1 {{no param is named @m}}
  lora.set @m, %x : tensor<8xf32>
  lora.return
}

// -----

// set_c1: the type
lora.param @m : tensor<7xf32>
lora.program micro_batch @f(%x: tensor<8xf32>) {
  // expected-error@+1 {{@m has type 'tensor<7xf32>', its value has 'tensor<8xf32>'}}
  lora.set @m, %x : tensor<8xf32>
  lora.return
}

// -----

// dropout_c1: the lower end
lora.program micro_batch @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{needs 0 < p < 1, got 0.000000e+00}}
  %y = lora.dropout %x p 0.0 stream 0 : tensor<?x8xf32>
  lora.return
}

// -----

// dropout_c1: the upper end
lora.program micro_batch @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{needs 0 < p < 1, got 1.000000e+00}}
  %y = lora.dropout %x p 1.0 stream 0 : tensor<?x8xf32>
  lora.return
}

// -----

// dropout_c1: no number
lora.program micro_batch @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{needs 0 < p < 1, got nan}}
  %y = lora.dropout %x p 0x7FF8000000000000 stream 0 : tensor<?x8xf32>
  lora.return
}

// -----

// matmul_c1: nt
lora.program micro_batch @f(%a: tensor<?x8xf32>, %b: tensor<4x7xf32>) {
  // expected-error@+1 {{shapes do not multiply: 'tensor<?x8xf32>', 'tensor<4x7xf32>' -> 'tensor<?x4xf32>'}}
  %c = lora.matmul nt %a, %b scale 1.0 : (tensor<?x8xf32>, tensor<4x7xf32>) -> tensor<?x4xf32>
  lora.return
}

// -----

// matmul_c1: nn
lora.program micro_batch @f(%a: tensor<?x8xf32>, %b: tensor<4x8xf32>) {
  // expected-error@+1 {{shapes do not multiply}}
  %c = lora.matmul nn %a, %b scale 1.0 : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
  lora.return
}

// -----

// matmul_c1: tn, the result
lora.program micro_batch @f(%a: tensor<?x8xf32>, %b: tensor<?x4xf32>) {
  // expected-error@+1 {{shapes do not multiply}}
  %c = lora.matmul tn %a, %b scale 1.0 : (tensor<?x8xf32>, tensor<?x4xf32>) -> tensor<4x8xf32>
  lora.return
}

// -----

// expected-error@+2 {{expected string or keyword containing one of the following enum values for attribute 'kind' [nt, nn, tn]}}
lora.program micro_batch @f(%a: tensor<?x8xf32>) {
  %c = lora.matmul tt %a, %a scale 1.0 : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<8x8xf32>
  lora.return
}

// -----

// adapted_linear_c1: ranks
lora.program micro_batch @f(%x: tensor<?x8xf32>, %w: !lora.weight<5x8, f32>, %t: tensor<?x2xf32>, %b: tensor<5x3xf32>) {
  // expected-error@+1 {{low-rank operands do not fit: 'tensor<?x2xf32>' and 'tensor<5x3xf32>'}}
  %y = lora.adapted_linear(%x, %w) low_rank(%t, %b) scale 1.0
      : (tensor<?x8xf32>, !lora.weight<5x8, f32>, tensor<?x2xf32>, tensor<5x3xf32>) -> tensor<?x5xf32>
  lora.return
}

// -----

// adapted_linear_c1: B's output
lora.program micro_batch @f(%x: tensor<?x8xf32>, %w: !lora.weight<5x8, f32>, %t: tensor<?x2xf32>, %b: tensor<6x2xf32>) {
  // expected-error@+1 {{low-rank operands do not fit: 'tensor<?x2xf32>' and 'tensor<6x2xf32>'}}
  %y = lora.adapted_linear(%x, %w) low_rank(%t, %b) scale 1.0
      : (tensor<?x8xf32>, !lora.weight<5x8, f32>, tensor<?x2xf32>, tensor<6x2xf32>) -> tensor<?x5xf32>
  lora.return
}

// -----

// adapted_linear_c1: both or neither
lora.program micro_batch @f(%x: tensor<?x8xf32>, %w: !lora.weight<5x8, f32>, %t: tensor<?x2xf32>) {
  // expected-error@+1 {{needs both low-rank operands or neither}}
  %y = "lora.adapted_linear"(%x, %w, %t) <{operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>, scale = 1.0 : f64}>
      : (tensor<?x8xf32>, !lora.weight<5x8, f32>, tensor<?x2xf32>) -> tensor<?x5xf32>
  lora.return
}

// -----

// adapted_linear: the base product itself
lora.program micro_batch @f(%x: tensor<?x7xf32>, %w: !lora.weight<5x8, f32>) {
  // expected-error@+1 {{needs [tokens, 8] and [tokens, 5]}}
  %y = lora.adapted_linear(%x, %w) scale 1.0 : (tensor<?x7xf32>, !lora.weight<5x8, f32>) -> tensor<?x5xf32>
  lora.return
}

// -----

// adapted_linear_backward_c1: A's input
lora.program micro_batch @f(%dy: tensor<?x5xf32>, %w: !lora.weight<5x8, f32>, %dt: tensor<?x2xf32>, %a: tensor<2x7xf32>) {
  // expected-error@+1 {{low-rank operands do not fit: 'tensor<?x2xf32>' and 'tensor<2x7xf32>'}}
  %dx = lora.adapted_linear_backward(%dy, %w) low_rank(%dt, %a)
      : (tensor<?x5xf32>, !lora.weight<5x8, f32>, tensor<?x2xf32>, tensor<2x7xf32>) -> tensor<?x8xf32>
  lora.return
}

// -----

// adapted_linear_backward_c1: both or neither
lora.program micro_batch @f(%dy: tensor<?x5xf32>, %w: !lora.weight<5x8, f32>, %a: tensor<2x8xf32>) {
  // expected-error@+1 {{needs both low-rank operands or neither}}
  %dx = "lora.adapted_linear_backward"(%dy, %w, %a) <{operandSegmentSizes = array<i32: 1, 1, 0, 1, 0>}>
      : (tensor<?x5xf32>, !lora.weight<5x8, f32>, tensor<2x8xf32>) -> tensor<?x8xf32>
  lora.return
}

// -----

// launch_c1
lora.program micro_batch @f(%h: memref<8x16xf32>) {
  // expected-error@+1 {{no kernel is named @f}}
  lora.launch @f(%h) rows [0, 128] : memref<8x16xf32>
  lora.return
}

// -----

// stack_c1: a part that is no param
lora.param @a : tensor<2x8xf32>
// expected-error@+1 {{no param is named @b}}
lora.stack @s [@a, @b] : tensor<4x8xf32>

// -----

// stack_c1: other columns
lora.param @a : tensor<2x8xf32>
lora.param @b : tensor<2x7xf32>
// expected-error@+1 {{@b has type 'tensor<2x7xf32>', the stack has 'tensor<4x8xf32>'}}
lora.stack @s [@a, @b] : tensor<4x8xf32>

// -----

// stack_c1: rows
lora.param @a : tensor<2x8xf32>
lora.param @b : tensor<3x8xf32>
// expected-error@+1 {{its parts have 5 rows, its type has 4}}
lora.stack @s [@a, @b] : tensor<4x8xf32>

// -----

// columns_c1
lora.program micro_batch @f(%t: tensor<?x8xf32>) {
  // expected-error@+1 {{columns [6, 9) are not in 'tensor<?x8xf32>'}}
  %y = lora.columns %t from 6 : tensor<?x8xf32> to tensor<?x3xf32>
  lora.return
}

// -----

// concat_c1
lora.program micro_batch @f(%t: tensor<?x8xf32>) {
  // expected-error@+1 {{its operands have 16 columns, its result has 15}}
  %y = lora.concat %t, %t : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x15xf32>
  lora.return
}

// -----

// fused_c1: begins with a product
lora.program micro_batch @f(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{needs a product over a frozen weight first}}
  %0 = lora.fused : tensor<?x8xf32> {
    %z = lora.map %x : (tensor<?x8xf32>) -> tensor<?x8xf32> {
    ^bb0(%e: f32):
      lora.yield %e : f32
    }
    lora.yield %z : tensor<?x8xf32>
  }
  lora.return
}

// -----

// fused_c1: the epilogue reads the product
lora.program micro_batch @f(%x: tensor<?x8xf32>, %w: !lora.weight<8x8, f32>) {
  // expected-error@+1 {{its epilogue does not read its product}}
  %0 = lora.fused : tensor<?x8xf32> {
    %y = lora.adapted_linear(%x, %w) scale 1.0 : (tensor<?x8xf32>, !lora.weight<8x8, f32>) -> tensor<?x8xf32>
    %z = lora.map %x : (tensor<?x8xf32>) -> tensor<?x8xf32> {
    ^bb0(%e: f32):
      %n = arith.negf %e : f32
      lora.yield %n : f32
    }
    lora.yield %z : tensor<?x8xf32>
  }
  lora.return
}

// -----

// fused_c2: the order of results
lora.program micro_batch @f(%x: tensor<?x8xf32>, %w: !lora.weight<8x8, f32>) {
  // expected-error@+1 {{yields the epilogue's results, then the product}}
  %0:2 = lora.fused : tensor<?x8xf32>, tensor<?x8xf32> {
    %y = lora.adapted_linear(%x, %w) scale 1.0 : (tensor<?x8xf32>, !lora.weight<8x8, f32>) -> tensor<?x8xf32>
    %z = lora.map %y : (tensor<?x8xf32>) -> tensor<?x8xf32> {
    ^bb0(%e: f32):
      %n = arith.negf %e : f32
      lora.yield %n : f32
    }
    lora.yield %y, %z : tensor<?x8xf32>, tensor<?x8xf32>
  }
  lora.return
}

// -----

// orthogonal_term_c1: a square matrix
lora.program micro_batch @f(%g: tensor<4x8xf32>) {
  // expected-error@+1 {{needs a square matrix and a gradient of its type}}
  %d, %n = lora.orthogonal_term %g scale 1.0 : tensor<4x8xf32> -> tensor<4x8xf32>, tensor<1xf32>
  lora.return
}

// -----

// orthogonal_term_c1: one number
lora.program micro_batch @f(%g: tensor<4x4xf32>) {
  // expected-error@+1 {{the norm is tensor<1xf32>}}
  %d, %n = lora.orthogonal_term %g scale 1.0 : tensor<4x4xf32> -> tensor<4x4xf32>, tensor<2xf32>
  lora.return
}

// -----

// orthogonality_c1
// expected-error@+1 {{needs a positive weight, got 0.0}}
lora.orthogonality weight 0.0
