// RUN: lorac-opt %s --split-input-file --verify-diagnostics

// expected-error@+1 {{no storage format is named 'q2_k'}}
lora.frozen @w : !lora.weight<4x4, q2_k>

// -----

// expected-error@+1 {{a weight in format 'f32' has 2 dimension(s), got 1}}
lora.frozen @w : !lora.weight<4, f32>

// -----

// expected-error@+1 {{a weight in format 'vector' has 1 dimension(s), got 2}}
lora.frozen @w : !lora.weight<4x4, vector>

// -----

// expected-error@+1 {{block size must be a power of two from 32 to 4096, got 48}}
lora.frozen @w : !lora.weight<4x4, nf4<48>>

// -----

// expected-error@+1 {{block size must be a power of two from 32 to 4096, got 16}}
lora.frozen @w : !lora.weight<4x4, fp4<16>>

// -----

// expected-error@+1 {{block size must be a power of two from 32 to 4096, got 8192}}
lora.frozen @w : !lora.weight<4x4, nf4<8192, dq256>>

// -----

// expected-error@+1 {{expected 'dq256'}}
lora.frozen @w : !lora.weight<4x4, nf4<64, dq128>>

// -----

// expected-error@+1 {{rows of format 'q8_0' are multiples of 32, got 48}}
lora.frozen @w : !lora.weight<4x48, q8_0>

// -----

// expected-error@+1 {{rows of format 'q4_0' are multiples of 32, got 31}}
lora.frozen @w : !lora.weight<4x31, q4_0>

// -----

// expected-error@+1 {{rows of format 'q4_1' are multiples of 32, got 16}}
lora.frozen @w : !lora.weight<4x16, q4_1>
