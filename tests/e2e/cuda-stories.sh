# A real model of 260,000 parameters (../shared/data/stories260k: 8 heads of 8, 172 columns) trained
# for 20 steps by a GPU's program in the PTX simulator: the loss falls, as on the CPU.
# cuda-stories.sh BUILD SOURCE [SIMULATOR]; LORAC_LIBCUDA names another library.
source "$(dirname "$0")/common.sh"
simulator=${LORAC_LIBCUDA:-${3:-}}
data=$source/../shared/data
[[ -n $simulator ]] || skip "this build has no PTX simulator"
[[ -d $data/stories260k && -e $data/corpora/tinyshakespeare.txt ]] || skip "no '$data'"

cat >"$work/stories.toml" <<END
[model]
source = "$data/stories260k"
[quantization]
format = "nf4"
[adapter]
r = 8
lora_alpha = 16
target_modules = "all-linear"
[optimizer]
learning_rate = 5e-3
[schedule]
name = "constant"
warmup_steps = 0
[[data]]
path = "$data/corpora/tinyshakespeare.txt"
format = "text"
overlong = "split"
[train]
steps = 20
batch_size = 2
max_length = 64
packing = true
eval_steps = 0
save_steps = 0
[target]
device = "cpu"
END
cudaCompiled "$work/stories.toml" "$work/cuda" bf16
expect 0 "$lorac" compile "$work/stories.toml" -o "$work/cpu"
LORAC_LIBCUDA=$simulator expect 0 "$work/cuda/train" --out "$work/out-cuda"
expect 0 "$work/cpu/train" --out "$work/out-cpu"
paste <(metric loss "$work/out-cpu/metrics.jsonl") <(metric loss "$work/out-cuda/metrics.jsonl") \
  >"$work/losses"
cat "$work/losses"
# Each batch is new text: means of five steps.
awk 'NF != 2 { exit 1 }
  { d = $2 / $1 - 1; if (d > 1e-2 || d < -1e-2) bad = 1; sum[int((NR - 1) / 5)] += $2 }
  END { exit bad || NR != 20 || sum[3] > 0.95 * sum[0] }' "$work/losses" ||
  fail "the loss did not fall by 5 %, or is not that of the CPU within 1 %"
