// RUN: lorac-opt %s --split-input-file --verify-diagnostics

// expected-error@+1 {{no adapter is named @q}}
lora.param @a lora_A of @q : tensor<4x64xf32>

// -----

lora.adapter @q of @w rank 4 scale 2.0
// expected-error@+1 {{of type 'tensor<3x64xf32>' is no lora_A of an adapter of rank 4}}
lora.param @a lora_A of @q : tensor<3x64xf32>

// -----

lora.adapter @q of @w rank 4 scale 2.0
// expected-error@+1 {{of type 'tensor<4x64xf32>' is no lora_B of an adapter of rank 4}}
lora.param @b lora_B of @q : tensor<4x64xf32>

// -----

lora.adapter @q of @w rank 4 scale 2.0
// expected-error@+1 {{of type 'tensor<4x2xf32>' is no lora_E of an adapter of rank 4}}
lora.param @e lora_E of @q : tensor<4x2xf32>

// -----

lora.frozen @w : !lora.weight<32x64, f32>
lora.adapter @q of @w rank 4 scale 2.0
// expected-error@+1 {{of type 'tensor<64xf32>' has no number for each row of @w}}
lora.param @m lora_magnitude_vector of @q : tensor<64xf32>

// -----

lora.frozen @w : !lora.weight<32x64, f32>
lora.adapter @q of @w rank 4 scale 2.0
// expected-error@+1 {{of type 'tensor<32x1xf32>' has no number for each row of @w}}
lora.param @m lora_magnitude_vector of @q : tensor<32x1xf32>

// -----

// expected-error@+1 {{has a role and no adapter, or an adapter and no role}}
"lora.param"() <{sym_name = "a", type = tensor<4x64xf32>, adapter = @q}> : () -> ()
