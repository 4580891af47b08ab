#!/usr/bin/env bash
# test.sh BUILD JOBS [CTEST ARGUMENT...]: runs the tests; the last line counts them.
set -uo pipefail
build=$1 jobs=$2
shift 2
report=$(realpath "$build")/tests.xml
rm -f "$report"
ctest --test-dir "$build" -j "$jobs" --output-on-failure --output-junit "$report" --no-tests=error "$@"
code=$?
attribute() { sed -n "s/^[[:space:]]*$1=\"\([0-9]*\)\".*/\1/p" "$report" | head -1; }
if [[ -f $report ]]; then
  total=$(attribute tests) failed=$(attribute failures) skipped=$(attribute skipped) disabled=$(attribute disabled)
  echo "tests: $((total - failed - skipped - disabled)) passed, $failed failed, $((skipped + disabled)) skipped"
fi
exit $code
