# docs/tour.md and docs/adding.md are true: each block of theirs stands in the file that it names.
source "$(dirname "$0")/common.sh"
cd "$source"
expect 0 "$lorac" compile specs/tiny_qlora.toml --cpu x86-64-v3 -o "$work/generated/tiny_qlora"
expect 0 "$work/generated/tiny_qlora/train" --out "$work/out/tiny_qlora"

# One line, one space wherever there is any, value numbers and addresses as N.
plain() {
  tr '\n' ' ' | sed -E 's/%arg[0-9]+/%argN/g; s/%[0-9]+(#[0-9]+)?/%N/g; s/(%[A-Za-z0-9_.]*)_[0-9]+/\1_N/g; s/[[:space:]]+/ /g; s/([[{]) /\1/g; s/ ([]}])/\1/g'
}

# holds PAGE LEAST: its blocks, of which there are at least so many.
holds() {
  local page=$source/docs/$1 least=$2 blocks=0 file= inside= block= line path wanted name
  while IFS= read -r line; do
    if [[ -z $inside && $line =~ ^\`([^\`]+)\`$ ]]; then
      file=${BASH_REMATCH[1]}
    elif [[ -z $inside && $line == '```'?* ]]; then
      [[ -n $file ]] || fail "a block without a file above it: $line"
      inside=yes block=
    elif [[ -n $inside && $line == '```' ]]; then
      case $file in
      generated/* | out/*) path=$work/$file ;;
      *) path=$source/$file ;;
      esac
      [[ -f $path ]] || fail "$file is not there"
      wanted=$(plain <<<"$block" | sed 's/^ //; s/ $//')
      # Locations are left out of the tour.
      plain <"$path" | sed -E 's/ loc\([^()]*\)//g' >"$work/plain"
      grep -qF -- "$wanted" "$work/plain" || fail "$file does not hold: $wanted"
      inside= file=
      ((++blocks))
    elif [[ -n $inside ]]; then
      block+=$line$'\n'
    fi
  done <"$page"
  ((blocks >= least)) || fail "only $blocks blocks were found in $page"
  # What it names without a block must be there too.
  for name in $(grep -oE '`(dsl|compiler|runtime)/[A-Za-z0-9_/]+\.(cpp|h)`' "$page" | tr -d '`'); do
    [[ -f $source/$name ]] || fail "$page names '$name', which is not there"
  done
}
holds tour.md 10
holds adding.md 1
