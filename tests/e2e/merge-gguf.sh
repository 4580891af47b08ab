#!/usr/bin/env bash
# Merged models as GGUF files: of a GGUF with all its keys, and of a Hugging Face folder with its settings and its tokenizer. They
# compute what the base computes with the adapter beside it.
source "$(dirname "$0")/common.sh"
cd "$source"
golden=$source/tests/golden
numbers() { python3 "$source/tests/e2e/merge.py" "$@" || fail "other numbers: $*"; }
evalLoss() { sed -n 's/^loss \([0-9.]*\) over.*/\1/p' "$work/stdout"; }
# within A B PART: |A - B| <= PART |B|
within() { awk -v a="$1" -v b="$2" -v part="$3" 'BEGIN { d = a - b; exit !(a != "" && d * d <= (part * b) ^ 2) }' || fail "$1 is not $2"; }

# spec NAME SOURCE DATA
spec() {
  {
    printf '[model]\nsource = "%s"\n[adapter]\nr = 4\nlora_alpha = 8\n[[data]]\npath = "%s"\n' "$2" "$3"
    printf '[train]\noutput_dir = "%s/out"\nsteps = 1\nbatch_size = 2\nmax_length = 24\n[target]\ndevice = "cpu"\n' "$work"
  } >"$work/$1.toml"
}
# merges NAME DTYPE ADAPTER...
merges() {
  local name=$1 dtype=$2
  shift 2
  expect 0 "$lorac" merge "$work/$name.toml" "$@" -o "$work/$name-$dtype.gguf" --format gguf --dtype "$dtype"
}
# lossOf NAME [FLAG...]
lossOf() {
  (cd "$work" && expect 0 "$lorac" eval "$1.toml" --samples 2 "${@:2}")
  evalLoss
}
# computes NAME DTYPE LOSS PART: the merged file's loss.
computes() { within "$(lossOf "$1" --set "model.source=\"$work/$1-$2.gguf\"")" "$3" "$4"; }

# A GGUF of many types, whose q and k are permuted.
kquants=$golden/arch/kquants
spec kquants "$kquants/model.gguf" "$golden/arch/train_data.safetensors"
loss=$(lossOf kquants --adapter "$kquants/lora_final")
for dtype in f32:2e-6 f16:1e-3 bf16:2e-3 q8_0:1e-2 q4_1:1e-1; do
  merges kquants "${dtype%:*}" "$kquants/lora_final"
  numbers keys "$work/kquants-${dtype%:*}.gguf" "$kquants/model.gguf"
  computes kquants "${dtype%:*}" "$loss" "${dtype#*:}"
done
numbers copied "$work/kquants-bf16.gguf" "$kquants/model.gguf" blk.1.ffn_gate.weight
numbers blocks "$work/kquants-q8_0.gguf" "$work/kquants-f32.gguf" 8
numbers blocks "$work/kquants-q4_1.gguf" "$work/kquants-f32.gguf" 3
numbers typed "$work/kquants-q8_0.gguf" token_embd.weight 8
numbers typed "$work/kquants-q4_1.gguf" blk.0.attn_q.weight 3
numbers typed "$work/kquants-q4_1.gguf" blk.0.attn_norm.weight 0
# The adapter as llama.cpp's file gives the same.
expect 0 "$lorac" export "$kquants/lora_final" --format gguf --model "$kquants/model.gguf" -o "$work/adapter.gguf"
expect 0 "$lorac" merge "$work/kquants.toml" "$work/adapter.gguf" -o "$work/again.gguf" --format gguf --dtype f32
same "$work/again.gguf" "$work/kquants-f32.gguf"

# Hugging Face folders: the keys come from config.json. Without an update the tensors are those of llama.cpp's own converter.
for model in qwen2:64:f32 qwen3:96:bf16 olmo2:64:bf16 granite:64:bf16 gemma2_headdim:96:bf16 gemma3_headdim:96:bf16; do
  IFS=: read -r name rows dtype <<<"$model"
  spec "$name" "$golden/arch/$name" "$golden/arch/train_data.safetensors"
  numbers rank1 model.layers.0.self_attn.q_proj "$rows" 64 0.01 "$work/$name-adapter"
  merges "$name" "$dtype" "$work/$name-adapter@0"
  says "has no tokenizer.json, and so the GGUF has no tokenizer"
  numbers model "$work/$name-$dtype.gguf" "$golden/arch/$name/model.gguf"
done
for name in qwen3 gemma3_headdim; do
  adapter=$golden/arch/$name/lora_final
  [[ -d $adapter ]] || adapter=$work/$name-adapter
  merges "$name" f32 "$adapter"
  computes "$name" f32 "$(lossOf "$name" --adapter "$adapter")" 2e-6
done
tied=$golden/tiny/tied
mkdir "$work/base"
cp "$tied"/{config.json,model.safetensors} "$work/base"
cp "$golden/tokenizer/bytelevel.tokenizer.json" "$work/base/tokenizer.json"
echo '{"eos_token": "<|end|>", "chat_template": "{{ messages }}"}' >"$work/base/tokenizer_config.json"
spec tiny "$work/base" "$golden/tiny/train_data.safetensors"
loss=$(lossOf tiny --adapter "$tied/lora_init")
for dtype in f32:2e-6 q8_0:1e-2; do
  merges tiny "${dtype%:*}" "$tied/lora_init"
  computes tiny "${dtype%:*}" "$loss" "${dtype#*:}"
done
merges tiny q4_1 "$tied/lora_init"
says "rows of 'down_proj' are no whole blocks of Q4_1: they are written as F16"
numbers typed "$work/tiny-q4_1.gguf" blk.0.ffn_down.weight 1
for text in 'The plan holds 1234 kernels.' $'two  spaces,\ttabs\n\nand "quotes" <|end|>' 'čeština 你好'; do
  for model in "$work/base" "$work/tiny-f32.gguf"; do
    "$lorac" tokenize --model "$model" <<<"$text" >"$work/tokens-$(basename "$model")" || fail "no tokens of $model"
  done
  same "$work/tokens-base" "$work/tokens-tiny-f32.gguf"
done
grep -aq '{{ messages }}' "$work/tiny-f32.gguf" || fail "the template is not in the file"

# What a format cannot say is refused by name.
expect 3 "$lorac" merge "$work/kquants.toml" "$kquants/lora_final" -o "$work/none" --format safetensors --dtype f32
says "is a GGUF file, which has no config.json and no tokenizer.json"
expect 2 "$lorac" merge "$work/kquants.toml" "$kquants/lora_final" -o "$work/kquants-f32.gguf" --format gguf --dtype f32
says "is there already, and is left as it is"
spec gemma3 "$golden/arch/gemma3" "$golden/arch/train_data.safetensors"
expect 3 "$lorac" merge "$work/gemma3.toml" "$golden/arch/gemma3/lora_final" -o "$work/none" --format gguf --dtype f32
says "its 'query_pre_attn_scalar' is 16, for which a GGUF has no key; take --format safetensors"
spec llama3 "$golden/arch/llama_llama3" "$golden/arch/train_data.safetensors"
numbers rank1 model.layers.0.self_attn.q_proj 64 64 0.01 "$work/rank1"
expect 3 "$lorac" merge "$work/llama3.toml" "$work/rank1" -o "$work/none" --format gguf --dtype f32
says "its 'rope_low_freq_factor' is 1, for which a GGUF has no key; take --format safetensors"
spec mistral "$golden/arch/mistral" "$golden/arch/train_data.safetensors"
numbers rank1 model.layers.0.self_attn.q_proj 96 64 0.01 "$work/rank1-wide"
expect 3 "$lorac" merge "$work/mistral.toml" "$work/rank1-wide" -o "$work/none" --format gguf --dtype f32
says "GGUF files of the architecture 'mistral' are not known in this version"
sed -i 's/"use_regex":true/"use_regex":false/g' "$work/base/tokenizer.json"
expect 3 "$lorac" merge "$work/tiny.toml" "$tied/lora_init" -o "$work/none" --format gguf --dtype f32
says "llama.cpp knows no way to cut text as its 'pre_tokenizer' does"
[[ -z $(find "$work" -maxdepth 1 -name 'none*') ]] || fail "something of a refused merge was left"
