// y[m] = W[ids[m]]
// first of: model.embed_tokens (specs/architectures/llama.toml:53:5)
// kernels/embed_f32_512x64.mlir
func.func private @embed_f32_512x64.body(memref<16777216xi32>, memref<32x64x16xf32>, memref<16777216x64xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<64xi8>) -> ()

// y = x / sqrt(mean(x²) + eps) · w
// first of: model.layers.0.input_layernorm (specs/architectures/llama.toml:58:5)
// kernels/rms_norm_forward_64.mlir
func.func private @rms_norm_forward_64.body(memref<16777216x64xf32>, memref<64xf32>, memref<16777216x64xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<64xi8>) -> ()

// C[m,j] [+]= scale·Σk A[m,k]·B[j,k]
// first of: model.layers.0.self_attn.q_proj+k_proj+v_proj ()
// kernels/matmul_nt_rx64.mlir
func.func private @matmul_nt_rx64.body(memref<16777216x64xf32>, memref<16777216x64xf32>, memref<1099511627776xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, memref<16384xi8>) -> ()

// y = [res +] x·Wᵀ + scale·t·bᵀ
// first of: model.layers.0.self_attn.q_proj (specs/architectures/llama.toml:59:16)
// kernels/linear_forward_f32_64x64_low_rank.mlir
func.func private @linear_forward_f32_64x64_low_rank.body(memref<16777216x64xf32>, memref<4x64x16xf32>, memref<1099511627776xf32>, memref<1099511627776xf32>, memref<16777216x64xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, memref<262144xi8>) -> ()

// y[i] = x[i]·cos - x[i+d/2]·sin, y[i+d/2] = x[i+d/2]·cos + x[i]·sin
// first of: q (specs/architectures/llama.toml:59:5)
// kernels/rope_4x16.mlir
func.func private @rope_4x16.body(memref<16777216x64xf32>, memref<16777216xi32>, memref<16777216x16xf32>, memref<16777216x64xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<64xi8>) -> ()

// y = [res +] x·Wᵀ + scale·t·bᵀ
// first of: model.layers.0.self_attn.k_proj (specs/architectures/llama.toml:60:16)
// kernels/linear_forward_f32_32x64_low_rank.mlir
func.func private @linear_forward_f32_32x64_low_rank.body(memref<16777216x64xf32>, memref<2x64x16xf32>, memref<1099511627776xf32>, memref<1099511627776xf32>, memref<16777216x32xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, memref<262144xi8>) -> ()

// y[i] = x[i]·cos - x[i+d/2]·sin, y[i+d/2] = x[i+d/2]·cos + x[i]·sin
// first of: k (specs/architectures/llama.toml:60:5)
// kernels/rope_2x16.mlir
func.func private @rope_2x16.body(memref<16777216x32xf32>, memref<16777216xi32>, memref<16777216x16xf32>, memref<16777216x32xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<64xi8>) -> ()

// o = softmax(scale·q·kᵀ + causal mask)·v, lse = log Σ exp, inside each segment
// first of:  (specs/architectures/llama.toml:62:16)
// kernels/attention_forward_4x2x16.mlir
func.func private @attention_forward_4x2x16.body(memref<16777216x64xf32>, memref<16777216x32xf32>, memref<16777216x32xf32>, memref<16777216xi32>, memref<16777216x64xf32>, memref<16777216x16xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<24128xi8>) -> ()

// C[m,j] [+]= scale·Σk A[m,k]·B[j,k]
// first of: model.layers.0.self_attn.o_proj (specs/tiny_rslora.toml:13:18)
// kernels/matmul_nt_rx64_2.mlir
func.func private @matmul_nt_rx64_2.body(memref<16777216x64xf32>, memref<16777216x64xf32>, memref<1099511627776xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, memref<8192xi8>) -> ()

// y = [res +] x·Wᵀ + scale·t·bᵀ
// first of: model.layers.0.self_attn.o_proj (specs/architectures/llama.toml:62:9)
// kernels/linear_forward_f32_64x64_low_rank_residual.mlir
func.func private @linear_forward_f32_64x64_low_rank_residual.body(memref<16777216x64xf32>, memref<4x64x16xf32>, memref<1099511627776xf32>, memref<1099511627776xf32>, memref<16777216x64xf32>, memref<16777216x64xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, memref<262144xi8>) -> ()

// y = [res +] x·Wᵀ + scale·t·bᵀ
// first of: model.layers.0.mlp.gate_proj (specs/architectures/llama.toml:64:21)
// kernels/linear_forward_f32_176x64_low_rank.mlir
func.func private @linear_forward_f32_176x64_low_rank.body(memref<16777216x64xf32>, memref<11x64x16xf32>, memref<1099511627776xf32>, memref<1099511627776xf32>, memref<16777216x176xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, memref<262144xi8>) -> ()

// an elementwise function of its operands
// first of:  (specs/architectures/llama.toml:64:16)
// kernels/map_176.mlir
func.func private @map_176.body(memref<16777216x176xf32>, memref<16777216x176xf32>, memref<16777216x176xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<64xi8>) -> ()

// C[m,j] [+]= scale·Σk A[m,k]·B[j,k]
// first of: model.layers.0.mlp.down_proj (specs/tiny_rslora.toml:13:18)
// kernels/matmul_nt_rx176.mlir
func.func private @matmul_nt_rx176.body(memref<16777216x176xf32>, memref<16777216x176xf32>, memref<1099511627776xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, memref<22528xi8>) -> ()

// y = [res +] x·Wᵀ + scale·t·bᵀ
// first of: model.layers.0.mlp.down_proj (specs/architectures/llama.toml:64:9)
// kernels/linear_forward_f32_64x176_low_rank_residual.mlir
func.func private @linear_forward_f32_64x176_low_rank_residual.body(memref<16777216x176xf32>, memref<4x176x16xf32>, memref<1099511627776xf32>, memref<1099511627776xf32>, memref<16777216x64xf32>, memref<16777216x64xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, memref<262144xi8>) -> ()

// y = [res +] x·Wᵀ + scale·t·bᵀ
// first of: lm_head (specs/architectures/llama.toml:70:10)
// kernels/linear_forward_f32_512x64.mlir
func.func private @linear_forward_f32_512x64.body(memref<16777216x64xf32>, memref<32x64x16xf32>, memref<16777216x512xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<64xi8>) -> ()

// row_loss = log Σ exp(z) - z[label]; backward: z = (softmax(z) - onehot(label))·loss_scale
// first of: lm_head (specs/architectures/llama.toml:70:10)
// kernels/cross_entropy_512.mlir
func.func private @cross_entropy_512.body(memref<16777216x512xf32>, memref<16777216xi32>, memref<16777216xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<64xi8>) -> ()

// row_loss = log Σ exp(z) - z[label]; backward: z = (softmax(z) - onehot(label))·loss_scale
// first of: lm_head (specs/architectures/llama.toml:70:10)
// kernels/cross_entropy_512_backward.mlir
func.func private @cross_entropy_512_backward.body(memref<16777216x512xf32>, memref<16777216xi32>, memref<16777216xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<64xi8>) -> ()

// dx [+]= dy·W + dt·a
// first of: lm_head (specs/architectures/llama.toml:70:10)
// kernels/linear_backward_f32_512x64.mlir
func.func private @linear_backward_f32_512x64.body(memref<16777216x512xf32>, memref<32x64x16xf32>, memref<16777216x64xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<524288xi8>) -> ()

// dx [+]= s·g - x·s³·mean(g·x), s = 1/sqrt(mean(x²) + eps), g = dy·w
// first of: model.norm (specs/architectures/llama.toml:69:5)
// kernels/rms_norm_backward_64.mlir
func.func private @rms_norm_backward_64.body(memref<16777216x64xf32>, memref<64xf32>, memref<16777216x64xf32>, memref<16777216x64xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<64xi8>) -> ()

// C[m,j] [+]= scale·Σk A[m,k]·B[k,j]
// first of: model.layers.1.mlp.down_proj (specs/tiny_rslora.toml:13:18)
// kernels/matmul_nn_rx64.mlir
func.func private @matmul_nn_rx64.body(memref<16777216x64xf32>, memref<1099511627776xf32>, memref<1099511627776xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, index, memref<8192xi8>) -> ()

// C[i,j] [+]= scale·Σm A[m,i]·B[m,j]
// first of: model.layers.1.mlp.down_proj (specs/tiny_rslora.toml:13:18)
// kernels/matmul_tn_rx176_accumulate.mlir
func.func private @matmul_tn_rx176_accumulate.body(memref<1099511627776xf32>, memref<16777216x176xf32>, memref<16777216x176xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, memref<12288xi8>) -> ()

// C[i,j] [+]= scale·Σm A[m,i]·B[m,j]
// first of: model.layers.1.mlp.down_proj (specs/tiny_rslora.toml:13:18)
// kernels/matmul_tn_64xr_accumulate.mlir
func.func private @matmul_tn_64xr_accumulate.body(memref<16777216x64xf32>, memref<1099511627776xf32>, memref<1099511627776xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, index, memref<6144xi8>) -> ()

// dx [+]= dy·W + dt·a
// first of: model.layers.1.mlp.down_proj (specs/architectures/llama.toml:64:9)
// kernels/linear_backward_f32_64x176_low_rank.mlir
func.func private @linear_backward_f32_64x176_low_rank.body(memref<16777216x64xf32>, memref<4x176x16xf32>, memref<1099511627776xf32>, memref<16777216x176xf32>, memref<16777216x176xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, memref<327680xi8>) -> ()

// an elementwise function of its operands
// first of:  (specs/architectures/llama.toml:64:16)
// kernels/map_176_2.mlir
func.func private @map_176_2.body(memref<16777216x176xf32>, memref<16777216x176xf32>, memref<16777216x176xf32>, memref<16777216x176xf32>, memref<16777216x176xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<64xi8>) -> ()

// C[m,j] [+]= scale·Σk A[m,k]·B[k,j]
// first of: model.layers.1.mlp.up_proj (specs/tiny_rslora.toml:13:18)
// kernels/matmul_nn_rx176_exact.mlir
func.func private @matmul_nn_rx176_exact.body(memref<16777216x176xf32>, memref<1099511627776xf32>, memref<1099511627776xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, index, memref<22528xi8>) -> ()

// C[i,j] [+]= scale·Σm A[m,i]·B[m,j]
// first of: model.layers.1.mlp.up_proj (specs/tiny_rslora.toml:13:18)
// kernels/matmul_tn_176xr_accumulate.mlir
func.func private @matmul_tn_176xr_accumulate.body(memref<16777216x176xf32>, memref<1099511627776xf32>, memref<1099511627776xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, index, memref<6144xi8>) -> ()

// C[i,j] [+]= scale·Σm A[m,i]·B[m,j]
// first of: model.layers.1.mlp.gate_proj+up_proj ()
// kernels/matmul_tn_rx64_accumulate.mlir
func.func private @matmul_tn_rx64_accumulate.body(memref<1099511627776xf32>, memref<16777216x64xf32>, memref<16777216x64xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, memref<12288xi8>) -> ()

// dx [+]= dy·W + dt·a
// first of: model.layers.1.mlp.up_proj (specs/architectures/llama.toml:64:45)
// kernels/linear_backward_f32_176x64_low_rank.mlir
func.func private @linear_backward_f32_176x64_low_rank.body(memref<16777216x176xf32>, memref<11x64x16xf32>, memref<1099511627776xf32>, memref<16777216x64xf32>, memref<16777216x64xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, memref<458752xi8>) -> ()

// dx [+]= dy·W + dt·a
// first of: model.layers.1.mlp.gate_proj (specs/architectures/llama.toml:64:21)
// kernels/linear_backward_f32_176x64_accumulate.mlir
func.func private @linear_backward_f32_176x64_accumulate.body(memref<16777216x176xf32>, memref<11x64x16xf32>, memref<16777216x64xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<196608xi8>) -> ()

// dx [+]= s·g - x·s³·mean(g·x), s = 1/sqrt(mean(x²) + eps), g = dy·w
// first of: model.layers.1.post_attention_layernorm (specs/architectures/llama.toml:63:5)
// kernels/rms_norm_backward_64_accumulate.mlir
func.func private @rms_norm_backward_64_accumulate.body(memref<16777216x64xf32>, memref<64xf32>, memref<16777216x64xf32>, memref<16777216x64xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<64xi8>) -> ()

// dx [+]= dy·W + dt·a
// first of: model.layers.1.self_attn.o_proj (specs/architectures/llama.toml:62:9)
// kernels/linear_backward_f32_64x64_low_rank.mlir
func.func private @linear_backward_f32_64x64_low_rank.body(memref<16777216x64xf32>, memref<4x64x16xf32>, memref<1099511627776xf32>, memref<16777216x64xf32>, memref<16777216x64xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, memref<327680xi8>) -> ()

// p = exp(scale·q·kᵀ - lse), dv = pᵀ·do, ds = scale·p·(do·vᵀ - rowsum(do·o)), dq = ds·k, dk = dsᵀ·q
// first of:  (specs/architectures/llama.toml:62:16)
// kernels/attention_backward_4x2x16.mlir
func.func private @attention_backward_4x2x16.body(memref<16777216x64xf32>, memref<16777216x32xf32>, memref<16777216x32xf32>, memref<16777216xi32>, memref<16777216x64xf32>, memref<16777216x16xf32>, memref<16777216x64xf32>, memref<16777216x64xf32>, memref<16777216x32xf32>, memref<16777216x32xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<47296xi8>) -> ()

// C[m,j] [+]= scale·Σk A[m,k]·B[k,j]
// first of: model.layers.1.self_attn.v_proj (specs/tiny_rslora.toml:13:18)
// kernels/matmul_nn_rx32_exact.mlir
func.func private @matmul_nn_rx32_exact.body(memref<16777216x32xf32>, memref<1099511627776xf32>, memref<1099511627776xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, index, memref<4096xi8>) -> ()

// C[i,j] [+]= scale·Σm A[m,i]·B[m,j]
// first of: model.layers.1.self_attn.v_proj (specs/tiny_rslora.toml:13:18)
// kernels/matmul_tn_32xr_accumulate.mlir
func.func private @matmul_tn_32xr_accumulate.body(memref<16777216x32xf32>, memref<1099511627776xf32>, memref<1099511627776xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, index, memref<6144xi8>) -> ()

// y[i] = x[i]·cos - x[i+d/2]·sin, y[i+d/2] = x[i+d/2]·cos + x[i]·sin
// first of: k (specs/architectures/llama.toml:60:5)
// kernels/rope_2x16_inverse.mlir
func.func private @rope_2x16_inverse.body(memref<16777216x32xf32>, memref<16777216xi32>, memref<16777216x16xf32>, memref<16777216x32xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<64xi8>) -> ()

// y[i] = x[i]·cos - x[i+d/2]·sin, y[i+d/2] = x[i+d/2]·cos + x[i]·sin
// first of: q (specs/architectures/llama.toml:59:5)
// kernels/rope_4x16_inverse.mlir
func.func private @rope_4x16_inverse.body(memref<16777216x64xf32>, memref<16777216xi32>, memref<16777216x16xf32>, memref<16777216x64xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<64xi8>) -> ()

// C[m,j] [+]= scale·Σk A[m,k]·B[k,j]
// first of: model.layers.1.self_attn.q_proj (specs/tiny_rslora.toml:13:18)
// kernels/matmul_nn_rx64_exact.mlir
func.func private @matmul_nn_rx64_exact.body(memref<16777216x64xf32>, memref<1099511627776xf32>, memref<1099511627776xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, index, memref<8192xi8>) -> ()

// dx [+]= dy·W + dt·a
// first of: model.layers.1.self_attn.v_proj (specs/architectures/llama.toml:61:11)
// kernels/linear_backward_f32_32x64_low_rank.mlir
func.func private @linear_backward_f32_32x64_low_rank.body(memref<16777216x32xf32>, memref<2x64x16xf32>, memref<1099511627776xf32>, memref<16777216x64xf32>, memref<16777216x64xf32>, index, index, f32, i32, i32, i32, index, index, index, index, index, memref<327680xi8>) -> ()

// dx [+]= dy·W + dt·a
// first of: model.layers.1.self_attn.k_proj (specs/architectures/llama.toml:60:16)
// kernels/linear_backward_f32_32x64_accumulate.mlir
func.func private @linear_backward_f32_32x64_accumulate.body(memref<16777216x32xf32>, memref<2x64x16xf32>, memref<16777216x64xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<65536xi8>) -> ()

// dx [+]= dy·W + dt·a
// first of: model.layers.1.self_attn.q_proj (specs/architectures/llama.toml:59:16)
// kernels/linear_backward_f32_64x64_accumulate.mlir
func.func private @linear_backward_f32_64x64_accumulate.body(memref<16777216x64xf32>, memref<4x64x16xf32>, memref<16777216x64xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<65536xi8>) -> ()

// an elementwise function of regions and scalars, over a table of spans
// first of: optimizer ()
// kernels/each_zero.mlir
func.func private @each_zero.body(memref<16777216x4xi32>, memref<1099511627776xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<64xi8>) -> ()

// Σ of a function of regions over each span, in float64
// first of: optimizer ()
// kernels/sum_spans_squares.mlir
func.func private @sum_spans_squares.body(memref<16777216x4xi32>, memref<1099511627776xf32>, memref<16777216xf64>, index, index, f32, i32, i32, i32, index, index, index, memref<2048xi8>) -> ()

// a function of the sum of all sums
// first of: optimizer ()
// kernels/sum_whole_norm.mlir
func.func private @sum_whole_norm.body(memref<16777216xf64>, memref<1099511627776xf32>, memref<1099511627776xf32>, memref<1099511627776xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<2048xi8>) -> ()

// an elementwise function of regions and scalars, over a table of spans
// first of: optimizer ()
// kernels/each_adamw.mlir
func.func private @each_adamw.body(memref<16777216x4xi32>, memref<1099511627776xf32>, memref<1099511627776xf32>, memref<1099511627776xf32>, memref<1099511627776xf32>, memref<1099511627776xf32>, memref<1099511627776xf32>, index, index, f32, i32, i32, i32, index, index, index, memref<64xi8>) -> ()

