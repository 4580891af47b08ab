# adalora.sh BUILD SOURCE: the shipped AdaLoRA spec: ranks fall, programs shrink, and what is written is plain LoRA of varying ranks.
source "$(dirname "$0")/common.sh"
cd "$source"

expect 0 "$lorac" train specs/tiny_adalora.toml --generated "$work/generated" --out "$work/out"
metrics=$work/out/metrics.jsonl
mapfile -t losses < <(metric loss "$metrics")
((${#losses[@]} == 80)) || fail "${#losses[@]} losses, expected 80"
less "${losses[79]}" "${losses[0]}" || fail "the loss did not fall: ${losses[0]} -> ${losses[79]}"
says "step 11: budget 252, 252 of 336 triplets live"
says "a new program is built, for step 19"
says "step 19: program of 280 ranks in place of 336"

# Programs shrink, and never grow again.
mapfile -t programs < <(metric program_ranks "$metrics")
((${#programs[@]} >= 3)) || fail "${#programs[@]} programs took over, expected at least 3"
for ((i = 1; i < ${#programs[@]}; ++i)); do
  ((programs[i] < programs[i - 1])) || fail "a program of ${programs[i]} ranks after one of ${programs[i - 1]}"
done
mapfile -t planned < <(metric planned_bytes "$metrics")
((planned[${#planned[@]} - 1] < planned[0])) || fail "the plan did not shrink: ${planned[*]}"
head -1 "$metrics" | grep -q '"step": 0, "rank_pattern"' || fail "no rank_pattern at step 0"

# The adapter: ranks by module, of 56 in all, and modules of rank 0 left out; the picture; the manifest.
ranks=$(python3 - "$work/out/adapter_config.json" <<'P'
import json, sys
config = json.load(open(sys.argv[1]))
assert config["peft_type"] == "LORA", config["peft_type"]
ranks = [config["rank_pattern"].get(module, config["r"]) for module in config["target_modules"]]
assert len(ranks) < 14 and 0 not in ranks, ranks
print(sum(ranks))
P
) || fail "the adapter's configuration"
[[ $ranks == 56 ]] || fail "the adapter has $ranks ranks in all, expected 56"
# The model card names the method and the ranks that are there.
grep -q "^# AdaLoRA adapter" "$work/out/README.md" || fail "the model card's method: $(grep '^# ' "$work/out/README.md")"
grep -q "^| ranks | [0-9]* to [0-9]*, 56 in all, from 24 a module at the start |" "$work/out/README.md" || fail "the model card's ranks: $(grep rank "$work/out/README.md")"
grep -q "</svg>" "$work/out/ranks.svg" || fail "no picture of the ranks"
grep -q '"ranks_after"' "$work/out/manifest.json" || fail "no manifest"
! grep -q '"failure"' "$work/out/manifest.json" || fail "a program failed"
expect 0 "$work/generated/train" --eval --adapter "$work/out" --samples 4

# Alone, with the lorac that is named, the same bytes.
expect 0 "$work/generated/train" --out "$work/again" --lorac "$lorac"
same "$work/again/adapter_model.safetensors" "$work/out/adapter_model.safetensors"

# Every mode: what died never comes back, and `mask` keeps its program.
for mode in mask final eager; do
  expect 0 "$lorac" train specs/tiny_adalora.toml --set "adapter.adalora.prune=$mode" --generated "$work/$mode.generated" --out "$work/$mode"
  mapfile -t programs < <(metric program_ranks "$work/$mode/metrics.jsonl")
  case $mode in
  mask) ((${#programs[@]} == 0)) || fail "mask changed its program" ;;
  final) ((${#programs[@]} == 1)) || fail "final changed its program ${#programs[@]} times" ;;
  eager) ((${#programs[@]} >= 3)) || fail "eager changed its program ${#programs[@]} times" ;;
  esac
done
