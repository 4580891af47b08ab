// RUN: lorac-opt %s --split-input-file --verify-diagnostics

// expected-error@+1 {{no storage format is written 'q2_k'; there are f32, f16}}
lora.frozen @w : !lora.weight<4x4, q2_k>

// -----

// expected-error@+1 {{a weight in format 'f32' has 2 dimension(s), got 1}}
lora.frozen @w : !lora.weight<4, f32>

// -----

// expected-error@+1 {{a weight in format 'vector' has 1 dimension(s), got 2}}
lora.frozen @w : !lora.weight<4x4, vector>

// -----

// expected-error@+1 {{no storage format is written 'nf4<48>'}}
lora.frozen @w : !lora.weight<4x4, nf4<48>>

// -----

// expected-error@+1 {{no storage format is written 'fp4<16>'}}
lora.frozen @w : !lora.weight<4x4, fp4<16>>

// -----

// expected-error@+1 {{no storage format is written 'nf4<8192,dq256>'}}
lora.frozen @w : !lora.weight<4x4, nf4<8192, dq256>>

// -----

// expected-error@+1 {{no storage format is written 'nf4<64,dq128>'}}
lora.frozen @w : !lora.weight<4x4, nf4<64, dq128>>

// -----

// expected-error@+1 {{rows of format 'int8<32, f16>' are multiples of 32, got 48}}
lora.frozen @w : !lora.weight<4x48, int8<32, f16>>

// -----

// expected-error@+1 {{rows of format 'int4<32, f16>' are multiples of 32, got 31}}
lora.frozen @w : !lora.weight<4x31, int4<32, f16>>

// -----

// expected-error@+1 {{rows of format 'int4<32, f16, min>' are multiples of 32, got 16}}
lora.frozen @w : !lora.weight<4x16, int4<32, f16, min>>

// -----

// expected-error@+1 {{no storage format is written 'int5<32,f16>'}}
lora.frozen @w : !lora.weight<4x64, int5<32, f16>>

// -----

// expected-error@+1 {{no storage format is written 'int8<128,f32>'}}
lora.frozen @w : !lora.weight<4x128, int8<128, f32>>
