#!/usr/bin/env bash
# build.sh BUILD [TARGET...]: configures once (CMake repeats it by itself when a list changes) and builds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$1
shift
log=$build/configure.log
mkdir -p "$build"
if [[ ! -f $build/build.ninja ]]; then
  if ! cmake -S . -B "$build" -G Ninja >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
  fi
fi
exec ninja -C "$build" "$@"
