# adalora-edges.sh BUILD SOURCE: budgets, ranks and modules at their limits: each does the sensible thing, or is a clear error.
source "$(dirname "$0")/common.sh"
cd "$source"
# Few modules: each rank that a program has costs kernels.
sed "s|path = \"data|path = \"$source/specs/data|; s|\"all-linear\"|[\"q_proj\", \"v_proj\"]|" specs/tiny_adalora.toml >"$work/tiny.toml"
spec=$work/tiny.toml

# trained NAME SPEC RANKS [FLAG...]: trains into $work/NAME; the adapter has so many ranks in all, and the loss fell.
trained() {
  local name=$1 spec=$2 ranks=$3
  shift 3
  expect 0 "$lorac" train "$spec" --generated "$work/$name.generated" --out "$work/$name" "$@"
  python3 - "$work/$name" "$ranks" <<'P' || fail "$name"
import json, sys
folder, wanted = sys.argv[1], int(sys.argv[2])
config = json.load(open(folder + "/adapter_config.json"))
ranks = [config.get("rank_pattern", {}).get(module, config["r"]) for module in config["target_modules"]]
assert sum(ranks) == wanted and 0 not in ranks, ranks
losses = [line["loss"] for line in map(json.loads, open(folder + "/metrics.jsonl")) if "loss" in line]
assert len(losses) == 80 and losses[-1] < losses[0], losses
P
}

# Nothing to prune: the initial ranks are the target.
trained equal "$spec" 16 --set adapter.adalora.init_r=4
says "nothing is pruned"
! grep -q "in place of" "$work/stderr" || fail "a program was built where nothing died"

# No final phase: the last multiple of deltaT is the last allocation.
trained no-final "$spec" 16 --set adapter.adalora.tfinal=0
says "step 71: budget 16"
expect 3 "$lorac" check "$spec" --set adapter.adalora.tfinal=0 --set adapter.adalora.prune=final
says "tfinal = 0 leaves none"

# Ranks that are no multiple of anything.
trained odd-13 "$spec" 12 --set adapter.adalora.init_r=13 --set adapter.adalora.target_r=3
trained odd-7 "$spec" 8 --set adapter.adalora.init_r=7 --set adapter.adalora.target_r=2 --set adapter.adalora.prune=eager

# One module: all triplets compete within it.
trained one "$spec" 4 --set 'adapter.target_modules=["layers.0.self_attn.q_proj"]'

# Rank 0 everywhere in a layer: it is the base alone, and the other layer has the whole budget.
{ cat "$spec"; printf '\n[[adapter.rule]]\nmodules = "layers.0.*"\nmax_r = 0\n'; } >"$work/layer.toml"
trained layer "$work/layer.toml" 16
says "2 of 4 modules at rank 0"
! grep -q "layers.0" "$work/layer/adapter_config.json" || fail "a module of layer 0 has an adapter"
expect 0 "$work/layer.generated/train" --eval --adapter "$work/layer" --samples 2

# Budgets that cannot be.
spec=specs/tiny_adalora.toml
grep -v target_r "$spec" | sed "s|path = \"data|path = \"$source/specs/data|" >"$work/budget.toml"
expect 0 "$lorac" check "$work/budget.toml" --set adapter.adalora.budget=9400
prints "336 falling to 56"
expect 3 "$lorac" check "$work/budget.toml" --set adapter.adalora.budget=60000
says "'budget' = 60000 is more than the 56400 parameters of the initial ranks"
expect 3 "$lorac" check "$spec" --set adapter.adalora.target_r=30
says "'target_r' = 30 is larger than 'init_r' = 24: ranks only fall"
