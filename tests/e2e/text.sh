#!/usr/bin/env bash
# text.sh BUILD SOURCE NAME: `lorac generate` makes a program for text, with a cache; the binary that trains takes the whole prefix
# anew for each token. Both write the same ids, greedy and sampled, which is drawn from the very numbers: for the model NAME of the
# goldens, in pieces, in batches, over windows and caps.
source "$(dirname "$0")/common.sh"
cd "$source"
golden=$source/tests/golden
name=$3
[[ -e $golden/arch/$name ]] && model=$golden/arch/$name || model=$golden/tiny/$name
mkdir "$work/model"
cp -L "$model"/config.json "$model"/*.safetensors "$work/model/"
rm -f "$work/model/forward.safetensors" "$work/model/"*_train.safetensors
cp "$golden/tokenizer/bytelevel.tokenizer.json" "$work/model/tokenizer.json"
adapter=$model/lora_final

# spec NAME FORMAT MAX_LENGTH
spec() {
  cat >"$work/$1.toml" <<END
[model]
source = "$work/model"
[quantization]
format = "$2"
[adapter]
r = 3
lora_alpha = 8
[[data]]
path = "$golden/arch/train_data.safetensors"
format = "tokens"
[train]
output_dir = "$work/out"
steps = 1
batch_size = 1
max_length = $3
[target]
device = "cpu"
END
}
# texts FILE: what the last command printed, without the prompts' own words.
texts() { cp "$work/stdout" "$work/$1.json"; }
prompts=(--prompt "the kernel of a process" --prompt "a" --prompt "it is known that a compiler is a program which reads")

# The prefix anew, one prompt after another: what there was before the cache.
spec plain none 112
expect 0 "$lorac" eval "$work/plain.toml" --adapter "$adapter" --samples 1 --generated "$work/step"
step() { expect 0 "$work/step/train" --generate --adapter "$adapter" --json --quiet "$@" && texts step; }
text() { expect 0 "$lorac" generate "$work/plain.toml" --adapter "$adapter" --json --quiet --generated "$work/text" "$@" && texts text; }

# Greedy, beyond the window, and beyond the 48 positions of a block of keys; alone and beside each other.
step "${prompts[@]}" --max-new-tokens 70
text "${prompts[@]}" --max-new-tokens 70
same "$work/step.json" "$work/text.json"
grep -q '"finish_reason": "length"' "$work/text.json" || fail "no text of 70 tokens"
[[ -x $work/text/generate && ! -e $work/text/train ]] || fail "the program for text is not called generate"
grep -q 'lora.cached_attention' "$work/text/30-cached.mlir" || fail "no cache in the dump"
! grep -q 'region @grads\|@train' "$work/text/50-planned.mlir" || fail "a program for text has gradients"
text "${prompts[@]}" --max-new-tokens 70 --batch 2
same "$work/step.json" "$work/text.json"
text "${prompts[@]}" --max-new-tokens 70 --batch 5 --threads 1
same "$work/step.json" "$work/text.json"

# Sampled: each draw depends on the logits to the last bit.
sampled=(--temperature 1.5 --top-k 40 --top-p 0.9 --max-new-tokens 60)
step "${prompts[@]}" "${sampled[@]}" --seed 11
text "${prompts[@]}" "${sampled[@]}" --seed 11 --batch 3
same "$work/step.json" "$work/text.json"
text "${prompts[@]}" "${sampled[@]}" --seed 12
! cmp -s "$work/step.json" "$work/text.json" || fail "another seed draws the same"

# The base alone has no adapter's parameters, and is what an adapter of zeros makes of it.
expect 0 "$work/step/train" --generate --json --quiet "${prompts[@]}" --max-new-tokens 8 && texts step
expect 0 "$lorac" generate "$work/plain.toml" --json --quiet --generated "$work/base" "${prompts[@]}" --max-new-tokens 8 && texts text
same "$work/step.json" "$work/text.json"
grep -q 'lora.region @params params floats 0' "$work/base/50-planned.mlir" || fail "the base alone has parameters"

# A context that is full.
text --prompt "a" --max-new-tokens 400
step --prompt "a" --max-new-tokens 400
same "$work/step.json" "$work/text.json"
grep -q '"finish_reason": "context"' "$work/text.json" || fail "112 positions hold 400 tokens"

# Weights that are packed in codes.
spec packed nf4 64
expect 0 "$lorac" eval "$work/packed.toml" --adapter "$adapter" --samples 1 --generated "$work/step" --set quantization.block_size=32
step "${prompts[@]}" --max-new-tokens 30
expect 0 "$lorac" generate "$work/packed.toml" --adapter "$adapter" --json --quiet --set quantization.block_size=32 "${prompts[@]}" \
  --max-new-tokens 30 --generated "$work/text" && texts text
same "$work/step.json" "$work/text.json"
