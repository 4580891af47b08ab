# SmolLM2-135M, one forward of 32 tokens by a GPU's program in the PTX simulator: loss and logits
# beside those of the CPU target. Skipped where the model is absent (`make demo` obtains it).
# cuda-smollm2.sh BUILD SOURCE FORMAT COMPUTE TOLERANCE [SIMULATOR]: FORMAT of the base is keep or
# nf4, TOLERANCE that of logits by root mean squares. LORAC_LIBCUDA names another library.
source "$(dirname "$0")/common.sh"
format=$3 compute=$4 tolerance=$5
simulator=${LORAC_LIBCUDA:-${6:-}}
model=${LORAC_SMOLLM2:-$source/models/SmolLM2-135M-Instruct.Q4_1.gguf}
[[ -n $simulator ]] || skip "this build has no PTX simulator"
[[ -e $model ]] || skip "no '$model'"

sed -n '0,/"text": /s/.*"text": "\(.*\)",$/\1/p' "$source/tests/golden/smollm2/reference.json" |
  tr -d '\n' >"$work/prompt.txt"
cat >"$work/smollm2.toml" <<END
[model]
source = "$model"
[quantization]
format = "$format"
[adapter]
r = 8
lora_alpha = 16
target_modules = ["q_proj", "v_proj"]
init_from = "$source/tests/golden/smollm2/adapter_init"
[optimizer]
learning_rate = 2e-4
[[data]]
path = "prompt.txt"
format = "text"
[train]
steps = 1
batch_size = 1
max_length = 33
eval_steps = 0
save_steps = 0
[target]
device = "cpu"
END
cudaCompiled "$work/smollm2.toml" "$work/cuda" "$compute"
expect 0 "$lorac" compile "$work/smollm2.toml" -o "$work/cpu"
evaluated() {
  expect 0 "$work/$1/train" --eval --logits "$work/$1.safetensors" \
    --adapter "$source/tests/golden/smollm2/adapter_init"
  prints "over 32 labels of 1 samples"
  sed -n 's/^loss \([0-9.]*\) over.*/\1/p' "$work/stdout"
}
cpu=$(evaluated cpu)
begin=$EPOCHREALTIME
cuda=$(LORAC_LIBCUDA=$simulator evaluated cuda)
awk -v at="$EPOCHREALTIME $begin" 'BEGIN { split(at, t, " "); printf "%.0f s\n", t[1] - t[2] }'
echo "loss: $cpu on the CPU, $cuda on the GPU"
awk -v a="$cpu" -v b="$cuda" 'BEGIN { d = b / a - 1; exit !(d < 1e-2 && d > -1e-2) }' ||
  fail "the losses differ by more than 1 %"

python3 - "$work/cpu.safetensors" "$work/cuda.safetensors" "$tolerance" <<'END' ||
import array, json, math, struct, sys

def logits(path):
    data = open(path, "rb").read()
    size, = struct.unpack_from("<Q", data)
    tensor = json.loads(data[8:8 + size])["logits.0"]
    begin, end = (8 + size + offset for offset in tensor["data_offsets"])
    return array.array("f", data[begin:end]), tensor["shape"]

(x, shape), (y, other) = logits(sys.argv[1]), logits(sys.argv[2])
rows, vocab = shape
assert shape == other and len(x) == len(y) == rows * vocab
error = math.sqrt(sum((a - b) ** 2 for a, b in zip(x, y)) / sum(a * a for a in x))
first = [r.index(max(r)) == s.index(max(s)) for i in range(0, len(x), vocab)
         for r, s in [(x[i:i + vocab], y[i:i + vocab])]]
worst = max(abs(a - b) for a, b in zip(x, y)) / max(map(abs, x))
print(f"logits differ by {error:.1e}, at most by {worst:.1e} of the largest; "
      f"the likeliest token is the same in {sum(first)} of {rows} rows")
sys.exit(error > float(sys.argv[3]) or sum(first) < rows - 3)
END
  fail "not the logits of the CPU"
