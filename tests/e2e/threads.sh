# 1, 2 and 4 threads write the same adapter.
source "$(dirname "$0")/common.sh"
for spec in tiny_lora tiny_qlora; do
  compiled $spec "$work/$spec"
  for threads in 1 2 4; do
    expect 0 "$work/$spec/train" --threads $threads --out "$work/$spec-$threads"
    same "$work/$spec-1/adapter_model.safetensors" "$work/$spec-$threads/adapter_model.safetensors"
  done
done
