# explain.sh BUILD SOURCE: what `lorac explain` says is what a run does.
source "$(dirname "$0")/common.sh"
cd "$source"

# The budgets that it prints are those of the run.
expect 0 "$lorac" explain specs/tiny_adalora.toml
prints "336 triplets at the start"
prints 'prune = "bucketed": '
prints "model.layers.{0,1}.self_attn.q_proj.lora_A"
[[ ! -s $work/stderr ]] || fail "words on stderr: $(cat "$work/stderr")"
expect 0 "$lorac" explain specs/tiny_adalora.toml --json
cp "$work/stdout" "$work/explained.json"
expect 0 "$lorac" train specs/tiny_adalora.toml --set adapter.adalora.prune=mask --generated "$work/generated" --out "$work/out" --quiet
python3 - "$work/explained.json" "$work/out/metrics.jsonl" "$work/generated/plan.json" <<'P' || fail "explain and the run differ"
import json, sys
explained = json.load(open(sys.argv[1]))
lines = [json.loads(line) for line in open(sys.argv[2])]
ran = [(line["step"], line["budget"]) for line in lines if "budget" in line]
said = [(row["step"], row["budget"]) for row in explained["ranks"]["curve"]]
assert said == ran and len(said) == 5, (said, ran)
# Bytes are those of the plan.
arena = json.load(open(sys.argv[3]))["arena"]
bytes = explained["bytes"]
count = lambda *names: sum(4 * region["count"] for region in arena["regions"] if region["name"] in names)
assert bytes["parameters"] == count("params"), bytes
assert bytes["optimizer_states"] == count("exp_avg", "exp_avg_sq"), bytes
assert bytes["importance"] == count("sensitivity", "uncertainty"), bytes
assert bytes["unfolded"] == count("unfolded"), bytes
assert bytes["total"] == sum(tensor["bytes"]["total"] for tensor in explained["tensors"]), bytes
# Rates are those of the run's first line.
for group in explained["groups"]:
    assert next(line for line in lines if "learning_rate/" + group["name"] in line)["learning_rate/" + group["name"]] == group["learning_rate"], group
P

# The other methods, and what is refused.
expect 0 "$lorac" explain specs/tiny_loraplus.toml --set optimizer.weight_decay=0.01
prints "0.016 (16 x)          0.01"
expect 0 "$lorac" explain specs/tiny_qlora.toml
prints "LoRA on a base in nf4"
prints "model.layers.0.mlp.up_proj.lora_A "
expect 0 "$lorac" explain specs/tiny_adalora.toml --set adapter.lora_alpha=6
says "lora_alpha / init_r = 6 / 24 = 0.25 to the end, far from LoRA's habit of 1 to 2; lora_alpha = 24 gives 1, 48 gives 2"
expect 3 "$lorac" explain specs/tiny_adalora.toml --set train.steps=30
says "5 + 30 = 35 against 30"
[[ ! -s $work/stdout ]] || fail "a refused spec was explained"
