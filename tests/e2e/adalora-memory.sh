# adalora-memory.sh BUILD SOURCE: what a run holds after a swap is what LoRA of those ranks holds, and what AdaLoRA plans for itself.
source "$(dirname "$0")/common.sh"
cd "$source"

# Long batches, so that a rank costs memory.
sed "s|path = \"data|path = \"$source/specs/data|" specs/tiny_adalora.toml >"$work/tiny.toml"
long=(--set train.batch_size=32 --set train.max_length=128)
expect 0 "$lorac" train "$work/tiny.toml" "${long[@]}" --set train.steps=40 --set adapter.adalora.prune=eager --set adapter.adalora.init_r=128 \
  --set adapter.adalora.target_r=4 --set adapter.adalora.tfinal=20 --generated "$work/adalora" --out "$work/out"

# LoRA at the ranks of the last program, modules of rank 0 left out.
python3 - "$work/out/metrics.jsonl" "$work/tiny.toml" >"$work/lora.toml" <<'P' || fail "no program took over"
import json, sys
last = [line for line in map(json.loads, open(sys.argv[1])) if "program_ranks" in line][-1]
ranks = {module: rank for module, rank in last["rank_pattern"].items() if rank}
assert sum(ranks.values()) == last["program_ranks"], last
tables = open(sys.argv[2]).read().split("\n[")
for table in tables:
    if table.startswith("adapter]"):
        print(f'[adapter]\nmethod = "lora"\ntarget_modules = {json.dumps(list(ranks))}\n')
        for module, rank in ranks.items():
            print(f'[[adapter.rule]]\nmodules = "{module}"\nr = {rank}\n')
    elif not table.startswith("adapter."):
        print(table if table is tables[0] else "[" + table)
P
expect 0 "$lorac" train "$work/lora.toml" "${long[@]}" --set train.steps=3 --generated "$work/lora" --out "$work/lora-out"

"$lorac" plan "$work/lora.toml" "${long[@]}" --json >"$work/plan.json"

python3 - "$work/out/metrics.jsonl" "$work/lora-out/metrics.jsonl" "$work/plan.json" <<'P' || fail "memory"
import json, sys
adalora, lora = ([json.loads(line) for line in open(path)] for path in sys.argv[1:3])
lora_planned, lora_resident = json.load(open(sys.argv[3]))["total_bytes"], lora[-1]["peak_memory_bytes"]
first, last = adalora[0], [line for line in adalora if "program_ranks" in line][-1]
mib = lambda n: f"{n / 2**20:.1f} MiB"
own, more = last["planned_bytes"] - lora_planned, last["resident_bytes"] - lora_resident
print(f"planned {mib(first['planned_bytes'])} falling to {mib(last['planned_bytes'])}, LoRA {mib(lora_planned)}; "
      f"resident {mib(last['resident_bytes'])}, LoRA {mib(lora_resident)}: {mib(more)} more, {mib(own)} of them planned")
assert first["planned_bytes"] - last["planned_bytes"] > 6 << 20, "the ranks cost too little for this test to see"
assert more - own < 3 << 20, "memory of the first program is still held"
P
