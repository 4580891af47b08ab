# cuda-adalora.sh BUILD SOURCE LIBCUDA [OPTIMIZER]: ranks fall on a GPU too: NVRTC in the child, a smaller program swapped in, close to the
# CPU's run. OPTIMIZER is one with states of 8 bits, which q_proj's A and B then have; those of v_proj's B and of E stay float32.
source "$(dirname "$0")/common.sh"
cd "$source"
# Few modules: each rank that a program has costs kernels.
changes=(--set 'adapter.target_modules=["q_proj", "v_proj"]' --set train.steps=24 --set adapter.adalora.tinit=2 --set adapter.adalora.tfinal=11 --set adapter.adalora.deltaT=5)
[[ -z ${4:-} ]] || changes+=(--set "optimizer.name=$4" --set optimizer.min_8bit_size=500)
cudaCompiled specs/tiny_adalora.toml "$work/cuda" auto "${changes[@]}"
compiled tiny_adalora "$work/cpu" "${changes[@]}"
expect 0 "$work/cpu/train" --out "$work/on-cpu" --lorac "$lorac"

export LORAC_LIBCUDA=$3 LORAC_CACHE_DIR=$build/cuda-cache
rm -rf "$build/cuda-cache/programs" # so that a child builds them
expect 0 "$work/cuda/train" --out "$work/on-gpu" --lorac "$lorac"
says "a new program is built, for step 14"
mapfile -t programs < <(metric program_ranks "$work/on-gpu/metrics.jsonl")
((${#programs[@]} == 2 && programs[1] < programs[0] && programs[0] < 96)) || fail "programs of ${programs[*]} ranks"
mapfile -t planned < <(metric planned_bytes "$work/on-gpu/metrics.jsonl")
((planned[${#planned[@]} - 1] < planned[0])) || fail "the plan did not shrink: ${planned[*]}"
! grep -q '"failure"' "$work/on-gpu/manifest.json" || fail "a program failed"
# Activations have 16 bits there.
paste <(metric loss "$work/on-cpu/metrics.jsonl") <(metric loss "$work/on-gpu/metrics.jsonl") |
  awk '{ d = $1 / $2 - 1; if (d < -5e-3 || d > 5e-3) { print "step " NR ": " $1 " against " $2; exit 1 } n++ } END { exit n != 24 }' ||
  fail "the losses are not the CPU's"
# A resumed run builds its checkpoint's program first, and ends in the same bytes.
rm -rf "$work/on-gpu/checkpoint-24"
cp "$work/on-gpu/adapter_model.safetensors" "$work/first"
expect 0 "$work/cuda/train" --out "$work/on-gpu" --lorac "$lorac" --resume
same "$work/on-gpu/adapter_model.safetensors" "$work/first"
