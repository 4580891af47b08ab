#!/usr/bin/env bash
# format.sh write|check: clang-format over the tracked C++ sources. Version 22, since others lay out some things otherwise.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tool=$(command -v clang-format-22 || true)
if [[ -z $tool ]]; then
  echo "format: clang-format-22 is not installed (Debian package clang-format-22)" >&2
  exit 1
fi
mapfile -t files < <(git ls-files -- '*.h' '*.cpp')
if [[ $1 == check ]]; then
  exec "$tool" --dry-run --Werror "${files[@]}"
fi
exec "$tool" -i "${files[@]}"
