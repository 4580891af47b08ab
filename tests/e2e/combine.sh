# combine.sh: one adapter from several, against those that PEFT made (tests/golden/merge), and what is refused.
source "$(dirname "$0")/common.sh"
golden=$source/tests/golden
helper() { python3 "$source/tests/e2e/combine.py" "$@"; }
in=$work/in
helper adapters "$golden" "$in"

combos=$(helper combos "$golden")
[[ $(wc -w <<<"$combos") == 12 ]] || fail "other combinations than 12: $combos"
for combo in $combos; do
  mapfile -t arguments < <(helper arguments "$golden" "$in" "$combo")
  expect 0 "$lorac" combine "${arguments[@]}" -o "$work/$combo"
  helper compare "$golden" "$in" "$combo" "$work/$combo" || fail "another adapter than PEFT's '$combo'"
  expect 0 "$lorac" verify "$work/$combo"
done

# Words may be joined by commas, and the first number may be negative either way.
expect 0 "$lorac" combine "$in/a4" "$in/d4" --weights -0.5,0.8 --method linear -o "$work/commas"
prints "commas: 4 modules, rank 4"
same "$work/commas/adapter_model.safetensors" "$work/m3_linear/adapter_model.safetensors"
# A rank beyond what the sum can have adds nothing.
expect 0 "$lorac" combine "$in/a4" "$in/c2" --method svd --weights 1 -1 --svd-rank 30 -o "$work/whole"
prints "whole: 4 modules, rank 6"
# Signs by their count; draws of a seed, the same each time.
expect 0 "$lorac" combine "$in/a4" "$in/d4" --method ties --weights 0.9 -0.4 --density 0.6 --majority-sign-method frequency -o "$work/count"
helper signs "$golden" "$in" "$work/count" || fail "other signs than the counts elect"
! cmp -s "$work/count/adapter_model.safetensors" "$work/m5_ties/adapter_model.safetensors" || fail "'frequency' elects as 'total' does"
dare() { expect 0 "$lorac" combine "$in/a4" "$in/d4" --density 0.5 "${@:2}" -o "$work/$1"; }
dare dare-a --method dare_linear --weights 1 0 --seed 7
dare dare-d --method dare_linear --weights 0 1 --seed 7
dare dare-ties --method dare_ties --weights 1 1 --seed 7
helper draws "$in" "$work/dare-a" "$work/dare-d" "$work/dare-ties" || fail "dare draws otherwise"
dare again --method dare_ties --weights 1 1 --seed 7
same "$work/again/adapter_model.safetensors" "$work/dare-ties/adapter_model.safetensors"
dare other-seed --method dare_ties --weights 1 1 --seed 8
! cmp -s "$work/other-seed/adapter_model.safetensors" "$work/dare-ties/adapter_model.safetensors" || fail "the seed changes nothing"
for method in dare_linear_svd magnitude_prune; do
  dare "$method" --method "$method" --weights 1 1
  prints "$method: 4 modules, rank 4"
done
# One adapter: scaled, whatever the method.
expect 0 "$lorac" combine "$in/b8" --method cat --weights 0.5 -o "$work/one"
says "note: there is one adapter"
same "$work/one/adapter_model.safetensors" "$work/m9_svd/adapter_model.safetensors"
# rsLoRA's scale is alpha / sqrt(r), and the sum's is 1.
cp -r "$in/a4" "$work/rs"
helper edit "$work/rs/adapter_config.json" use_rslora true
helper edit "$work/rs/adapter_config.json" lora_alpha 4
expect 0 "$lorac" combine "$work/rs" "$in/b8" "$in/c2" --method cat --weights 0.5 -0.7 1.2 -o "$work/rslora"
same "$work/rslora/adapter_model.safetensors" "$work/m0_cat/adapter_model.safetensors"
same "$work/rslora/adapter_config.json" "$work/m0_cat/adapter_config.json"
# Names of bases are words: they may differ, and that is said.
cp -r "$in/d4" "$work/named"
helper edit "$work/named/adapter_config.json" base_model_name_or_path '"m/one"'
expect 0 "$lorac" combine "$in/a4" "$work/named" --method linear --weights -0.5 0.8 -o "$work/one-name"
[[ ! -s $work/stderr ]] || fail "words about a base that only one adapter names"
helper edit "$work/rs/adapter_config.json" base_model_name_or_path '"m/other"'
expect 0 "$lorac" combine "$work/named" "$work/rs" --method linear --weights 1 1 -o "$work/two-names"
says "note: '$work/named' calls its base model 'm/one' and '$work/rs' 'm/other'"
# A module that one adapter lacks is the others' sum.
expect 0 "$lorac" combine "$in/a4" "$in/other" --method cat --weights 1 1 -o "$work/some"
prints "some: 12 modules, rank 7"

# What PEFT refuses.
refused() {
  local code=$1 words=$2
  shift 2
  expect "$code" "$lorac" combine "$@" -o "$work/none"
  says "$words"
  [[ ! -e $work/none ]] || fail "something was written"
}
for method in linear ties dare_ties dare_linear magnitude_prune; do
  density=(--density 0.5)
  [[ $method != linear ]] || density=()
  refused 3 "module 'model.layers.0.self_attn.q_proj': its rank is 4 in '$in/a4' and 8 in '$in/b8', and '$method' adds A to A" \
    "$in/a4" "$in/b8" --method "$method" --weights 0.5 0.5 "${density[@]}"
done
refused 2 "--density is missing" "$in/a4" "$in/d4" --method ties --weights 0.5 0.5
refused 2 "--method 'nonsense' is none of svd, linear, cat, ties" "$in/a4" "$in/d4" --method nonsense --weights 0.5 0.5
refused 1 "'$in/zz'" "$in/a4" "$in/zz" --method linear --weights 0.5 0.5
# And what it does not see.
refused 3 "the adapter '$golden/tiny/tied/dora_init' is DoRA's" "$golden/tiny/tied/lora_init" "$golden/tiny/tied/dora_init" --method linear --weights 1 1
refused 2 "--weights has 1 for 2 adapters" "$in/a4" "$in/d4" --method linear --weights 0.5
refused 2 "--weights must be finite" "$in/a4" "$in/d4" --method linear --weights 0.5 inf
refused 2 "--weights is missing" "$in/a4" "$in/d4" --method linear
refused 2 "ADAPTER is missing" --method linear --weights 1
refused 2 "--density must be above 0 and at most 1" "$in/a4" "$in/d4" --method ties --weights 1 1 --density 0
refused 2 "--density says nothing to 'linear'" "$in/a4" "$in/d4" --method linear --weights 1 1 --density 0.5
refused 2 "--svd-rank says nothing to 'ties'" "$in/a4" "$in/d4" --method ties --weights 1 1 --density 0.5 --svd-rank 2
refused 2 "--seed says nothing to 'ties_svd'" "$in/a4" "$in/d4" --method ties_svd --weights 1 1 --density 0.5 --seed 2
refused 2 "--majority-sign-method says nothing to 'svd'" "$in/a4" "$in/d4" --method svd --weights 1 1 --majority-sign-method total
refused 2 "did you mean 'ties_svd'?" "$in/a4" "$in/d4" --method tie_svd --weights 1 1 --density 0.5
helper narrow "$in/d4" "$work/narrow"
refused 5 "module 'model.layers.0.self_attn.v_proj' is [32, 64] in '$in/a4' and [32, 63] in '$work/narrow'" \
  "$in/a4" "$work/narrow" --method cat --weights 1 1
helper based "$in/a4" "$work/llama" '{"architecture": "llama", "rope_theta": "10000"}'
helper based "$in/d4" "$work/other" '{"architecture": "llama", "rope_theta": "500000"}'
refused 5 "adapters of different base models: 'rope_theta' was 10000 and is 500000" "$work/llama" "$work/other" --method linear --weights 1 1
# What is there stays.
mkdir "$work/mine"
echo mine >"$work/mine/file"
expect 2 "$lorac" combine "$in/a4" "$in/d4" --method linear --weights 1 1 -o "$work/mine"
says "is there already"
[[ $(cat "$work/mine/file") == mine && $(ls "$work/mine") == file ]] || fail "a folder of somebody else was touched"
expect 2 "$lorac" combine "$in/a4" "$in/d4" --method linear --weights 1 1 -o "$work/commas"
