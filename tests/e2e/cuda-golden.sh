# A tiny Llama of tests/golden trained by a GPU's program in the PTX simulator: its losses within
# 1 % of those that PyTorch made in float32, an adapter that serves on the CPU.
# cuda-golden.sh BUILD SOURCE MODEL KIND COMPUTE [SIMULATOR]: MODEL is tied or untied, KIND lora,
# loraplus, dora or qlora; or MODEL is kquants, KIND none or keep; or opt, KIND a run of tests/golden/opt; COMPUTE bf16 or f16;
# LORAC_LIBCUDA names another library.
source "$(dirname "$0")/common.sh"
model=$3 kind=$4 compute=$5
simulator=${LORAC_LIBCUDA:-${6:-}}
[[ -n $simulator ]] || skip "this build has no PTX simulator"
golden=$source/tests/golden
rate=0.005 decay=0.01 steps=20 format=none targets='"all-linear"'
base=$golden/tiny/$model data=$golden/tiny/train_data.safetensors
ofRun() { python3 "$source/tests/e2e/golden_opt.py" "$1" "$golden" "$kind"; }
case $model-$kind in
  kquants-*)
    base=$golden/arch/kquants/model.gguf data=$golden/arch/train_data.safetensors format=$kind steps=10
    made=$golden/arch/kquants/lora_train.json init=$golden/arch/kquants/lora_init targets='["q_proj", "v_proj", "down_proj"]'
    ;;
  opt-*) init=$golden/tiny/tied/lora_init ;;
  *-loraplus) rate=0.00125 ;;&
  *-qlora) made=$golden/qlora/$model/train.json init=$golden/qlora/$model/adapter_init format=nf4 ;;
  *) made=$golden/tiny/$model/${kind}_train.json init=$golden/tiny/$model/${kind}_init ;;
esac

if [[ $model == opt ]]; then
  ofRun spec | sed 's/^save_steps = 1$/save_steps = 0/'
else
  printf '[model]\nsource = "%s"\n' "$base"
  printf '[quantization]\nformat = "%s"\n' "$format"
  printf '[adapter]\nr = 4\nlora_alpha = 8\ntarget_modules = %s\n' "$targets"
  printf 'init_from = "%s"\n' "$init"
  [[ $kind != dora ]] || printf 'use_dora = true\n'
  [[ $kind != loraplus ]] || printf '[adapter.loraplus]\nloraplus_lr_ratio = 16\n'
  printf '[optimizer]\nlearning_rate = %s\nweight_decay = %s\nmax_grad_norm = 0.0\n' $rate $decay
  printf '[schedule]\nname = "constant"\nwarmup_steps = 0\n'
  printf '[[data]]\npath = "%s"\nformat = "tokens"\n' "$data"
  printf '[train]\nsteps = %s\nbatch_size = 2\nmax_length = 24\neval_steps = 0\nsave_steps = 0\n' $steps
  printf '[target]\ndevice = "cpu"\n'
fi >"$work/golden.toml"

cudaCompiled "$work/golden.toml" "$work/cuda" "$compute" --set "quantization.format=$format"
expect 0 "$lorac" compile "$work/golden.toml" -o "$work/cpu" --target cpu # float32

begin=$EPOCHREALTIME
LORAC_LIBCUDA=$simulator expect 0 "$work/cuda/train" --out "$work/out"
end=$EPOCHREALTIME
if [[ $model == opt ]]; then
  ofRun losses
else
  sed -n '/"losses": \[/,/\]/p' "$made" | grep -o '[0-9][0-9.e+-]*'
fi >"$work/expected"
metric loss "$work/out/metrics.jsonl" >"$work/losses"
paste "$work/expected" "$work/losses" | awk -v took="$begin $end" -v steps=$steps '
  NF == 2 { e = $2 / $1 - 1; if (e < 0) e = -e; if (e > worst) worst = e; if (e < 1e-2) ++good }
  END {
    split(took, at, " ")
    printf "%d steps in %.1f s; losses differ by at most %.2e\n", steps, at[2] - at[1], worst
    exit !(NR == steps && good == steps)
  }' || { paste "$work/expected" "$work/losses" >&2; fail "not the losses of float32 within 1 %"; }

# The adapter on the CPU: a loss within 0.1 % of the GPU's, below that of the adapter at the start.
evaluated() {
  expect 0 "$1/train" --eval --adapter "$2"
  sed -n 's/^loss \([0-9.]*\) over.*/\1/p' "$work/stdout"
}
before=$(evaluated "$work/cpu" "$init")
after=$(evaluated "$work/cpu" "$work/out")
onGpu=$(LORAC_LIBCUDA=$simulator evaluated "$work/cuda" "$work/out")
echo "loss of the data on the CPU: $before, then $after; on the GPU $onGpu"
less "$after" "$before" || fail "the adapter does no good on the CPU"
awk -v a="$after" -v b="$onGpu" 'BEGIN { d = b / a - 1; exit !(d < 1e-3 && d > -1e-3) }' ||
  fail "the two targets differ by more than 0.1 %"
