# A file of another kind than the one that is wanted is called by its name, with what to do; a number that is not finite is
# found wherever it stands; links of the Hugging Face cache are followed and others are not; an export looks at shapes.
source "$(dirname "$0")/common.sh"
command -v python3 >/dev/null || skip "python3 is absent"
golden=$source/tests/golden/tiny/untied
foreign() { python3 "$source/tests/e2e/foreign.py" "$@"; }
cd "$source"
compiled tiny_lora "$work/generated" --set "model.source=\"$golden\"" --set 'model.shape={}'
train=$work/generated/train
expect 0 "$train" --eval --samples 2
cp "$work/stdout" "$work/losses"

model() {
  rm -rf "$work/model"
  mkdir "$work/model"
  cp "$golden"/{config.json,model.safetensors} "$work/model/"
}
# bytes KIND FILE
bytes() {
  case $1 in
  lfs) printf 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2\nsize 12345\n' ;;
  html) printf '<!DOCTYPE html>\n<html><head><title>Log in</title></head></html>' ;;
  xml) printf '<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>' ;;
  zip) printf 'PK\003\004\024\000\000\000\010\010archive/data.pkl' ;;
  pickle) printf '\200\002}q\000(X\004\000\000\000' ;;
  gzip) printf '\037\213\010\000\000\000\000\000' ;;
  xz) printf '\3757zXZ\000\000\004' ;;
  bzip2) printf 'BZh91AY&SY' ;;
  zstd) printf '\050\265\057\375\004\000' ;;
  7z) printf '7z\274\257\047\034\000\004' ;;
  hdf5) printf '\211HDF\r\n\032\n' ;;
  utf16) printf '\377\376{\000"\000' ;;
  json) printf '{"error": "Repository not found"}' ;;
  empty) ;;
  esac >"$2"
}
declare -A words=([lfs]="is a git-lfs pointer and not the file itself: run 'git lfs pull'" [html]="is a web page and not the file itself"
  [xml]="is a web page" [zip]="is a zip file, as torch.save writes it" [pickle]="is a pickle, which can run code and is not read"
  [gzip]="is compressed by gzip" [xz]="is compressed by xz" [bzip2]="is compressed by bzip2" [zstd]="is compressed by zstd"
  [7z]="is an archive of 7-Zip" [hdf5]="is an HDF5 file" [utf16]="is text in UTF-16" [json]="is JSON text" [empty]="is empty")

# --- kinds, wherever a file is read
mkdir "$work/adapter" "$work/tokenizer"
cp "$golden/lora_final/adapter_config.json" "$work/adapter/"
for kind in "${!words[@]}"; do
  model
  bytes "$kind" "$work/model/model.safetensors"
  expect 5 "$train" --eval --model "$work/model"
  says "'$work/model/model.safetensors' ${words[$kind]}"
  bytes "$kind" "$work/model.gguf"
  expect 5 "$train" --eval --model "$work/model.gguf"
  says "'$work/model.gguf' ${words[$kind]}"
  bytes "$kind" "$work/adapter/adapter_model.safetensors"
  expect 5 "$train" --eval --adapter "$work/adapter"
  says "'$work/adapter/adapter_model.safetensors' ${words[$kind]}"
  [[ $kind == json ]] && continue
  model
  bytes "$kind" "$work/model/config.json"
  expect 5 "$train" --eval --model "$work/model"
  says "'$work/model/config.json' ${words[$kind]}"
  bytes "$kind" "$work/tokenizer/tokenizer.json"
  expect 5 "$lorac" tokenize --model "$work/tokenizer"
  says "tokenizer.json' ${words[$kind]}"
done

# --- one of lorac's own kinds in another's place
model
foreign gguf "$golden" "$work/model.gguf"
cp "$work/model.gguf" "$work/model/model.safetensors"
expect 5 "$train" --eval --model "$work/model"
says "model.safetensors' is a GGUF file"
cp "$golden/model.safetensors" "$work/wrong.gguf"
expect 5 "$train" --eval --model "$work/wrong.gguf"
says "wrong.gguf' is a safetensors file"
expect 0 "$lorac" export "$golden/lora_final" --format gguf --model "$golden" -o "$work/adapter.gguf"
expect 5 "$train" --eval --adapter "$work/adapter.gguf"
says "'$work/adapter.gguf' is a GGUF adapter; an adapter is read from PEFT's folder: lorac export $work/adapter.gguf --format peft"
expect 5 "$train" --eval --adapter "$work/model.gguf"
says "'$work/model.gguf' is a GGUF model, not an adapter"
expect 5 "$train" --eval --model "$work/adapter.gguf"
says "holds an adapter, not a model"
expect 5 "$lorac" export "$work/model.gguf" --format peft --model "$golden" -o "$work/none"
says "is a GGUF model, not an adapter"
expect 5 "$train" --eval --adapter "$golden"
says "'$golden' holds a model (config.json), not an adapter"
expect 5 "$train" --eval --adapter "$golden/model.safetensors"
says "holds the weights of a model, not an adapter"
expect 5 "$train" --eval --model "$golden/lora_final"
says "holds an adapter (adapter_config.json), not a model"
foreign gguf "$golden" "$work/big-00001-of-00003.gguf" split.count=u:3 split.no=u:0
expect 5 "$train" --eval --model "$work/big-00001-of-00003.gguf"
says "is part 1 of a model that is split into 3 files: big-00001-of-00003.gguf, big-00002-of-00003.gguf, big-00003-of-00003.gguf"
says "llama-gguf-split --merge $work/big-00001-of-00003.gguf"
[[ $(wc -l <"$work/stderr") -le 2 ]] || fail "more than one complaint of a part"

# --- cut short
size=$(stat -c %s "$golden/model.safetensors")
for left in 5 100 $((size / 2)) $((size - 1)); do
  model
  head -c "$left" "$golden/model.safetensors" >"$work/model/model.safetensors"
  expect 5 "$train" --eval --model "$work/model"
  says "model.safetensors'"
  ((left < 100)) || says "cut short, as a download that stopped"
done
head -c 300000 "$work/model.gguf" >"$work/cut.gguf"
expect 5 "$train" --eval --model "$work/cut.gguf"
says "the file was cut short"

# --- numbers
for value in nan inf -inf; do
  for tensor in model.layers.1.mlp.up_proj.weight model.norm.weight model.embed_tokens.weight; do
    model
    foreign value "$golden/model.safetensors" "$work/model/model.safetensors" "$tensor" 63 "$value"
    for command in "--eval" "--generate --prompt a" "--out $work/none"; do
      # shellcheck disable=SC2086
      expect 5 "$train" $command --model "$work/model"
      says "model '$work/model': weight '$tensor': it is $value at [$([[ $tensor == model.norm.weight ]] || echo "0, ")63]"
    done
  done
  foreign value "$golden/lora_final/adapter_model.safetensors" "$work/adapter/adapter_model.safetensors" \
    base_model.model.model.layers.0.mlp.up_proj.lora_B.weight 7 "$value"
  expect 5 "$train" --eval --adapter "$work/adapter"
  says "tensor 'base_model.model.model.layers.0.mlp.up_proj.lora_B.weight' is $value at [1, 3]"
  expect 5 "$lorac" export "$work/adapter" --format gguf --model "$golden" -o "$work/none.gguf"
  says "is $value at [1, 3]"
done
[[ ! -e $work/none/adapter_model.safetensors && ! -e $work/none.gguf ]] || fail "something came of NaN"
compiled tiny_qlora "$work/nf4" --set "model.source=\"$golden\"" --set 'model.shape={}'
model
foreign value "$golden/model.safetensors" "$work/model/model.safetensors" model.layers.1.mlp.up_proj.weight 130 nan
expect 5 "$work/nf4/train" --eval --model "$work/model"
says "weight 'model.layers.1.mlp.up_proj.weight': it is nan at [2, 2]"
foreign gguf "$work/model" "$work/nan.gguf"
expect 5 "$train" --eval --model "$work/nan.gguf"
says "it is nan at [2, 2]"

# --- export looks at shapes and modules
foreign shape "$golden/lora_final/adapter_model.safetensors" "$work/adapter/adapter_model.safetensors"
for format in gguf peft; do
  expect 5 "$lorac" export "$work/adapter" --format $format --model "$golden" -o "$work/wide"
  says "'model.layers.0.mlp.down_proj' has lora_A [4, 352] and lora_B [128, 4], but its weight in the base is [64, 176]"
  [[ ! -e $work/wide ]] || fail "an adapter that does not fit was exported"
done
sed 's/layers\.1\./layers.7./g' "$golden/lora_final/adapter_model.safetensors" >"$work/adapter/adapter_model.safetensors"
for format in gguf peft peft-adalora; do
  expect 5 "$lorac" export "$work/adapter" --format $format --model "$work/model.gguf" -o "$work/wide"
  says "the base has no linear layer 'model.layers.7."
  [[ ! -e $work/wide ]] || fail "an adapter that does not fit was exported"
done

# --- the Hugging Face cache: shards, index, config and tokenizer are links into the model's own blobs
cache=$work/hub/models--tiny--llama
commit=29b5a0e7e92f20cd9b79feda2cc1945118c00732
mkdir -p "$cache/blobs" "$cache/refs" "$cache/snapshots/$commit"
printf '%s' $commit >"$cache/refs/main"
foreign shards "$golden/model.safetensors" "$cache/blobs" 2
blob() { # NAME FILE
  local name
  name=$(sha256sum "$2" | cut -c1-40)
  [[ $2 -ef $cache/blobs/$name ]] || mv "$2" "$cache/blobs/$name"
  ln -s "../../blobs/$name" "$cache/snapshots/$commit/$1"
}
for file in model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json; do
  blob "$file" "$cache/blobs/$file"
done
cp "$golden/config.json" "$work/config.json"
blob config.json "$work/config.json"
cp "$source/tests/golden/tokenizer/bytelevel.tokenizer.json" "$work/tokenizer.json"
blob tokenizer.json "$work/tokenizer.json"
expect 0 "$train" --eval --samples 2 --model "$cache/snapshots/$commit"
same "$work/stdout" "$work/losses"
ln -s "$cache/snapshots/$commit" "$work/linked"
expect 0 "$train" --eval --samples 2 --model "$work/linked"
same "$work/stdout" "$work/losses"
expect 0 "$lorac" check specs/tiny_lora.toml --set "model.source=\"$work/linked\"" --set 'model.shape={}'
expect 0 "$lorac" tokenize --model "$work/linked"
expect 1 "$train" --eval --samples 2 --model "$cache"
says "the model in it is '$cache/snapshots/$commit'"
# A link that leaves the cache, or one outside of any cache, is refused as before.
mv "$(realpath "$cache/snapshots/$commit/model-00001-of-00002.safetensors")" "$work/outside.safetensors"
ln -sf "$work/outside.safetensors" "$cache/snapshots/$commit/model-00001-of-00002.safetensors"
expect 5 "$train" --eval --samples 2 --model "$cache/snapshots/$commit"
says "model-00001-of-00002.safetensors' is a link"
mkdir "$cache/blobs/deeper"
mv "$work/outside.safetensors" "$cache/blobs/deeper/"
ln -sf "../../blobs/deeper/outside.safetensors" "$cache/snapshots/$commit/model-00001-of-00002.safetensors"
expect 5 "$train" --eval --samples 2 --model "$cache/snapshots/$commit"
says "is a link"
mkdir -p "$work/elsewhere/snapshots/x" "$work/elsewhere/blobs"
mv "$cache/blobs/deeper/outside.safetensors" "$work/elsewhere/blobs/a"
cp -L "$cache/snapshots/$commit/"{config.json,model.safetensors.index.json,model-00002-of-00002.safetensors} "$work/elsewhere/snapshots/x/"
ln -s ../../blobs/a "$work/elsewhere/snapshots/x/model-00001-of-00002.safetensors"
expect 5 "$train" --eval --samples 2 --model "$work/elsewhere/snapshots/x"
says "is a link"
# A single file that the user's folder names may be a link to anywhere.
model
mv "$work/model/model.safetensors" "$work/weights"
ln -s "$work/weights" "$work/model/model.safetensors"
expect 0 "$train" --eval --samples 2 --model "$work/model"
same "$work/stdout" "$work/losses"

# --- without an architectures folder lorac's own are taken for what they describe, and for nothing else
mkdir -p "$work/bare/bin"
cp "$lorac" "$build/lorac-train" "$work/bare/bin/"
foreign gguf "$golden" "$work/gemma.gguf" --architecture gemma
sed -e '/^shape/d' -e '/^architecture/d' -e "s|^\[model\]|[model]\nsource = \"$work/gemma.gguf\"|" \
  -e "s|path = \"data|path = \"$source/specs/data|" specs/tiny_lora.toml >"$work/bare/gemma.toml"
sed "s|gemma.gguf|model.gguf|" "$work/bare/gemma.toml" >"$work/bare/llama.toml"
cd "$work/bare"
expect 0 bin/lorac check llama.toml
expect 5 bin/lorac check gemma.toml
says "the model is of type 'gemma', which no architecture describes"
says "described: gemma2, "
