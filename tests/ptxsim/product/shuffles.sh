# Two steps of training end in the same bytes in whatever order blocks and warps run, on one thread and on two: the adapter, the
# optimizer's moments, the losses. shuffles.sh BUILD SOURCE SPEC SIMULATOR
source "$(dirname "$0")/../../e2e/common.sh"
spec=$3 seeds=20
export LORAC_CUDA_TOOLS=${LORAC_CUDA_TOOLS:-$build/cuda-tools}
code=0
(cd "$source" && "$lorac" compile "specs/$spec.toml" -o "$work/cuda" --target cuda) >"$work/stdout" 2>"$work/stderr" || code=$?
grep -q nvrtc "$work/stderr" && skip "$(head -1 "$work/stderr")"
[[ $code == 0 ]] || { cat "$work/stderr" >&2; fail "does not compile for cuda"; }

# results FOLDER: checksums of what a run leaves, without what it says of time.
results() {
  (cd "$1" && find . -name '*.safetensors' | sort | xargs sha256sum)
  metric loss "$1/metrics.jsonl"
}

for ((seed = 0; seed <= seeds; ++seed)); do
  LORAC_LIBCUDA=$4 PTXSIM_SEED=$seed PTXSIM_THREADS=$((1 + seed % 2)) expect 0 "$work/cuda/train" --steps 2 --out "$work/out" --overwrite
  results "$work/out" >"$work/results-$seed"
  [[ $(wc -l <"$work/results-$seed") -ge 4 ]] || { cat "$work/results-$seed" >&2; fail "a run left less than an adapter, a checkpoint and two losses"; }
  cmp -s "$work/results-0" "$work/results-$seed" || { diff "$work/results-0" "$work/results-$seed" >&2; fail "seed $seed has other results"; }
done
