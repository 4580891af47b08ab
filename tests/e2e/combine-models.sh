# combine-models.sh: one model from several, against those that mergekit made (tests/golden/merge), and what is refused.
# DARE with mergekit's own draws: Models.Dare of tests/unit/combine.
source "$(dirname "$0")/common.sh"
golden=$source/tests/golden
helper() { python3 "$source/tests/e2e/combine_models.py" "$@"; }
in=$work/in
helper models "$golden" "$in"

names=$(helper names "$golden")
[[ $(wc -w <<<"$names") == 11 ]] || fail "other sums than 11: $names"
for name in $names; do
  mapfile -t arguments < <(helper arguments "$golden" "$in" "$name")
  expect 0 "$lorac" combine "${arguments[@]}" -o "$work/$name"
  helper compare "$golden" "$in" "$name" "$work/$name" || fail "another model than mergekit's '$name'"
  expect 0 "$lorac" verify "$work/$name"
done

# It is a model, with the base's own files and none of its code.
for file in config.json tokenizer.json chat_template.jinja; do
  same "$in/base/$file" "$work/ties/$file"
done
[[ $(ls "$work/ties" | tr '\n' ' ') == "chat_template.jinja config.json manifest.json model.safetensors tokenizer.json " ]] || fail "other files: $(ls "$work/ties")"
printf '[model]\nsource = "%s"\n[[data]]\npath = "%s"\n[train]\nsteps = 2\nmax_length = 24\n' "$work/ties" "$golden/tiny/train_data.safetensors" >"$work/spec.toml"
expect 0 "$lorac" check "$work/spec.toml"

# DARE keeps the share that it is told, at the size of all, and draws the same for a seed.
dare() { expect 0 "$lorac" combine --models "$in/ft0" --base "$in/base" --method "$2" --weights 1 --density 0.5 --seed "$3" -o "$work/$1"; }
for method in dare_linear dare_ties; do
  dare "$method" "$method" 3
  helper dare "$in" "$work/$method" || fail "'$method' keeps something else"
done
dare again dare_linear 3
same "$work/again/model.safetensors" "$work/dare_linear/model.safetensors"
dare other-seed dare_linear 4
! cmp -s "$work/other-seed/model.safetensors" "$work/dare_linear/model.safetensors" || fail "the seed changes nothing"

# The base's types; shards are read.
helper bfloat16 "$in" "$work/bf16"
expect 0 "$lorac" combine --models "$in/ft0" --base "$work/bf16" --method linear --weights 1 -o "$work/halves"
helper rounded "$in" "$work/halves"
sharded=$golden/arch/qwen3_sharded
expect 0 "$lorac" combine --models "$sharded" "$golden/arch/qwen3" --method linear --weights 0.5,0.5 -o "$work/sharded"
helper equal "$work/sharded" "$golden/arch/qwen3"

refused() {
  local code=$1 words=$2
  shift 2
  expect "$code" "$lorac" combine "$@" -o "$work/none"
  says "$words"
  [[ ! -e $work/none ]] || fail "something was written"
}
refused 2 "--base is missing: 'ties'" --models "$in/ft0" "$in/ft1" --method ties --weights 1 1 --density 0.5
refused 2 "--models takes two" --models "$in/ft0" "$in/ft1" "$in/ft2" --method slerp --t 0.5
refused 2 "'slerp' needs --t" --models "$in/ft0" "$in/ft1" --method slerp
refused 2 "'slerp' needs --t" --models "$in/ft0" "$in/ft1" --method slerp --t 1.5
refused 2 "--weights says nothing to 'slerp'" --models "$in/ft0" "$in/ft1" --method slerp --t 0.5 --weights 1 1
refused 2 "--weights has 1 for 2 models" --models "$in/ft0" "$in/ft1" --method linear --weights 1
refused 2 "--density has 2 numbers; it takes one, or one for each of the 3" \
  --models "$in/ft0" "$in/ft1" "$in/ft2" --base "$in/base" --method ties --weights 1 1 1 --density 0.5 0.5
refused 2 "--weights have the sum 0" --models "$in/ft0" "$in/ft1" --method linear --weights 1 -1
refused 2 "--gamma must be at least 0 and below 1" --models "$in/ft0" --base "$in/base" --method breadcrumbs --weights 1 --density 0.5 --gamma 1
refused 2 "--svd-rank says nothing to 'linear'" --models "$in/ft0" --method linear --weights 1 --svd-rank 2
refused 2 "--method 'magnitude_prune' is none of linear, slerp" --models "$in/ft0" --method magnitude_prune --weights 1
refused 2 "name one kind" "$golden/tiny/tied/lora_init" --models "$in/ft0" --method linear --weights 1
refused 5 "architecture' was " --models "$in/ft0" "$golden/arch/qwen3" --method linear --weights 1 1
cp -r "$in/ft1" "$work/eps"
sed -i 's/1e-05/1e-06/' "$work/eps/config.json"
refused 5 "'rms_norm_eps' was 1e-05 and is 1e-06" --models "$in/ft0" "$work/eps" --method linear --weights 1 1
refused 3 "is a GGUF file" --models "$golden/arch/qwen3/model.gguf" --method linear --weights 1
helper poison "$in" "$work/nan"
refused 5 "'$work/nan': tensor 'model.layers.0.self_attn.k_proj.weight': it is nan at [1, 6]" \
  --models "$in/ft1" "$work/nan" --method linear --weights 1 1
[[ -z $(ls -d "$work"/none.tmp-* 2>/dev/null) ]] || fail "a folder aside is left"
# What is there stays.
before=$(cd "$in/base" && sha256sum *)
expect 2 "$lorac" combine --models "$in/ft0" --base "$in/base" --method linear --weights 1 -o "$in/base"
says "is there already"
[[ $(cd "$in/base" && sha256sum *) == "$before" ]] || fail "the base was touched"
