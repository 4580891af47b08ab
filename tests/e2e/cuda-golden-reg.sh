# cuda-golden-reg.sh BUILD SOURCE RUN COMPUTE SIMULATOR KEY=VALUE...: golden-reg.sh by a GPU's program in the PTX simulator, in 16 bits:
# losses, within 1 %.
source "$(dirname "$0")/common.sh"
run=$3 compute=$4
simulator=${LORAC_LIBCUDA:-${5:-}}
[[ -n $simulator ]] || skip "this build has no PTX simulator"
python3 "$source/tests/e2e/golden_reg.py" spec "$source/tests/golden" >"$work/golden.toml" || fail "no goldens"
settings=()
for setting in "${@:6}"; do settings+=(--set "$setting"); done
cudaCompiled "$work/golden.toml" "$work/cuda" "$compute" "${settings[@]}"
LORAC_LIBCUDA=$simulator expect 0 "$work/cuda/train" --out "$work/out"
python3 "$source/tests/e2e/golden_reg.py" losses "$source/tests/golden" "$run" "$work/out" 1e-2 || fail "other losses than those of '$run'"
