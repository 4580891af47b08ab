#!/usr/bin/env bash
# bench_neighbour.sh BUILD [FLAG...]: tests/bench/neighbour.py; beside PEFT and bitsandbytes once `make test-interop` has installed them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$1
shift
bash cmake/scripts/fetch-smollm2.sh models
bash cmake/scripts/make-fortunes.sh models/fortunes.txt
peers=$(realpath "$build")/interop/venv
if [[ -f $peers/complete ]]; then
  set -- "$peers/bin/python" "$@"
fi
exec python3 tests/bench/neighbour.py "$build" "$@"
