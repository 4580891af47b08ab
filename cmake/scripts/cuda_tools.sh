#!/usr/bin/env bash
# cuda_tools.sh DIR: NVRTC and nvdisasm from PyPI, pinned and checked, unpacked into DIR. Without a network says what is missing; the
# tests that need them are skipped then.
set -euo pipefail
dir=$1

# name, version, sha256 of the wheel for x86-64 Linux
wheels=(
  "nvidia-cuda-nvrtc 13.0.88 ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575"
  "nvidia-cuda-nvdisasm 13.5.37 d3fdbdd49fa53e2e4aacd3db8259d052bd2b049ececdcb69e92e083c6728e7ca"
)
mkdir -p "$dir"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for entry in "${wheels[@]}"; do
  read -r name version sha <<<"$entry"
  [[ -e $dir/$name-$version ]] && continue
  echo "cuda tools: fetching $name $version" >&2
  if ! pip download --quiet --no-deps --only-binary :all: -d "$work/$name" "$name==$version" >"$work/log" 2>&1; then
    echo "cuda tools: PyPI does not give $name $version; tests that need it are skipped" >&2
    tail -1 "$work/log" >&2
    continue
  fi
  wheel=$(echo "$work/$name"/*.whl)
  if ! echo "$sha  $wheel" | sha256sum --check --quiet --status; then
    echo "cuda tools: $name $version has another sha256 than the pinned one; it is not used" >&2
    exit 1
  fi
  unzip -oq "$wheel" -d "$dir"
  chmod -f +x "$dir"/nvidia/*/bin/* || true
  touch "$dir/$name-$version"
done
