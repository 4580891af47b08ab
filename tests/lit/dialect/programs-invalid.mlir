// RUN: lorac-opt %s --split-input-file --verify-diagnostics
// Each constraint of LoraProgramOps.td, broken once.

// expected-error@+1 {{no time of a program is named 'sometimes'}}
lora.program sometimes @f() {
  lora.return
}

// -----

lora.program update @f() -> tensor<?x8xf32> {
  // expected-error@+1 {{gives other types than program 'f' states}}
  lora.return
}

// -----

lora.program update @f(%h: tensor<?x8xf32>) -> tensor<?x4xf32> {
  // expected-error@+1 {{gives other types than program 'f' states}}
  lora.return %h : tensor<?x8xf32>
}

// -----

// expected-error@+1 {{failed to verify constraint: region with 1 blocks}}
"lora.program"() <{runs = 0 : i32, sym_name = "f", function_type = () -> ()}> ({
}) : () -> ()

// -----

// expected-error@+1 {{failed to verify constraint: region with 1 blocks}}
lora.program update @f() {
}

// -----

// expected-error@+1 {{has a limit of 0, expected a positive number}}
lora.limits tokens 0 length 32

// -----

// expected-error@+1 {{has a limit of -4, expected a positive number}}
lora.limits tokens 8 length 32 head_rows -4

// -----

// expected-error@+1 {{expects parent op 'lora.recompute'}}
lora.layers 0 to 1 kept 4 flops 17 again []
