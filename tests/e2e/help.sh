# Every command helps and says its version; what is mistyped is answered with what was meant.
source "$(dirname "$0")/common.sh"

commands="check compile train plan explain inspect eval generate export verify tokenize recompile doctor"
expect 0 "$lorac" --help
for command in $commands; do prints "$command "; done
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
expect 2 "$lorac" compile "$source/specs/tiny_lora.toml" --target cuda --rank-per-kernel
says "--rank-per-kernel is for the CPU"
expect 2 "$lorac" compile spec.toml -o
says "--out needs a value"
expect 2 "$lorac" compile spec.toml --target cpu --arch sm_80
says "--arch is for --target cuda"
expect 2 "$lorac" compile "$source/specs/tiny_lora.toml" --cpu nonsense -o "$work/none"
says "no CPU is named 'nonsense'"
