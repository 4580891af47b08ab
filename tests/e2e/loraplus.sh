# LoRA+ at ratio 1 is LoRA, bit for bit; at another ratio it is not.
source "$(dirname "$0")/common.sh"
compiled tiny_lora "$work/lora"
compiled tiny_lora "$work/one" --set adapter.loraplus.loraplus_lr_ratio=1
compiled tiny_lora "$work/four" --set adapter.loraplus.loraplus_lr_ratio=4
for run in lora one four; do expect 0 "$work/$run/train" --out "$work/out-$run"; done
same "$work/out-lora/adapter_model.safetensors" "$work/out-one/adapter_model.safetensors"
! cmp -s "$work/out-lora/adapter_model.safetensors" "$work/out-four/adapter_model.safetensors" ||
  fail "a ratio of 4 changes nothing"
