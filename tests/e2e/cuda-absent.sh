# A machine without a GPU, or without NVRTC: doctor and the training binary say what was looked for
# and what to do, end with their exit codes, and leave nothing behind.
# cuda-absent.sh BUILD SOURCE [SIMULATOR]
source "$(dirname "$0")/common.sh"
simulator=${LORAC_LIBCUDA:-${3:-}}
unset LORAC_LIBCUDA
cd "$source"

# doctor: a driver is not needed to be healthy.
finding() { grep -E "^$1 " "$work/stdout" || fail "doctor does not speak of '$1'"; }
LORAC_LIBCUDA=$work/none.so LORAC_NVRTC=$work/none.so expect 0 "$lorac" doctor
[[ $(finding "cuda driver") == *" absent "*"looked for '$work/none.so'"* ]] || fail "no driver"
[[ $(finding "cuda driver") == *"install NVIDIA's driver"* ]] || fail "a driver: what to do"
[[ $(finding nvrtc) == *" absent "*"looked for $work/none.so"*"LORAC_NVRTC"* ]] || fail "no NVRTC"
LORAC_LIBCUDA=$work/none.so expect 0 "$lorac" doctor --json
grep -A1 '"cuda driver"' "$work/stdout" | grep -q '"absent"' || fail "no driver in doctor --json"

# What is no library, and a library that is no driver.
echo text >"$work/text.so"
LORAC_LIBCUDA=$work/text.so expect 0 "$lorac" doctor
[[ $(finding "cuda driver") == *" absent "*"'$work/text.so'"* ]] || fail "a text as a driver"
LORAC_LIBCUDA=libm.so.6 expect 0 "$lorac" doctor
[[ $(finding "cuda driver") == *" absent "*"too old, or no driver"* ]] || fail "libm as a driver"
if [[ -n $simulator ]]; then
  LORAC_LIBCUDA=$simulator expect 0 "$lorac" doctor
  [[ $(finding "cuda driver") == *" ok "*"CUDA 13"*"ptxsim"* ]] || fail "the simulator is no GPU"
fi

# compile without NVRTC.
LORAC_NVRTC=$work/none.so expect 1 "$lorac" compile specs/tiny_lora.toml --target cuda -o "$work/no"
says "NVRTC is not on this machine; looked for $work/none.so"
[[ ! -e $work/no/train ]] || fail "a binary without kernels was written"

# The training binary, asked to train and asked to evaluate.
cudaCompiled specs/tiny_lora.toml "$work/cuda" bf16
for library in "$work/none.so" "$work/text.so" libm.so.6; do
  for arguments in "--out $work/out" --eval; do
    LORAC_LIBCUDA=$library expect 1 "$work/cuda/train" $arguments
    says "the program was compiled for a GPU"
    says "'$library'"
    says "install NVIDIA's driver"
    says "--target cpu"
    [[ $(grep -c "^error" "$work/stderr") == 1 ]] || fail "more than one error on an absent driver"
    [[ ! -e $work/out/adapter_model.safetensors ]] || fail "an adapter was written without a GPU"
  done
done
# Help needs no GPU.
LORAC_LIBCUDA=$work/none.so expect 0 "$work/cuda/train" --help

# device = "auto": the GPU that answers, where kernels are known for it; else the CPU.
automatic() {
  LORAC_LIBCUDA=$1 PTXSIM_CC=$2 expect 0 "$lorac" plan specs/tiny_lora.toml --set target.device=auto
}
automatic "$work/none.so" 80
prints "this machine gives"
if [[ -n $simulator ]]; then
  automatic "$simulator" 90
  says "compiling for sm_90"
  prints "of a GPU's memory in all"
  automatic "$simulator" 75
  says "no kernels are known"
  prints "this machine gives"
fi

# An architecture for the CPU is a contradiction; a spec for CUDA trains by `lorac train` as well.
expect 2 "$lorac" compile specs/tiny_lora.toml --arch sm_80 -o "$work/no"
says "add --target cuda"
expect 1 "$lorac" compile specs/tiny_lora.toml --set target.device=cuda --set 'target.arch=["sm_75"]' -o "$work/no"
says "no architecture is named 'sm_75'; known are sm_80"
LORAC_LIBCUDA=$work/none.so expect 1 "$lorac" train specs/tiny_lora.toml --set target.device=cuda \
  --generated "$work/trained"
says "install NVIDIA's driver"
