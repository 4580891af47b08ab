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

# The op as it stands in the README, its line breaks taken out and the numbers of its values left open.
plain() { tr '\n' ' ' | sed -E 's/%[0-9]+/%N/g; s/(%[A-Za-z0-9_.]*)_[0-9]+/\1_N/g; s/ +/ /g'; }
op=$(sed -n '/^```mlir$/,/^```$/p' "$readme" | sed '1d;$d' | plain | sed 's/ $//')
plain <generated/tiny_qlora/40-fused.mlir >"$work/dump"
grep -qF -- "$op" "$work/dump" || fail "the README's op is not in the dump: $op"
