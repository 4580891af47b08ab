#!/usr/bin/env bash
# bench_adalora.sh BUILD [--cold]: tests/bench/adalora.py; beside PEFT and bitsandbytes once `make test-interop` has installed them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$1
shift
[[ -n ${LORAC_SMOLLM2:-} ]] || bash cmake/scripts/fetch-smollm2.sh models
peers=$(realpath "$build")/interop/venv
if [[ -f $peers/complete ]]; then
  set -- "$@" --peers "$peers/bin/python"
fi
exec python3 tests/bench/adalora.py "$build" "$@"
