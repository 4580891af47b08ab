# train.sh BUILD SOURCE SPEC: a spec of the repository trains, its loss falls, and the output is whole.
source "$(dirname "$0")/common.sh"
spec=$3
cd "$source"

expect 0 "$lorac" train "specs/$spec.toml" --generated "$work/generated" --out "$work/out"
metrics=$work/out/metrics.jsonl
mapfile -t losses < <(metric loss "$metrics")
((${#losses[@]} == 20)) || fail "${#losses[@]} losses, expected 20"
less "${losses[19]}" "${losses[0]}" || fail "the loss did not fall: ${losses[0]} -> ${losses[19]}"
for key in learning_rate grad_norm epoch num_input_tokens_seen tokens_per_second peak_memory_bytes; do
  [[ -n $(metric "$key" "$metrics") ]] || fail "no $key in the metrics"
done
for file in adapter_config.json adapter_model.safetensors README.md checkpoint-10 checkpoint-20; do
  [[ -e $work/out/$file ]] || fail "no $file in the output folder"
done
for file in 10-model.mlir 20-adapted.mlir 30-backward.mlir 35-ordered.mlir 40-fused.mlir 50-planned.mlir plan.json plan.md \
  module.so train run.json; do
  [[ -s $work/generated/$file ]] || fail "no $file in the generated folder"
done
! compgen -G "$work/*.part.*" >/dev/null || fail "something half-written was left"

# A folder that holds a run is not written over.
cp "$work/out/adapter_model.safetensors" "$work/first"
code=0
"$work/generated/train" --out "$work/out" >"$work/stdout" 2>"$work/stderr" || code=$?
((code)) || fail "a finished run was written over"
says "--overwrite"
same "$work/out/adapter_model.safetensors" "$work/first"

# The same spec, the same bytes.
expect 0 "$work/generated/train" --out "$work/out" --overwrite
same "$work/out/adapter_model.safetensors" "$work/first"
