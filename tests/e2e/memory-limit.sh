# memory-limit.sh BUILD SOURCE SPEC: a limit on memory changes no byte of a run; one that cannot be met is refused by plan, compile and train,
# with the least that can and with settings that fit.
source "$(dirname "$0")/common.sh"
cd "$source"
spec=specs/$3.toml
steps=12
[[ $3 == tiny_adalora ]] && steps=40 # ranks fall, and smaller programs take over
long=(--set train.batch_size=8 --set train.max_length=64 --set train.steps=$steps --set train.save_steps=6 --set train.eval_steps=6
  --set adapter.lora_dropout=0.1 --set schedule.name=constant)
total() { sed -n 's/.*"total_bytes": \([0-9]*\).*/\1/p' "$work/stdout"; }

expect 0 "$lorac" plan "$spec" "${long[@]}" --json
whole=$(total)
expect 4 "$lorac" plan "$spec" "${long[@]}" --json --set target.memory=1024
least=$(total)
less "$least" "$whole" || fail "a limit saves nothing: $least of $whole bytes"
says "more than memory = 1.0 KiB"

# The least can be had, and a byte less cannot.
expect 0 "$lorac" plan "$spec" "${long[@]}" --json --set "target.memory=$least"
expect 4 "$lorac" plan "$spec" "${long[@]}" --json --set "target.memory=$((least - 1))"

expect 0 "$lorac" train "$spec" "${long[@]}" --generated "$work/whole" --out "$work/whole-out"
losses() { metric loss "$1/metrics.jsonl"; metric eval_loss "$1/metrics.jsonl"; metric grad_norm "$1/metrics.jsonl"; }
for limit in $least $(((least + whole) / 2)); do
  expect 0 "$lorac" train "$spec" "${long[@]}" --set "target.memory=$limit" --generated "$work/limit-$limit" --out "$work/limit-out"
  grep -q '{recompute}' "$work/limit-$limit/40-fused.mlir" || fail "nothing is computed again"
  grep -q '^| 0.*attention' "$work/limit-$limit/plan.md" || grep -q '^| 0.*_proj' "$work/limit-$limit/plan.md" || fail "plan.md does not say what comes again"
  same "$work/whole-out/adapter_model.safetensors" "$work/limit-out/adapter_model.safetensors"
  diff <(losses "$work/whole-out") <(losses "$work/limit-out") || fail "the losses differ under $limit bytes"
  rm -r "$work/limit-out"
done

# A run goes on under another limit.
if [[ $3 != tiny_adalora ]]; then
  expect 0 "$work/whole/train" --steps 6 --out "$work/cut"
  expect 0 "$work/limit-$least/train" --out "$work/cut" --resume
  same "$work/whole-out/adapter_model.safetensors" "$work/cut/adapter_model.safetensors"
fi

# What is offered fits.
for device in cpu cuda; do
  tight=(--set "target.device=$device" --set train.batch_size=32)
  expect 4 "$lorac" plan "$spec" "${long[@]}" "${tight[@]}" --json --set target.memory=1024
  limit=$(($(total) * 85 / 100))
  for command in plan compile train; do
    expect 4 "$lorac" $command "$spec" "${long[@]}" "${tight[@]}" --set "target.memory=$limit"
    says "it fits with"
  done
  offers=$(grep -o 'it fits with .*' "$work/stderr" | grep -oE '(batch_size|max_length|quantization.format) = "?[a-z0-9]+"?|, r = [0-9]+|with r = [0-9]+|or r = [0-9]+' |
    sed -E 's/^(, |with |or )//; s/ = /=/; s/^batch_size/train.batch_size/; s/^max_length/train.max_length/; s/^r=/adapter.r=/')
  [[ -n $offers ]] || fail "nothing is offered"
  for offer in $offers; do
    expect 0 "$lorac" plan "$spec" "${long[@]}" "${tight[@]}" --set "target.memory=$limit" --set "$offer" --json
  done
done
