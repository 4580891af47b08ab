# A CUDA kernel counts the elements of a buffer with 32 bits: what has 2^31 or more is refused before
# any kernel is compiled, with the numbers and what would fit.
# cuda-index.sh BUILD SOURCE
source "$(dirname "$0")/common.sh"

# spec HIDDEN INTERMEDIATE VOCAB: one layer of that shape.
spec() {
  cat >"$work/wide.toml" <<END
[model]
architecture = "llama"
shape = { layers = 1, hidden_size = $1, intermediate_size = $2, n_heads = 4, n_kv_heads = 4, head_dim = 64, vocab_size = $3, rms_norm_eps = 1e-5, rope_theta = 500000.0, max_position_embeddings = 1048576 }

[adapter]
method = "lora"
r = 16
lora_alpha = 32
target_modules = "all-linear"

[optimizer]
learning_rate = 2e-4

[[data]]
name = "tokens"
path = "$source/specs/data/tiny_tokens.safetensors"
format = "tokens"

[train]
output_dir = "$work/out"
steps = 1
batch_size = 1
max_length = 256

[target]
device = "cuda"
END
}
# sized BATCH LENGTH: flags of a batch of that size.
sized() { echo "--set train.batch_size=$1 --set train.max_length=$2"; }

# 28,672 columns: the last token that fits, the first that does not; a batch counts as its product.
spec 256 28672 512
for tokens in "1 74898" "2 37449"; do
  expect 0 "$lorac" plan "$work/wide.toml" $(sized $tokens)
done
for tokens in "1 74899" "11 6809" "2 37450" "100 1024"; do
  expect 4 "$lorac" plan "$work/wide.toml" $(sized $tokens)
  says "--set train.max_length="
  says "28,672 columns"
  says "elements, and a CUDA kernel counts to 2,147,483,647"
  says "at most 74,898 tokens fit"
done
expect 4 "$lorac" plan "$work/wide.toml" $(sized 11 6809)
says "batch_size 11 x max_length 6809 is 74,899 tokens"
says "2,147,504,128 elements"
says "batch_size 10 at this length, max_length 6808 at this batch_size"
[[ $(grep -c error: "$work/stderr") == 1 ]] || fail "more than one error"
# A value of the file is pointed at.
sed 's/max_length = 256/max_length = 74899/' "$work/wide.toml" >"$work/long.toml"
expect 4 "$lorac" plan "$work/long.toml"
says "$work/long.toml:$(grep -n max_length "$work/long.toml" | cut -d: -f1):"
# compile and train say it too, and write nothing; the CPU counts with 64 bits.
for command in compile train; do
  flag=-o
  [[ $command == train ]] && flag=--generated
  expect 4 "$lorac" $command "$work/wide.toml" $(sized 1 74899) $flag "$work/generated"
  says "at most 74,898 tokens fit"
  [[ ! -e $work/generated && ! -e $work/out ]] || fail "$command: something was written"
done
code=0
"$lorac" plan "$work/wide.toml" $(sized 1 74899) --set target.device=cpu >/dev/null 2>"$work/stderr" || code=$?
! grep -q "CUDA kernel counts" "$work/stderr" || fail "the CPU is held to 32 bits"
[[ $code == 0 || $code == 4 ]] || fail "plan for the CPU: $code"

# Other widths: 14,336 as in Llama-3-8B.
spec 256 14336 512
expect 0 "$lorac" plan "$work/wide.toml" $(sized 1 149796)
expect 4 "$lorac" plan "$work/wide.toml" $(sized 1 149797)
says "at most 149,796 tokens fit"
expect 4 "$lorac" plan "$work/wide.toml" $(sized 20 8192)

# A weight whose padded rows and columns reach 2^31: no setting helps.
for vocabulary in 262144 262143 262100; do
  spec 8192 512 $vocabulary
  expect 4 "$lorac" plan "$work/wide.toml"
  says "262,144 rows of 8,192 columns, padding included: 2,147,483,648 elements"
  says "train this model on the CPU"
done
spec 8192 512 262016
expect 0 "$lorac" plan "$work/wide.toml"
