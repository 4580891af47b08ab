#!/usr/bin/env bash
# Gated LoRA from the key to its files: it begins as LoRA does, learns, an adapter is read back on both targets and a resumed run ends in
# the same bytes; what it does not go with is refused. gated.sh BUILD SOURCE [SIMULATOR]
source "$(dirname "$0")/common.sh"
simulator=${3:-}
cd "$source"
evalLoss() { sed -n 's/^loss \([0-9.]*\) over.*/\1/p' "$work/stdout"; }

# Its first step is LoRA's, bit for bit; then the gates move, on a rate of their own.
compiled tiny_lora "$work/plain" --target cpu
compiled tiny_lora "$work/cpu" --target cpu --set adapter.use_gate=true
expect 0 "$work/plain/train" --out "$work/out-plain"
expect 0 "$work/cpu/train" --out "$work/out-cpu"
[[ $(metric loss "$work/out-cpu/metrics.jsonl" | head -1) == $(metric loss "$work/out-plain/metrics.jsonl" | head -1) ]] || fail "gates do not begin as 1"
less "$(metric loss "$work/out-cpu/metrics.jsonl" | tail -1)" "$(metric loss "$work/out-cpu/metrics.jsonl" | head -1)" || fail "the loss did not fall"
python3 - "$work/out-cpu/adapter_model.safetensors" <<'P2' || fail "the gates did not move"
import sys
sys.path.insert(0, "tests/e2e")
from golden_opt import tensors_of
gates = {name: values for name, values in tensors_of(sys.argv[1]).items() if name.endswith(".lora_gate")}
assert gates and all(any(g != 1 for g in values) for values in gates.values()), gates
P2
grep -q '"peft_type": "GATED_LORA"' "$work/out-cpu/adapter_config.json" || fail "adapter_config.json does not say whose it is"
grep -q '^# Gated LoRA adapter$' "$work/out-cpu/README.md" || fail "the model card does not say gated LoRA"

# A run that was stopped goes on to the same bytes.
expect 0 "$work/cpu/train" --out "$work/cut" --steps 3
expect 0 "$work/cpu/train" --out "$work/cut" --resume
same "$work/cut/adapter_model.safetensors" "$work/out-cpu/adapter_model.safetensors"

# A plain program refuses the adapter, and so does this one a plain adapter; a spec gets the program that the adapter needs.
expect 5 "$work/plain/train" --eval --adapter "$work/out-cpu"
says "lora_gate'; set use_gate = true in [adapter]"
expect 5 "$work/cpu/train" --eval --adapter "$work/out-plain"
says "lora_gate'; set use_gate = false in [adapter]"
expect 0 "$work/cpu/train" --eval --adapter "$work/out-cpu"
trained=$(evalLoss)
expect 0 "$lorac" eval specs/tiny_lora.toml --adapter "$work/out-cpu"
[[ $(evalLoss) == "$trained" ]] || fail "another program computes $(evalLoss) of the adapter, not $trained"
expect 0 "$lorac" export "$work/out-cpu" --format peft -o "$work/peft"
same "$work/peft/adapter_model.safetensors" "$work/out-cpu/adapter_model.safetensors"
expect 3 "$lorac" export "$work/out-cpu" --format peft-adalora -o "$work/ada"
says "AdaLoRA has no place for its gates"

# What explain counts is what the plan has.
expect 0 "$lorac" explain specs/tiny_lora.toml --set adapter.use_gate=true
prints "gated LoRA"
prints "lora_gate"

# A GPU's program in the simulator: losses within 1 % of the CPU's, and each adapter on the other target.
[[ -n $simulator ]] || exit 0
cudaCompiled specs/tiny_lora.toml "$work/cuda" bf16 --set adapter.use_gate=true
export LORAC_LIBCUDA=$simulator
expect 0 "$work/cuda/train" --out "$work/out-cuda"
paste <(metric loss "$work/out-cpu/metrics.jsonl") <(metric loss "$work/out-cuda/metrics.jsonl") >"$work/losses"
awk 'NF != 2 || ($1 - $2) ^ 2 > (0.01 * $1) ^ 2 { bad = 1 } END { exit bad || NR < 10 }' "$work/losses" || fail "losses of the two targets differ: $(cat "$work/losses")"
expect 0 "$work/cuda/train" --eval --adapter "$work/out-cpu"
awk -v a="$(evalLoss)" -v b="$trained" 'BEGIN { exit !(a != "" && (a - b) ^ 2 < (0.001 * b) ^ 2) }' || fail "the CPU's adapter has loss $(evalLoss) on cuda, $trained on the CPU"
