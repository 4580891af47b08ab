# A GPU's program in the PTX simulator: it learns as on the CPU, a run that was cut off ends in the same bytes, adapters serve on either
# target. Without a driver it says what was looked for. cuda.sh BUILD SOURCE SPEC [SIMULATOR]; LORAC_LIBCUDA names another library.
source "$(dirname "$0")/common.sh"
spec=$3
simulator=${LORAC_LIBCUDA:-${4:-}}
unset LORAC_LIBCUDA
code=0
(cd "$source" && "$lorac" compile "specs/$spec.toml" -o "$work/cuda" --target cuda) >"$work/stdout" 2>"$work/stderr" || code=$?
grep -q nvrtc "$work/stderr" && skip "$(head -1 "$work/stderr")"
[[ $code == 0 ]] || { cat "$work/stderr" >&2; fail "does not compile for cuda"; }
compiled "$spec" "$work/cpu" --target cpu

# No driver: words and an exit code, and nothing written.
LORAC_LIBCUDA=$work/none.so expect 1 "$work/cuda/train" --out "$work/refused"
says "no CUDA driver: looked for '$work/none.so'"
says "--target cpu"
[[ ! -e $work/refused/adapter_model.safetensors ]] || fail "an adapter was written without a GPU"
[[ -n $simulator ]] || skip "this build has no PTX simulator"
export LORAC_LIBCUDA=$simulator

for target in cpu cuda; do
  expect 0 "$work/$target/train" --out "$work/out-$target"
done
says "memory of the GPU"
paste <(metric loss "$work/out-cpu/metrics.jsonl") <(metric loss "$work/out-cuda/metrics.jsonl") >"$work/losses"
awk 'NF != 2 || ($1 - $2) ^ 2 > (0.01 * $1) ^ 2 { bad = 1 } END { exit bad || NR < 10 }' "$work/losses" ||
  { cat "$work/losses" >&2; fail "losses of the two targets differ by more than 1 %"; }
less "$(tail -1 "$work/losses" | cut -f2)" "$(head -1 "$work/losses" | cut -f2)" || fail "the loss did not fall"

# Each adapter on each target: within 0.1 % of one loss.
for adapter in cpu cuda; do
  for target in cpu cuda; do
    expect 0 "$work/$target/train" --eval --adapter "$work/out-$adapter"
    sed -n 's/^loss \([0-9.]*\) over.*/\1/p' "$work/stdout"
  done >"$work/evals"
  [[ $(wc -l <"$work/evals") == 2 ]] || fail "no loss in what --eval prints"
  awk 'NR == 1 { x = $1 } NR == 2 && (x - $1) ^ 2 > (0.001 * x) ^ 2 { exit 1 }' "$work/evals" ||
    { cat "$work/evals" >&2; fail "the adapter of $adapter differs between targets"; }
done

# Killed behind a checkpoint and resumed; a checkpoint of the other target is refused by name.
"$work/cuda/train" --out "$work/cut" >"$work/stdout" 2>"$work/stderr" </dev/null &
child=$!
for ((i = 0; i < 600; ++i)); do
  [[ -e $work/cut/checkpoint-10 ]] && break
  sleep 0.05
done
kill -KILL "$child" 2>/dev/null || true
wait "$child" 2>/dev/null || true
expect 0 "$work/cuda/train" --out "$work/cut" --resume
says "goes on from '$work/cut/checkpoint-"
same "$work/out-cuda/adapter_model.safetensors" "$work/cut/adapter_model.safetensors"
expect 3 "$work/cpu/train" --out "$work/cut" --resume
says "the target was cuda bf16 and is cpu"
