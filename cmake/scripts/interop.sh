#!/usr/bin/env bash
# interop.sh BUILD: adapters trained here, in PEFT and in llama.cpp. Both are installed into BUILD/interop, which may be
# deleted at any time; the first run takes a while (llama-cpp-python is compiled).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$(realpath "$1")
venv=$build/interop/venv
packages=(torch==2.15.0 transformers==5.23.0 peft==0.21.2 safetensors==0.8.0 gguf==0.19.0 bitsandbytes==0.50.2 llama-cpp-python)

if [[ ! -f $venv/complete ]]; then
  echo "installing ${packages[*]} into $venv" >&2
  python3 -m venv "$venv"
  CMAKE_BUILD_PARALLEL_LEVEL=${JOBS:-2} "$venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}"
  touch "$venv/complete"
fi
bash cmake/scripts/fetch-smollm2.sh models
bash cmake/scripts/make-fortunes.sh models/fortunes.txt
work=$(mktemp -d "$build/interop/run.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/peft" "$work/llama"
"$venv/bin/python" tests/interop/peft_logits.py "$build/lorac" . "$work/peft"
"$venv/bin/python" tests/interop/llama_text.py "$build/lorac" . "$work/llama"
echo "interop: PEFT's logits and llama.cpp's text are lorac's"
