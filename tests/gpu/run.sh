#!/usr/bin/env bash
# run.sh BUILD [OUT]: what only a GPU can settle about the CUDA target: the numeric tests on the hardware, training beside the CPU target,
# how tensor cores round, what each kernel costs. Everything goes on after a failure; the last line counts them. Wants the tests built
# (`make build`), NVIDIA's driver, NVRTC, and cuBLAS for its column. LORAC_LIBCUDA names another driver.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source=$(cd "$here/../.." && pwd)
build=$(cd "$1" && pwd)
out=${2:-$build/gpu}
simulator=$build/tests/ptxsim/lib/libcuda.so.1
export LORAC_LIBCUDA=${LORAC_LIBCUDA:-libcuda.so.1} LORAC_CUDA_TOOLS=${LORAC_CUDA_TOOLS:-$build/cuda-tools}
mkdir -p "$out"
failed=0

step() {
  local name=$1
  shift
  local begin=$SECONDS
  if timeout 300 "$@" >"$out/$name.txt" 2>&1; then
    echo "== $name: ok, $((SECONDS - begin)) s"
  else
    echo "== $name: FAILED (exit $?), $((SECONDS - begin)) s; the end of $out/$name.txt:"
    tail -25 "$out/$name.txt"
    failed=$((failed + 1))
  fi
}

step doctor "$build/lorac" doctor
step ops "$build/CudaOneOpTest" --gtest_brief=1
step steps "$build/CudaStepTest" --gtest_brief=1
step triplets "$build/CudaTripletsTest" --gtest_brief=1
step adalora "$build/CudaAdaLoraTest"
hopper=$(grep -c sm_90 "$out/doctor.txt")
if ((hopper)); then # linears by warpgroups, in blocks of each size
  for multiprocessors in 132 6 2 1; do
    step "warpgroups-$multiprocessors" env LORAC_TEST_ARCH=sm_90a LORAC_TEST_MULTIPROCESSORS=$multiprocessors \
      "$build/CudaOneOpTest" --gtest_brief=1 '--gtest_filter=*Linear*:*Epilogues*:*Product*:*OfOneX*:*GateAndUp*'
  done
fi
step rounding python3 "$here/mma_rounding.py" "$simulator" "$LORAC_LIBCUDA"
cat "$out/rounding.txt"
for spec in tiny_lora tiny_qlora; do
  step "$spec" bash "$source/tests/e2e/cuda.sh" "$build" "$source" "$spec" "$LORAC_LIBCUDA"
done
for model in tied untied; do
  for kind in lora loraplus qlora; do
    step "golden-$model-$kind" bash "$source/tests/e2e/cuda-golden.sh" "$build" "$source" $model $kind bf16 "$LORAC_LIBCUDA"
  done
done
for kind in lora qlora; do
  step "golden-tied-$kind-f16" bash "$source/tests/e2e/cuda-golden.sh" "$build" "$source" tied $kind f16 "$LORAC_LIBCUDA"
done
step roofline python3 "$here/roofline.py" "$build" "$LORAC_LIBCUDA"
cat "$out/roofline.txt"
if ((hopper)); then
  step roofline-sm_90a python3 "$here/roofline.py" "$build" "$LORAC_LIBCUDA" "$here/llama3_8b_slice.toml" sm_90a
  cat "$out/roofline-sm_90a.txt"
fi
for method in lora qlora; do
  python3 "$here/peft_step.py" $method 2>/dev/null | tail -1
done
echo "$failed failed"
exit $((failed > 0))
