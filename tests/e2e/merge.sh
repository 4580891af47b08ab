#!/usr/bin/env bash
# Merged models are what PEFT merges: float32, 16 bits and NF4, of LoRA, rsLoRA, DoRA and AdaLoRA. What rounding takes of an update
# is told, and nothing that is there already is touched.
source "$(dirname "$0")/common.sh"
cd "$source"
golden=$source/tests/golden
tied=$golden/tiny/tied
numbers() { python3 "$source/tests/e2e/merge.py" "$@" || fail "other numbers: $*"; }
evalLoss() { sed -n 's/^loss \([0-9.]*\) over.*/\1/p' "$work/stdout"; }
near() { awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; exit !(a != "" && d * d <= (2e-6 * b) ^ 2) }' || fail "$1 is not $2"; }

# spec NAME SOURCE [LINE...]
spec() {
  {
    printf '[model]\nsource = "%s"\n' "$2"
    printf '%s\n' "${@:3}"
    printf '[adapter]\nr = 4\nlora_alpha = 8\n[[data]]\npath = "%s"\n' "$work/first.safetensors"
    printf '[train]\noutput_dir = "%s/out"\nsteps = 1\nbatch_size = 2\nmax_length = 24\n[target]\ndevice = "cpu"\n' "$work"
  } >"$work/$1.toml"
}
# merges OUT SPEC DTYPE ADAPTER... [-- FLAG...]: a Hugging Face folder.
merges() {
  local out=$work/$1 spec=$work/$2.toml dtype=$3
  shift 3
  expect 0 "$lorac" merge "$spec" "$@" -o "$out" --format safetensors --dtype "$dtype"
}

numbers first "$golden/tiny/train_data.safetensors" "$work/first.safetensors"
# The base comes with a tokenizer, its template and settings.
mkdir "$work/base"
cp "$tied"/{config.json,model.safetensors} "$work/base"
cp "$golden/tokenizer/bytelevel.tokenizer.json" "$work/base/tokenizer.json"
echo '{"chat_template": "{{ messages }}"}' >"$work/base/tokenizer_config.json"
echo '{"eos_token_id": 2}' >"$work/base/generation_config.json"
echo 'not taken along' >"$work/base/notes.txt"
spec float "$work/base"

# float32: PEFT's sums. All else of the base is as it was, and the folder is a model that opens.
for kind in lora rslora dora; do
  merges "$kind" float f32 "$tied/${kind}_init"
  numbers floats "$work/$kind" "$golden/merge/${kind}_tied.safetensors" 5e-7
  numbers kept "$work/$kind" "$tied/model.safetensors"
done
merges adalora float f32 "$golden/adalora/tied/adapter_final"
numbers floats "$work/adalora" "$golden/adalora/tied/merged_layer0.safetensors" 2e-6
for file in tokenizer.json tokenizer_config.json generation_config.json; do
  same "$work/lora/$file" "$work/base/$file"
done
[[ ! -e $work/lora/notes.txt ]] || fail "a file that is none of the model's was copied"
expect 0 "$lorac" verify "$work/lora"
for kind in lora rslora dora; do
  (cd "$work" && expect 0 "$lorac" eval float.toml --adapter "$tied/${kind}_init")
  loss=$(evalLoss)
  (cd "$work" && expect 0 "$lorac" eval float.toml --set "model.source=\"$work/$kind\"")
  near "$(evalLoss)" "$loss"
done

# Weights scale updates, and updates add up.
merges halves float f32 "$tied/lora_init@0.5" "$tied/lora_init@5e-1"
numbers floats "$work/halves" "$golden/merge/lora_tied.safetensors" 5e-7
merges taken float f32 "$tied/lora_init@2" "$tied/lora_init@-1" "$tied/dora_init@0"
numbers floats "$work/taken" "$golden/merge/lora_tied.safetensors" 1e-6

# 16 bits: the sum is float32's and is rounded once.
for type in BF16:bf16:bfloat16 F16:f16:float16; do
  IFS=: read -r stored dtype name <<<"$type"
  numbers convert "$work/base" "$work/base-$dtype" "$stored"
  spec "$dtype" "$work/base-$dtype"
  merges "in-$dtype" "$dtype" "$dtype" "$tied/lora_init"
  numbers halves "$work/in-$dtype" "$golden/merge/float_merged_layer0.safetensors" "$name.plain."
  grep -q "\"dtype\": \"$name\"" "$work/in-$dtype/config.json" || fail "config.json does not say $name"
done

# NF4, as bitsandbytes keeps it: codes, what survives of updates of several sizes, and losses.
for quant in dq:true sq:false; do
  IFS=: read -r name double <<<"$quant"
  spec "$name" "$work/base" '[quantization]' 'format = "nf4"' "double_quant = $double"
  for times in 0.1 1 3 10; do
    merges "$name-$times" "$name" nf4 "$tied/lora_init@$times" --json
    numbers codes "$work/$name-$times" "$golden/merge/nf4_merged_layer0.safetensors" "$name.x$times."
    numbers shares "$work/stdout" "$golden/merge/merge.json" "$name.x$times"
  done
  merges "$name-float" "$name" nf4 "$tied/lora_init@0.1" --json --from-float
  numbers shares "$work/stdout" "$golden/merge/merge.json" "$name.x0.1" from_float_base
  merges "$name-text" "$name" nf4 "$tied/lora_init" --json --text "$work/first.safetensors"
  numbers losses "$work/stdout" "$golden/merge/merge.json" "$name.x1"
done
[[ -z $(find "$work" -maxdepth 1 -name '*.losses*') ]] || fail "something was left of the losses"
merges warned dq nf4 "$tied/lora_init@0.1"
says "warning: 0.012 of the update survives as nf4"
says "(--from-float)"
grep -q '"quant_method": "bitsandbytes"' "$work/warned/config.json" || fail "config.json does not say how it is quantized"
numbers variant "$golden/variants" qdora_dq "$work/qdora"
merges qdora-merged dq nf4 "$work/qdora"
numbers codes "$work/qdora-merged" "$golden/variants/qdora_dq.safetensors" "merged."

# What is refused writes nothing, and what is there stays.
refused() { # CODE WORDS ARGUMENT...
  local code=$1 words=$2
  shift 2
  expect "$code" "$lorac" merge "$work/float.toml" "$@"
  says "$words"
  [[ ! -e $work/none ]] || fail "something of a refused merge was written"
}
none=(-o "$work/none")
refused 2 "is there already, and is left as it is; name another place with -o" "$tied/lora_init" -o "$work/lora" --format safetensors --dtype f32
expect 0 "$lorac" verify "$work/lora"
refused 2 "ADAPTER is missing" "${none[@]}" --format safetensors --dtype f32
refused 2 "--dtype is missing" "$tied/lora_init" "${none[@]}" --format safetensors
refused 2 "--dtype nf4 is of --format safetensors" "$tied/lora_init" "${none[@]}" --format gguf --dtype nf4
refused 2 "--dtype q8_0 is of --format gguf" "$tied/lora_init" "${none[@]}" --format safetensors --dtype q8_0
refused 2 "has a weight that is no finite number" "$tied/lora_init@inf" "${none[@]}" --format safetensors --dtype f32
refused 1 "cannot open the adapter '$work/nowhere'" "$work/nowhere" "${none[@]}" --format safetensors --dtype f32
numbers rank1 model.layers.0.self_attn.q_proj 64 32 1 "$work/narrow"
refused 5 "but its weight in the base is [64, 64]" "$work/narrow" "${none[@]}" --format safetensors --dtype f32
numbers rank1 lm_head 512 64 1 "$work/head"
refused 5 "the base has no linear layer 'lm_head'" "$work/head" "${none[@]}" --format safetensors --dtype f32
numbers rank1 model.layers.0.self_attn.q_proj 64 64 1e6 "$work/huge"
refused 3 "weight 'model.layers.0.self_attn.q_proj.weight' is " "$work/huge" "${none[@]}" --format safetensors --dtype f16
says "which F16 cannot hold; choose another --dtype"
expect 3 "$lorac" merge specs/tiny_lora.toml "$tied/lora_init" "${none[@]}" --format safetensors --dtype f32
says "has no model.source"
[[ -z $(find "$work" -maxdepth 1 -name 'none*') ]] || fail "something of a refused merge was left"
