# golden-variant.sh BUILD SOURCE RUN: ten steps of a method through the binary, against those that PEFT made (tests/golden/README.md):
# losses, and the last adapter.
source "$(dirname "$0")/common.sh"
run=$3
made() { python3 "$source/tests/e2e/golden_variant.py" "$1" "$source/tests/golden" "$run" "${@:2}"; }
mkdir "$work/start"
made start "$work/start" || fail "no golden run '$run'"
made spec "$work/start" >"$work/golden.toml"
expect 0 "$lorac" train "$work/golden.toml" --generated "$work/generated" --out "$work/out" --quiet
made compare "$work/out" || fail "other numbers than those of '$run'"
