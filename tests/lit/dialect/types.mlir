// RUN: lorac-opt %s | FileCheck %s
// RUN: lorac-opt %s | lorac-opt | FileCheck %s
// RUN: lorac-opt %s --mlir-print-op-generic | lorac-opt | FileCheck %s
// A weight's type spells its storage format; it prints as it parses, also through the generic form.

// CHECK: lora.frozen @f32 : !lora.weight<64x176, f32>
lora.frozen @f32 : !lora.weight<64x176, f32>
// CHECK: lora.frozen @f16 : !lora.weight<3x5, f16>
lora.frozen @f16 : !lora.weight<3x5, f16>
// CHECK: lora.frozen @bf16 : !lora.weight<3x5, bf16>
lora.frozen @bf16 : !lora.weight<3x5, bf16>
// CHECK: lora.frozen @q8 : !lora.weight<3x64, int8<32, f16>>
lora.frozen @q8 : !lora.weight<3x64, int8<32, f16>>
// CHECK: lora.frozen @q4 : !lora.weight<3x64, int4<32, f16>>
lora.frozen @q4 : !lora.weight<3x64, int4<32, f16>>
// CHECK: lora.frozen @q4_min : !lora.weight<3x64, int4<32, f16, min>>
lora.frozen @q4_min : !lora.weight<3x64, int4<32, f16, min>>
// CHECK: lora.frozen @q6_k : !lora.weight<3x48, int8<16, f32>>
lora.frozen @q6_k : !lora.weight<3x48, int8<16,f32>>
// CHECK: lora.frozen @q4_k : !lora.weight<3x256, int4<32, f32, min>>
lora.frozen @q4_k : !lora.weight<3x256, int4<32, f32, min>>
// CHECK: lora.frozen @nf4 : !lora.weight<3x5, nf4<64>>
lora.frozen @nf4 : !lora.weight<3x5, nf4<64>>
// CHECK: lora.frozen @nf4_dq : !lora.weight<3x5, nf4<64, dq256>>
lora.frozen @nf4_dq : !lora.weight<3x5, nf4<64, dq256>>
// CHECK: lora.frozen @fp4 : !lora.weight<3x5, fp4<4096, dq256>>
lora.frozen @fp4 : !lora.weight<3x5, fp4<4096, dq256>>
// CHECK: lora.frozen @norm : !lora.weight<64, vector>
lora.frozen @norm : !lora.weight<64, vector>
// CHECK: lora.frozen @model.layers.0.self_attn.q_proj.weight : !lora.weight<64x64, f32> {gguf = "blk.0.attn_q.weight", permute_heads = 4 : i64}
lora.frozen @"model.layers.0.self_attn.q_proj.weight" : !lora.weight<64x64, f32> {gguf = "blk.0.attn_q.weight", permute_heads = 4 : i64}
