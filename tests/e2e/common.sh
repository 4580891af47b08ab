# What the end-to-end tests share. Sourced with: BUILD SOURCE. Each test works in a folder of its own that goes at the end.
set -euo pipefail
build=$(realpath "$1")
source=$(realpath "$2")
lorac=$build/lorac
test=$(basename "$0" .sh)
# place: prints a fresh folder: in memory where that has room and runs programs, for thousands of synced files would wear a disk and
# say nothing more; with onDisk=yes before, or TMPDIR set, elsewhere.
place() {
  local folder free
  free=$(df --output=avail /dev/shm 2>/dev/null | tail -1)
  if [[ -z ${onDisk:-}${TMPDIR:-} ]] && ((${free:-0} > 2 << 20)) && folder=$(mktemp -d "/dev/shm/lorac-$test.XXXXXX"); then
    cp /bin/true "$folder/runs" && "$folder/runs" && rm "$folder/runs" && echo "$folder" && return
    rm -rf "$folder"
  fi
  mktemp -d "${TMPDIR:-/tmp}/lorac-$test.XXXXXX"
}
work=$(place)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C LORAC_CACHE_DIR=$work/cache NO_COLOR=1

# A test's cache is its own, but its kernels are a build's: what one test compiled, by this lorac from the same source, no other
# compiles again.
mkdir -p -m 700 "$build/test-cache" "$build/test-cache/kernels" "$LORAC_CACHE_DIR"
ln -s "$build/test-cache/kernels" "$LORAC_CACHE_DIR/kernels"
# ownKernels: kernels too are the test's own, for one that harms or counts them.
ownKernels() { rm -r "$LORAC_CACHE_DIR"; }

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

skip() {
  echo "skipped: $*"
  exit 77
}

# expect CODE COMMAND...: runs it, stdout to $work/stdout, stderr to $work/stderr; the code must be CODE.
expect() {
  local wanted=$1 code=0
  shift
  "$@" >"$work/stdout" 2>"$work/stderr" </dev/null || code=$?
  if [[ $code != "$wanted" ]]; then
    echo "\$ $*" >&2
    cat "$work/stdout" "$work/stderr" >&2
    fail "exit code $code, expected $wanted"
  fi
}

# says TEXT: the last command said it on stderr.
says() { grep -qF -- "$1" "$work/stderr" || { cat "$work/stderr" >&2; fail "stderr does not say '$1'"; }; }
# prints TEXT: the last command printed it on stdout.
prints() { grep -qF -- "$1" "$work/stdout" || { cat "$work/stdout" >&2; fail "stdout does not hold '$1'"; }; }

# metric KEY FILE: the values of a key in a metrics file, one a line.
metric() { sed -n "s/.*\"$1\": *\([-0-9.e+]*\)[,}].*/\1/p" "$2"; }

# less A B: A < B as numbers.
less() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a + 0 < b + 0) }'; }

same() { cmp "$1" "$2" || fail "'$1' and '$2' differ"; }

# compiled SPEC DIR [FLAG...]: compiles into DIR.
compiled() {
  local spec=$1 folder=$2
  shift 2
  (cd "$source" && expect 0 "$lorac" compile "specs/$spec.toml" -o "$folder" "$@")
}

# cudaCompiled SPEC DIR COMPUTE [FLAG...]: compiles for a GPU; skips the test where NVRTC is absent.
# Kernels that several tests have in common are compiled once in a build folder.
cudaCompiled() {
  local spec=$1 folder=$2 compute=$3 code=0
  shift 3
  LORAC_CACHE_DIR=$build/cuda-cache "$lorac" compile "$spec" -o "$folder" --target cuda \
    --set target.device=cuda --set "quantization.compute_dtype=$compute" "$@" \
    >"$work/stdout" 2>"$work/stderr" </dev/null || code=$?
  if grep -q "NVRTC is not on this machine" "$work/stderr"; then
    skip "$(head -1 "$work/stderr")"
  fi
  [[ $code == 0 ]] || { cat "$work/stderr" >&2; fail "'$spec' does not compile for cuda"; }
}
