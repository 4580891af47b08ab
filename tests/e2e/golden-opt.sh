# golden-opt.sh BUILD SOURCE RUN: 20 steps of an optimizer through the binary, against those that torch or bitsandbytes made
# (tests/golden/README.md): losses, norms, the adapter after the first update and the last, the states in the last checkpoint.
source "$(dirname "$0")/common.sh"
run=$3
made() { python3 "$source/tests/e2e/golden_opt.py" "$1" "$source/tests/golden" "$run" "${@:2}"; }
made spec >"$work/golden.toml" || fail "no golden run '$run'"
expect 0 "$lorac" train "$work/golden.toml" --generated "$work/generated" --out "$work/out" --quiet
made compare "$work/out" || fail "other numbers than those of '$run'"
