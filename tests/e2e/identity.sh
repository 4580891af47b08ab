# A program meets its own model or none: whatever differs from what it was compiled for is refused by name, wherever a model, a
# checkpoint or an adapter comes in; the same model in another container is the same.
source "$(dirname "$0")/common.sh"
command -v python3 >/dev/null || skip "python3 is absent"
golden=$source/tests/golden/tiny/untied
foreign() { python3 "$source/tests/e2e/foreign.py" "$@"; }

# model NAME [KEY=JSON...]: the golden weights under a changed config.json.
model() {
  mkdir -p "$work/$1"
  cp "$golden/model.safetensors" "$work/$1/"
  foreign config "$golden/config.json" "$work/$1/config.json" "${@:2}"
}
cd "$source"
flags=(--set 'model.shape={}' --set train.steps=4 --set train.save_steps=2)
compile() { expect 0 "$lorac" compile specs/tiny_lora.toml -o "$work/$2" --set "model.source=\"$work/$1\"" "${flags[@]}" "${@:3}"; }
state() { (cd "$1" && find . -type f -exec sha256sum {} + | sort); }
model own
compile own generated
train=$work/generated/train
expect 0 "$train" --out "$work/run" --quiet
expect 0 "$train" --eval --samples 4
cp "$work/stdout" "$work/own.losses"

# --- another model under --model
refused() { # NAME WORDS KEY=JSON...
  model "$1" "${@:3}"
  expect 5 "$train" --eval --samples 1 --model "$work/$1"
  says "$2"
  says "'$work/$1'"
}
refused theta "'rope_theta' was 10000 and is 20000" rope_parameters/rope_theta=20000.0
refused theta4 "'rope_theta' was 10000 and is 500000" rope_parameters=- rope_theta=500000.0
refused eps "'rms_norm_eps' was 1e-05 and is 1e-06" rms_norm_eps=1e-6
refused heads "'n_heads' was 4 and is 2; 'n_kv_heads' was 2 and is 1; 'head_dim' was 16 and is 32" \
  num_attention_heads=2 num_key_value_heads=1 head_dim=32
refused noeps "'rms_norm_eps' was 1e-05 and is 1e-06, since it does not say" rms_norm_eps=-
refused positions "'max_position_embeddings' was 256 and is 128" max_position_embeddings=128
refused bias "'attention_bias' is true; 'llama' expects false" attention_bias=true
refused gelu "'hidden_act' is \"gelu\"; 'llama' expects \"silu\"" 'hidden_act="gelu"'
refused linear "'rope_factor' was 0 and is 2" 'rope_scaling={"rope_type": "linear", "factor": 2.0}'
refused mistral "its model_type is 'mistral', expected 'llama'" 'model_type="mistral"'
refused part "'partial_rotary_factor' is 0.5" partial_rotary_factor=0.5
refused window "'sliding_window' is 16" sliding_window=16
refused unknown "it has the key 'attn_logit_softcapping' = 30, which this version does not know" attn_logit_softcapping=30.0
refused two "'rope_theta' is 30000 and 'rope_parameters.rope_theta' is 10000: they contradict each other" rope_theta=30000.0

# --- every command asks
for command in "--generate --prompt a" "--out $work/none" "--out $work/run --resume"; do
  before=$(state "$work/run")
  # shellcheck disable=SC2086
  expect 5 "$train" $command --model "$work/theta"
  says "'rope_theta' was 10000 and is 20000"
  [[ $(state "$work/run") == "$before" ]] || fail "'$command' changed the run's folder"
done
[[ ! -e $work/none/adapter_model.safetensors ]] || fail "an adapter of another model was written"

# --- the same model in another container
foreign gguf "$golden" "$work/same.gguf"
expect 0 "$train" --eval --samples 4 --model "$work/same.gguf"
same "$work/stdout" "$work/own.losses"
gguf() { # WORDS KEY=TYPE:VALUE...
  foreign gguf "$golden" "$work/other.gguf" "${@:2}"
  expect 5 "$train" --eval --samples 1 --model "$work/other.gguf"
  says "$1"
}
gguf "'rope_theta' was 10000 and is 20000" llama.rope.freq_base=f:20000
gguf "'rope_type' was \"default\" and is \"linear\"" llama.rope.scaling.type=s:linear
gguf "'rope_factor' was 0 and is 2" llama.rope.scale_linear=f:2
gguf "'llama.attention.sliding_window' is 16" llama.attention.sliding_window=u:16
gguf "'llama.attention.causal' is false" llama.attention.causal=b:false
gguf "'llama.attention.key_length' is 16 and 'llama.rope.dimension_count' is 8" llama.rope.dimension_count=u:8
gguf "the key 'llama.attention.max_alibi_bias' = 8, which this version does not know" llama.attention.max_alibi_bias=f:8
foreign gguf "$golden" "$work/gemma.gguf" --architecture gemma
expect 5 "$train" --eval --samples 1 --model "$work/gemma.gguf"
says "its general.architecture is 'gemma', expected 'llama'"
# Keys of other tools, and what says nothing new.
foreign gguf "$golden" "$work/same.gguf" general.url=s:x imatrix.chunks=u:3 llama.rope.scaling.type=s:none llama.expert_count=u:0 \
  llama.attention.sliding_window=u:0
expect 0 "$train" --eval --samples 4 --model "$work/same.gguf"
same "$work/stdout" "$work/own.losses"
# A program made for the GGUF takes the folder.
compile same.gguf fromgguf
expect 0 "$work/fromgguf/train" --eval --samples 4 --model "$work/own"
same "$work/stdout" "$work/own.losses"
expect 5 "$work/fromgguf/train" --eval --samples 4 --model "$work/theta"
says "'rope_theta' was 10000 and is 20000"

# --- a checkpoint of the same weights under another config.json
model own rope_parameters/rope_theta=20000.0
before=$(state "$work/run")
expect 5 "$train" --out "$work/run" --resume
says "'rope_theta' was 10000 and is 20000"
compile own theta.generated
expect 5 "$work/theta.generated/train" --out "$work/run" --resume
says "was trained on another base model: 'rope_theta' was 10000 and is 20000"
cd "$work"
expect 5 "$lorac" train "$source/specs/tiny_lora.toml" --set "model.source=\"$work/own\"" "${flags[@]}" --out "$work/run" --resume
cd "$source"
says "was trained on another base model: 'rope_theta' was 10000 and is 20000"
[[ $(state "$work/run") == "$before" ]] || fail "a refused resume changed the run's folder"

# --- an adapter and its base
expect 5 "$work/theta.generated/train" --eval --samples 1 --adapter "$work/run"
says "the adapter '$work/run' was trained on another base model: 'rope_theta' was 10000 and is 20000"
expect 5 "$work/theta.generated/train" --eval --samples 1 --adapter "$work/run/adapter_model.safetensors"
compile own from.generated --set "adapter.init_from=\"$work/run\""
expect 5 "$work/from.generated/train" --out "$work/none"
says "'$work/run' was trained on another base model"
for format in gguf peft; do
  expect 5 "$lorac" export "$work/run" --format $format --model "$work/own" -o "$work/exported"
  says "was trained on another base model: 'rope_theta' was 10000 and is 20000"
  [[ ! -e $work/exported ]] || fail "an adapter was exported for another base"
done
expect 5 "$lorac" export "$work/run" --format gguf --model "$work/heads" -o "$work/exported"
says "'n_heads' was 4 and is 2"
expect 0 "$lorac" export "$work/run" --format gguf --model "$work/same.gguf" -o "$work/exported.gguf"
model own
expect 0 "$lorac" export "$work/run" --format gguf --model "$work/own" -o "$work/again.gguf"
same "$work/exported.gguf" "$work/again.gguf"
expect 0 "$train" --eval --samples 1 --adapter "$work/run"

# --- what a spec's shape says against the files is the user's word; the model stays the one it was
compile own over.generated --set 'model.shape={rope_theta = 20000.0}'
expect 0 "$work/over.generated/train" --eval --samples 1
expect 5 "$work/over.generated/train" --eval --samples 1 --model "$work/theta"
says "'rope_theta' was 10000 and is 20000"
# Without files the shape is the model.
expect 0 "$lorac" compile specs/tiny_lora.toml -o "$work/drawn"
expect 5 "$work/drawn/train" --eval --samples 1 --model "$work/theta"
says "'rope_theta' was 10000 and is 20000"
expect 0 "$work/drawn/train" --eval --samples 1 --model "$work/own"
