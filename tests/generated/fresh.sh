#!/usr/bin/env bash
# The committed dumps of a tiny spec are those that lorac writes today: tests/generated/fresh.sh LORAC SPEC.
# To renew them: make generated
set -euo pipefail
lorac=$1 spec=$2
name=$(basename "$spec" .toml)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
LORAC_CACHE_DIR=$(realpath "$(dirname "$lorac")")/test-cache # kernels in common with other tests
export LORAC_CACHE_DIR
cd "$(dirname "$0")/../.."
"$lorac" compile "specs/$name.toml" --cpu x86-64-v3 -o "$out/$name" >"$out/log" 2>&1 || { cat "$out/log"; exit 1; }
status=0
for file in generated/"$name"/*; do
  case $file in *.mlir|*.md) ;; *) continue ;; esac
  if ! cmp -s "$file" "$out/$name/$(basename "$file")"; then
    echo "$file is not what lorac writes now; \`make generated\` renews it" >&2
    diff "$file" "$out/$name/$(basename "$file")" | head -20 >&2 || true
    status=1
  fi
done
# Who cloned the project can compile there: the committed manifest lists the committed dumps.
mkdir "$out/again"
for file in generated/"$name"/*.{mlir,md} generated/"$name"/manifest.json; do
  cp "$file" "$out/again/"
done
"$lorac" compile "specs/$name.toml" --cpu x86-64-v3 -o "$out/again" >"$out/log" 2>&1 || { cat "$out/log"; status=1; }
test -e "generated/$name/40-fused.mlir" || { echo "generated/$name is missing; run \`make generated\`" >&2; status=1; }
exit $status
