#!/usr/bin/env bash
# bench_memory.sh BUILD: memory of the SmolLM2 step, planned and resident, with and without a limit.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bash cmake/scripts/fetch-smollm2.sh models
bash cmake/scripts/make-fortunes.sh models/fortunes.txt
exec python3 tests/bench/memory.py "$1"
