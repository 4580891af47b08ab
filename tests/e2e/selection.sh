# selection.sh BUILD SOURCE: the words that choose modules, ranks and scales, against PEFT's own answers (tests/golden/README.md).
source "$(dirname "$0")/common.sh"
python3 "$source/tests/e2e/selection.py" "$lorac" "$source/tests/golden" "$work" || fail "other modules than PEFT's"
