#!/usr/bin/env bash
# demo.sh BUILD: QLoRA on SmolLM2-135M-Instruct over a corpus of fortunes, in a few minutes on a CPU. A run that was
# interrupted goes on; a finished one is shown again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$1
spec=specs/smollm2_qlora.toml
out=out/smollm2_qlora
generated=generated/smollm2_qlora
prompts=("A good friend is" "The trouble with computers is that" "Never trust a")

heading() { printf '\n%s\n' "== $*"; }
# The value of a key in a line of metrics.
value() { sed -n "s/.*\"$1\": *\\([-0-9.e+]*\\).*/\\1/p"; }

heading "Model and corpus"
bash cmake/scripts/fetch-smollm2.sh models
bash cmake/scripts/make-fortunes.sh models/fortunes.txt
echo "models/SmolLM2-135M-Instruct.Q4_1.gguf: 135 million parameters, Apache-2.0"
echo "models/fortunes.txt: $(($(grep -c '^%$' models/fortunes.txt) + 1)) short texts"

heading "Compiling $spec"
"$build/lorac" check "$spec"
"$build/lorac" compile "$spec"

heading "Training (Ctrl-C stops after the step; make demo goes on)"
if [[ -f $out/adapter_model.safetensors ]]; then
  echo "$out holds a finished run; rm -r $out to train again"
elif compgen -G "$out/checkpoint-*" >/dev/null; then
  "$generated/train" --resume
else
  "$generated/train" --overwrite
fi

heading "Loss on held-out texts"
before=$(grep '"eval_loss"' "$out/metrics.jsonl" | head -1)
after=$(grep '"eval_loss"' "$out/metrics.jsonl" | tail -1)
printf 'before: %.4f\nafter:  %.4f (step %s)\n' \
  "$(value eval_loss <<<"$before")" "$(value eval_loss <<<"$after")" "$(value step <<<"$after")"

heading "What it writes (greedy)"
for prompt in "${prompts[@]}"; do
  printf '\n> %s\n' "$prompt"
  printf -- '- without: %s\n' "$("$generated/train" --generate --max-new-tokens 32 --prompt "$prompt" 2>/dev/null | tr '\n\t' '  ')"
  printf -- '- with:    %s\n' "$("$generated/train" --generate --max-new-tokens 32 --prompt "$prompt" --adapter "$out" 2>/dev/null | tr '\n\t' '  ')"
done

heading "Where things are"
row() { printf '%-44s %s\n' "$1" "$2"; }
row "$out/" "the adapter, as PEFT and vLLM take it; checkpoints; metrics.jsonl"
row "$generated/" "dumps of every stage, kernels, plan.md; train, the program that ran"

heading "What to try next"
row "$build/lorac inspect $generated 40" "what the compiler made of the step"
row "$build/lorac plan $spec" "memory and work, before a run"
row "$build/lorac export $out --format gguf" "the adapter for llama.cpp"
cat <<EOF
$build/lorac train $spec --set adapter.r=4 --out out/r4
$build/lorac generate $spec --adapter $out --prompt "Computers are" --temperature 0.8
EOF
