// RUN: lorac-opt %s --lora-attach-adapters --split-input-file --verify-diagnostics

// expected-error@+1 {{needs the attribute 'lora.adapters'}}
module {
}

// -----

// expected-error@+1 {{no linear of the model is named 'q'}}
module attributes {lora.adapters = [{module = "q", r = 2 : i64, scale = 2.0 : f64}]} {
}

// -----

// expected-error@+1 {{each of 'lora.adapters' needs 'module', 'r' >= 0 and 'scale', got {module = "q", r = -1 : i64, scale = 2.000000e+00 : f64}}}
module attributes {lora.adapters = [{module = "q", r = -1 : i64, scale = 2.0 : f64}]} {
}

// -----

// expected-error@+1 {{each of 'lora.adapters' needs 'module', 'r' >= 0 and 'scale', got "q"}}
module attributes {lora.adapters = ["q"]} {
}
