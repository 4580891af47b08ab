#!/usr/bin/env bash
# bench.sh BUILD: speed and memory of the SmolLM2 training step; beside PEFT and bitsandbytes once `make test-interop` has
# installed them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$1
bash cmake/scripts/fetch-smollm2.sh models
bash cmake/scripts/make-fortunes.sh models/fortunes.txt
peers=$(realpath "$build")/interop/venv
if [[ -f $peers/complete ]]; then
  exec python3 tests/bench/bench.py "$build" "$peers/bin/python"
fi
exec python3 tests/bench/bench.py "$build"
