# lorac schema: a JSON Schema that fits the specs and refuses what lorac refuses; docs/spec.md is made from the same declarations.
source "$(dirname "$0")/common.sh"
expect 0 "$lorac" schema --markdown
diff "$source/docs/spec.md" "$work/stdout" || fail "docs/spec.md is not fresh: ninja -C build reference-docs"
expect 0 python3 "$source/tests/e2e/schema.py" "$lorac" "$source"
cat "$work/stdout"
