#!/bin/bash
# passes-hold.sh BUILD SOURCE [COUNT [SEED]]: no pass dies of IR that parses. Modules of the lit tests and of generated/ with a few lines gone or
# moved go through every pass and stage; lorac-opt may refuse, and says so, but never crashes.
source "$(dirname "$0")/common.sh"
opt=$build/lorac-opt
exec python3 "$source/tests/e2e/passes_hold.py" "$opt" "$source" "${3:-400}" "${4:-1}"
