# A model's weights where people have them: in shards with an index, in the Hugging Face cache (links into its blobs), behind a
# link to a sibling's folder. Each is the same model.
source "$(dirname "$0")/common.sh"
arch=$source/tests/golden/arch
cat >"$work/spec.toml" <<END
[model]
source = "$arch/qwen3"
[adapter]
r = 2
[[data]]
path = "$arch/train_data.safetensors"
format = "tokens"
[train]
steps = 1
batch_size = 2
max_length = 24
END
# losses MODEL: of each sample, by a program that was compiled for this very folder.
losses() {
  expect 0 "$lorac" compile "$work/spec.toml" -o "$work/generated" --set "model.source=\"$1\""
  expect 0 "$work/generated/train" --eval --samples 8
  cat "$work/stdout"
}
losses "$arch/qwen3" >"$work/whole"
losses "$arch/qwen3_sharded" >"$work/shards"
same "$work/whole" "$work/shards"
losses "$arch/llama_llama3" >"$work/plain"
losses "$(echo "$arch"/hub_cache/models--tiny--llama3/snapshots/*)" >"$work/linked"
same "$work/plain" "$work/linked"
! cmp -s "$work/whole" "$work/plain" || fail "two models have one loss"
# The program of a GGUF, whose frequencies a tensor scales, takes no model that scales otherwise.
expect 0 "$lorac" compile "$work/spec.toml" -o "$work/generated" --set "model.source=\"$arch/llama_llama3/model.gguf\""
expect 0 "$work/generated/train" --eval --samples 8
expect 5 "$work/generated/train" --eval --samples 8 --model "$arch/llama_linear"
says "'rope_type' was \"default\" and is \"linear\""
# A window that is null is none; where config.json says nothing of it, it is what transformers takes.
windows() { grep -o ' window [0-9]*' "$work/generated/10-model.mlir" | sort | uniq -c | tr -s ' '; }
expect 0 "$lorac" compile "$work/spec.toml" -o "$work/generated" --set "model.source=\"$arch/mistral_full\""
[[ -z $(windows) ]] || fail "a window of null: $(windows)"
expect 0 "$work/generated/train" --eval --samples 1
mkdir "$work/unsaid"
cp -L "$arch/mistral_full/model.safetensors" "$work/unsaid/"
sed '/"sliding_window"/d' "$arch/mistral_full/config.json" >"$work/unsaid/config.json"
expect 5 "$work/generated/train" --eval --samples 1 --model "$work/unsaid"
says "'sliding_window' was 0 and is 4096, since it does not say"
expect 0 "$lorac" compile "$work/spec.toml" -o "$work/generated" --set "model.source=\"$work/unsaid\""
[[ $(windows) == " 2 window 4096" ]] || fail "a window that nobody says: $(windows)"
# What a model is can be asked without a spec.
expect 0 "$lorac" inspect "$arch/qwen2"
prints "qwen2 of 2 layers: hidden_size 64, vocab_size 512, 1024 positions, the head is the embedding"
prints "26 of 107,072 weights, 209.1 KiB, Hugging Face"
prints "BF16: 26 of 107,072 weights"
prints "tokenizer  none: folder '$arch/qwen2' has no 'tokenizer.json'"
expect 0 "$lorac" inspect "$arch/kquants/model.gguf" --json
python3 - "$work/stdout" "$arch/kquants/tensors.json" <<'PY'
import json, sys
said, truth = (json.load(open(path)) for path in sys.argv[1:])
assert (said["container"], said["model"]["architecture"], said["tokens"]) == ("gguf", "llama", 512), said
types = {"F32": (5, 5 * 4 * 256)}  # the norms
for tensor in truth.values():
    count, size = types.get(tensor["type"], (0, 0))
    types[tensor["type"]] = (count + 1, size + tensor["bytes"])
assert {t["type"]: (t["count"], t["bytes"]) for t in said["tensors"]} == types, said
PY
mkdir "$work/other"
cp -L "$arch/qwen2/model.safetensors" "$work/other/"
sed 's/"model_type": "qwen2"/"model_type": "qwen9"/' "$arch/qwen2/config.json" >"$work/other/config.json"
expect 3 "$lorac" inspect "$work/other"
says "the model is of type 'qwen9', which no architecture describes"
prints "of type 'qwen9', which cannot be trained"
prints "BF16: 26 of 107,072 weights"
expect 2 "$lorac" inspect "$arch/qwen2" 30
says "is a model, which has no stages"
expect 1 "$lorac" inspect "$arch"
says "holds neither a model (config.json) nor stages"
# An adapter is of the frequencies, whoever says them: it passes from the folder to its GGUF and back, and not to a model
# of other frequencies.
train() { # MODEL OUT
  expect 0 "$lorac" compile "$work/spec.toml" -o "$work/generated" --set "model.source=\"$1\""
  expect 0 "$work/generated/train" --out "$2" --quiet
}
evaluate() { # STATUS MODEL ADAPTER
  expect 0 "$lorac" compile "$work/spec.toml" -o "$work/generated" --set "model.source=\"$2\""
  expect "$1" "$work/generated/train" --eval --samples 1 --adapter "$3"
}
train "$arch/llama_llama3" "$work/of_folder"
train "$arch/llama_llama3/model.gguf" "$work/of_gguf"
evaluate 0 "$arch/llama_llama3/model.gguf" "$work/of_folder"
evaluate 0 "$arch/llama_llama3" "$work/of_gguf"
evaluate 5 "$arch/llama_linear" "$work/of_folder"
says "its rotary frequencies 'frequencies' are others: frequency "
evaluate 5 "$arch/llama_linear" "$work/of_gguf"
says "its rotary frequencies 'frequencies' are others: frequency "
# Kinds of layers that the architecture's rule does not give are of the model, and of what was trained on it.
other() { # NAME SED
  mkdir "$work/$1"
  cp -L "$arch/gemma2/model.safetensors" "$work/$1/"
  sed "$2" "$arch/gemma2/config.json" >"$work/$1/config.json"
}
other swapped 's/"sliding_attention"/"x"/;s/"full_attention"/"sliding_attention"/;s/"x"/"full_attention"/'
other unsaid_kinds '/"layer_types"/,/\]/d'
train "$work/swapped" "$work/of_swapped"
evaluate 0 "$work/swapped" "$work/of_swapped"
expect 5 "$work/generated/train" --eval --samples 1 --model "$work/unsaid_kinds"
says "it does not say 'layer_types.0', which was \"full_attention\""
evaluate 5 "$arch/gemma2" "$work/of_swapped"
says "'layer_types' was full_attention sliding_attention and is not there"
train "$arch/gemma2" "$work/of_rule"
evaluate 0 "$work/unsaid_kinds" "$work/of_rule"
# A word where an object belongs is not passed over.
mkdir "$work/word"
cp -L "$arch/llama_llama3/model.safetensors" "$work/word/"
sed 's/"rope_parameters": {/"rope_scaling": "yarn",\n  "rope_parameters": {/' "$arch/llama_llama3/config.json" >"$work/word/config.json"
expect 5 "$lorac" compile "$work/spec.toml" -o "$work/generated" --set "model.source=\"$work/word\""
says "the key 'rope_scaling' = \"yarn\", which this version does not know"
# What config.json leaves out is transformers' default, not the GGUF's: 256 here, there the size of a head (24).
other unsaid_scale '/"query_pre_attn_scalar"/d'
expect 0 "$lorac" compile "$work/spec.toml" -o "$work/generated" --set "model.source=\"$work/unsaid_scale\""
grep -q 'lora.attention .* scale 6.250000e-02' "$work/generated/10-model.mlir" || fail "not 1 / sqrt(256)"
# A model's own heads, and what is no JSON, are said of its file.
other heads 's/"num_key_value_heads": 2/"num_key_value_heads": 3/'
expect 5 "$lorac" check "$work/spec.toml" --set "model.source=\"$work/heads\""
says "'num_key_value_heads' = 3 must divide 'num_attention_heads' = 4"
other odd 's/"head_dim": [0-9]*/"head_dim": 15/'
expect 5 "$lorac" check "$work/spec.toml" --set "model.source=\"$work/odd\""
says "the model '$work/odd' says sizes that 'gemma2' cannot compute with"
other nan 's/"rms_norm_eps": [^,]*/"rms_norm_eps": NaN/'
expect 5 "$lorac" check "$work/spec.toml" --set "model.source=\"$work/nan\""
line=$(grep -n NaN "$work/nan/config.json" | cut -d: -f1)
says "(line $line, column "
says "NaN is no number there"
