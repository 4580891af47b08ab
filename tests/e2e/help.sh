# Every command helps and says its version; what is mistyped is answered with what was meant.
source "$(dirname "$0")/common.sh"

expect 0 "$lorac" --help
commands=$(sed -n 's/^LORAC_COMMAND(\(.*\))$/\L\1/p' "$source/compiler/tools/Commands.def")
[[ $(wc -w <<<"$commands") -ge 13 ]] || fail "Commands.def lists too few commands: $commands"
diff <(awk 'tolower($0) ~ /^subcommands:/ { on = 1; next } on && /^  [a-z]/ { print $1 }' "$work/stdout") <(echo "$commands") ||
  fail "--help has other commands than Commands.def"
# docs/cli.md's list is made from them: ninja -C build reference-docs renews it.
expect 0 "$lorac" --list-commands
diff <(sed -n '1,/^## /{ /^| `/p }' "$source/docs/cli.md") "$work/stdout" || fail "docs/cli.md is not fresh"
expect 0 "$lorac" --version
version=$(cat "$work/stdout")
for command in $commands; do
  expect 0 "$lorac" "$command" --help
  prints "Usage: lorac $command"
  [[ ! -s $work/stderr ]] || fail "$command --help writes to stderr"
  expect 0 "$lorac" "$command" --version
  prints "$version"
done

expect 2 "$lorac"
says "a command is missing"
expect 2 "$lorac" trian specs/tiny_lora.toml
says "did you mean 'train'?"
expect 2 "$lorac" train spec.toml --thread 2
says "did you mean '--threads'?"
expect 2 "$lorac" check
says "SPEC is missing"
expect 2 "$lorac" check a.toml b.toml
says "'b.toml' is one word too many"
expect 2 "$lorac" generate spec.toml
says "--prompt is missing"
expect 2 "$lorac" compile spec.toml --target tpu
# A misspelt variable of the environment.
expect 2 env LORAC_ADAPTR_R=8 "$lorac" check "$source/specs/tiny_lora.toml"
says "error: no variable of the environment is named 'LORAC_ADAPTR_R'; did you mean 'LORAC_ADAPTER_R'?"
expect 2 env LORAC_CACHE_DIRECTORY=x "$lorac" doctor
says "did you mean 'LORAC_CACHE_DIR'?"
expect 0 env LORAC_QUUXBAZ_FROBNICATE=8 "$lorac" check "$source/specs/tiny_lora.toml"
says "warning: no variable of the environment is named 'LORAC_QUUXBAZ_FROBNICATE'; it changes nothing"
# What another tool calls a GPU.
expect 3 "$lorac" check "$source/specs/tiny_lora.toml" --set target.device=gpu
says "did you mean 'cuda'?"
expect 2 "$lorac" compile "$source/specs/tiny_lora.toml" --target cuda --rank-per-kernel
says "--rank-per-kernel is for the CPU"
expect 2 "$lorac" compile spec.toml -o
says "--out needs a value"
expect 2 "$lorac" compile spec.toml --target cpu --arch sm_80
says "--arch is for --target cuda"
expect 2 "$lorac" compile "$source/specs/tiny_lora.toml" --cpu nonsense -o "$work/none"
says "no CPU is named 'nonsense'"
