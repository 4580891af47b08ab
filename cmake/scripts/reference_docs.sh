#!/bin/sh
# Writes what of docs/ comes from lorac itself: the list of commands in docs/cli.md, and spec.md. reference_docs.sh LORAC
set -e
lorac=$1 docs=$(dirname "$0")/../../docs
rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
"$lorac" --list-commands >"$rows"
awk -v rows="$rows" '
  /^\| `/ && !behind { next }
  /^$/ && head { behind = 1 }
  { print }
  /^\|---/ && !behind { head = 1; while ((getline row < rows) > 0) print row }
' "$docs/cli.md" >"$rows.md"
mv "$rows.md" "$docs/cli.md"
"$lorac" schema --markdown >"$docs/spec.md"
