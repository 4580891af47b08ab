# The README is true: its spec is the file, its op is in the dump, and its commands work as they stand.
source "$(dirname "$0")/common.sh"
readme=$source/README.md

diff <(sed -n '/^```toml$/,/^```$/p' "$readme" | sed '1d;$d') "$source/specs/smollm2_qlora.toml" ||
  fail "the README's spec is not specs/smollm2_qlora.toml"

mkdir "$work/clone"
cd "$work/clone"
ln -s "$build" build
ln -s "$source/specs" specs
ran=0
while read -r line; do
  command=${line%%#*}
  expect 0 bash -c "$command"
  ((++ran))
done < <(sed -n '/^```sh$/,/^```$/p' "$readme" | grep '^build/lorac')
((ran >= 8)) || fail "only $ran commands were found in the README"

# The op as it stands in the README, its line breaks taken out.
op=$(sed -n '/^```mlir$/,/^```$/p' "$readme" | sed '1d;$d' | tr '\n' ' ' | sed 's/  */ /g; s/ $//')
sed 's/  */ /g' generated/tiny_qlora/40-fused.mlir >"$work/dump"
grep -qF -- "$op" "$work/dump" || fail "the README's op is not in the dump: $op"
