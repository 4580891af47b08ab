# Every key of config.json, adapter_config.json and tokenizer_config.json is used, harmless, or refused by name.
source "$(dirname "$0")/common.sh"
command -v python3 >/dev/null || skip "python3 is absent"
golden=$source/tests/golden/tiny
foreign() { python3 "$source/tests/e2e/foreign.py" "$@"; }
cd "$source"

# --- config.json
mkdir "$work/model"
cp "$golden/untied/model.safetensors" "$work/model/"
check() {
  expect "$1" "$lorac" check specs/tiny_lora.toml --set "model.source=\"$work/model\"" --set 'model.shape={}'
}
takes() {
  foreign config "$golden/untied/config.json" "$work/model/config.json" "$@"
  check 0
}
refuses() {
  foreign config "$golden/untied/config.json" "$work/model/config.json" "${@:2}"
  check 5
  says "$1"
}
takes
takes rope_parameters=- rope_theta=10000.0 rope_scaling=null torch_dtype='"bfloat16"' dtype=- # as transformers 4 writes it
takes 'rope_scaling={"rope_type": "default"}'
takes 'rope_scaling={"type": "default"}' rope_parameters=-
takes 'rope_scaling={"rope_type": "default", "type": "default", "factor": 1.0}' rope_parameters=-
takes 'rope_scaling={}'
takes 'rope_parameters={"rope_type": "default"}'
takes 'rope_parameters={"rope_theta": 10000.0, "rope_type": "default", "partial_rotary_factor": 1.0}'
# SmolLM2's, TinyLlama's, Vicuna's and a fine-tuner's own keys
takes is_llama_config=true rope_interleaved=false 'transformers.js_config={"kv_cache_dtype": {"fp16": "float16"}}' \
  '_name_or_path="x/y"' max_sequence_length=2048 'unsloth_version="2025.1"' '_attn_implementation_autoset=true' \
  'eos_token_id=[2, 3]' 'task_specific_params={"a": {"b": 1}}' temperature=0.6 'architectures=["LlamaForCausalLM"]' \
  'id2label={"0": "a"}' attention_dropout=0 sliding_window=null quantization_config=null is_decoder=true
takes something_new=false another=null 'third={}'
refuses "the key 'something_new' = 3, which this version does not know" something_new=3
refuses "the key 'compression_config' = an object" 'compression_config={"format": "x"}'
refuses "low_freq_factor and high_freq_factor belong to rotary positions of type 'llama3'" 'rope_scaling={"rope_type": "default", "low_freq_factor": 1.0}'
takes rope_parameters=- \
  'rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}'
refuses "'rope_scaling.type' is \"dynamic\"" rope_parameters=- 'rope_scaling={"type": "dynamic", "factor": 2.0}'
refuses "need low_freq_factor, a larger high_freq_factor" rope_parameters=- \
  'rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}'
refuses "a factor of 2 asks for scaled rotary positions" 'rope_scaling={"factor": 2.0}'
refuses "'rope_parameters.rope_type' is \"yarn\"" rope_parameters/rope_type='"yarn"'
refuses "'attention_dropout' is 0.1" attention_dropout=0.1
refuses "'mlp_bias' is true" mlp_bias=true
refuses "'quantization_config'" 'quantization_config={"load_in_4bit": true}'
refuses "'rope_interleaved' is true" rope_interleaved=true
refuses "'is_causal' is false" is_causal=false
refuses "'use_parallel_residual' is true" use_parallel_residual=true
refuses "'num_local_experts' is 8" num_local_experts=8
refuses "'logit_scale' is 0.5" logit_scale=0.5
refuses "'hidden_size' must be a whole number" 'hidden_size=[64]'

# --- a head that config.json ties, although it has values of its own: taken as it is, and said
takes tie_word_embeddings=true
says "tie_word_embeddings: true, but lm_head.weight has other values than model.embed_tokens.weight"
compiled tiny_lora "$work/ties" --set "model.source=\"$work/model\"" --set 'model.shape={}'
expect 0 "$work/ties/train" --eval --samples 4
says "the head is taken as it is"
cp "$work/stdout" "$work/losses"
takes
expect 0 "$work/ties/train" --eval --samples 4
same "$work/stdout" "$work/losses"
# Of equal values it is the embedding, as in a file without one.
foreign copy "$golden/tied/model.safetensors" "$work/model/model.safetensors" model.embed_tokens.weight lm_head.weight
foreign config "$golden/tied/config.json" "$work/model/config.json"
check 0
compiled tiny_lora "$work/tied" --set "model.source=\"$golden/tied\"" --set 'model.shape={}'
expect 0 "$work/tied/train" --eval --samples 4
cp "$work/stdout" "$work/losses"
expect 0 "$work/tied/train" --eval --samples 4 --model "$work/model"
same "$work/stdout" "$work/losses"
foreign copy "$golden/tied/model.safetensors" "$work/model/model.safetensors" model.embed_tokens.weight lm_head.weight 0.5
expect 5 "$work/tied/train" --eval --samples 4 --model "$work/model"
says "'tie_word_embeddings' was true and is false"

# --- adapter_config.json
compiled tiny_lora "$work/generated" --set "model.source=\"$golden/untied\"" --set 'model.shape={}'
mkdir "$work/adapter"
cp "$golden/untied/lora_final/adapter_model.safetensors" "$work/adapter/"
adapter() { # CODE KEY=JSON...
  foreign config "$golden/untied/lora_final/adapter_config.json" "$work/adapter/adapter_config.json" "${@:2}"
  expect "$1" "$work/generated/train" --eval --samples 4 --adapter "$work/adapter"
}
adapter 0
cp "$work/stdout" "$work/losses"
for harmless in 'init_lora_weights="gaussian"' 'init_lora_weights="eva"' 'init_lora_weights=false' 'eva_config={"rho": 2.0}' \
  'layers_to_transform=[0, 1]' 'exclude_modules=["lm_head"]' 'loftq_config={"loftq_bits": 4}' 'task_type="SEQ_CLS"' \
  'enable_lora=null' 'merge_weights=false' 'auto_mapping={"base_model_class": "X"}' 'newer_key=null' 'newer_key=false' \
  'runtime_config={"ephemeral_gpu_offload": true}'; do
  adapter 0 "$harmless"
  same "$work/stdout" "$work/losses"
done
refusesAdapter() { # WORDS KEY=JSON...
  adapter 5 "${@:2}"
  says "$1"
  says "adapter_config.json"
}
for start in pissa pissa_niter_16 olora corda lora_ga loftq; do
  refusesAdapter "'init_lora_weights' is '$start': this adapter belongs to a base that this way to begin has changed" "init_lora_weights=\"$start\""
done
refusesAdapter "'init_lora_weights' is 'unheard'" 'init_lora_weights="unheard"'
refusesAdapter "the key 'newer_key', which this version does not know" newer_key=3
refusesAdapter "lora_magnitude_vector is absent" use_dora=true
refusesAdapter "'kasa_config' asks for KaSA" 'kasa_config={"beta": 1}'
refusesAdapter "'modules_to_save' asks for modules trained as a whole" 'modules_to_save=["lm_head"]'
refusesAdapter "'layer_replication' asks for replicated layers" 'layer_replication=[[0, 2], [1, 2]]'
refusesAdapter "'trainable_token_indices' asks for" 'trainable_token_indices=[1]'
refusesAdapter "'target_parameters' asks for" 'target_parameters=["x"]'
refusesAdapter "'lora_bias' asks for" lora_bias=true
refusesAdapter "'bias' is 'all'" 'bias="all"'
refusesAdapter "peft_type is 'IA3'" 'peft_type="IA3"'
# Patterns that match nothing change nothing, and are said.
adapter 0 'alpha_pattern={"c_attn": 64, "layers.9.mlp.up_proj": 3}' 'rank_pattern={"layers.0": 9}'
same "$work/stdout" "$work/losses"
says "'alpha_pattern' has 'c_attn', which matches no module of the adapter"
says "'alpha_pattern' has 'layers.9.mlp.up_proj'"
says "'rank_pattern' has 'layers.0'"
adapter 0 'alpha_pattern={"q_proj": 64}'
! cmp -s "$work/stdout" "$work/losses" || fail "alpha_pattern changed nothing"
! grep -q "matches no module" "$work/stderr" || fail "a pattern that matches was complained of"

# --- tokenizer_config.json
mkdir "$work/tokenizer"
cp "$source/tests/golden/tokenizer/bytelevel.tokenizer.json" "$work/tokenizer/tokenizer.json"
tokenize() {
  printf '%s' "$2" >"$work/tokenizer/tokenizer_config.json"
  expect "$1" "$lorac" tokenize --model "$work/tokenizer"
}
tokenize 0 '{"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1000000000000000019884624838656, "padding_side": "left",
  "clean_up_tokenization_spaces": false, "legacy": true, "sp_model_kwargs": {}, "chat_template": "x", "use_default_system_prompt": false,
  "backend": "tokenizers", "split_special_tokens": false, "pad_token": null, "image_token": "<image>", "newer": null}'
tokenize 5 '{"added_tokens_decoder": {"7": {"content": "<|new|>", "special": true}}}'
says "tokenizer_config.json"
says "the id '7' in 'added_tokens_decoder', which tokenizer.json does not"
tokenize 5 '{"add_prefix_space": true}'
says "'add_prefix_space' as true, but tokenizer.json says otherwise"
for wrong in 'split_special_tokens": true' 'do_lower_case": true' 'newer": 3'; do
  tokenize 5 "{\"$wrong}"
  says "tokenizer_config.json"
  says "${wrong%%\"*}"
done
