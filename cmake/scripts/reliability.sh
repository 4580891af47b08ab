#!/usr/bin/env bash
# reliability.sh BUILD [ARGUMENT...]: builds what tests/reliability needs (the fuzzer with clang, in BUILD/fuzz), then runs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$1
shift
scripts=cmake/scripts
bash $scripts/build.sh "$build" lorac lorac-train ReliabilityFlips ReliabilityFuzz
fuzz=$build/fuzz
if [[ ! -f $fuzz/build.ninja ]]; then
  mkdir -p "$fuzz"
  cmake -S . -B "$fuzz" -G Ninja -DLORAC_RUNTIME_ONLY=ON -DLORAC_LIBFUZZER=ON -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=Fuzz \
    -DCMAKE_CXX_FLAGS="-O1 -g1 -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined" \
    >"$fuzz/configure.log" 2>&1 || { cat "$fuzz/configure.log" >&2; exit 1; }
fi
ninja -C "$fuzz" ReliabilityLibFuzzer
exec python3 tests/reliability/reliability.py "$build" . "$@"
