# golden-reg.sh BUILD SOURCE RUN KEY=VALUE...: ten steps with one more term of the loss, or another decay, against those that torch
# made (tests/golden/README.md): losses, and the adapter after the first update.
source "$(dirname "$0")/common.sh"
run=$3
python3 "$source/tests/e2e/golden_reg.py" spec "$source/tests/golden" >"$work/golden.toml" || fail "no goldens"
settings=()
for setting in "${@:4}"; do settings+=(--set "$setting"); done
expect 0 "$lorac" train "$work/golden.toml" "${settings[@]}" --generated "$work/generated" --out "$work/out" --quiet
python3 "$source/tests/e2e/golden_reg.py" compare "$source/tests/golden" "$run" "$work/out" || fail "other numbers than those of '$run'"
