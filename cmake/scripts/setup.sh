#!/usr/bin/env bash
# setup.sh LIST: installs the packages of LIST that are missing. Says nothing when all are there.
set -euo pipefail
list=$1

mapfile -t wanted < <(grep -vE '^\s*(#|$)' "$list")
if ! command -v dpkg-query >/dev/null; then
  echo "setup: this is no Debian system; install what $list names by your own means" >&2
  exit 0
fi
missing=()
for package in "${wanted[@]}"; do
  status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
  [[ $status == *" installed" ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

if [[ $(id -u) != 0 ]]; then
  echo "setup: these Debian packages are missing: ${missing[*]}" >&2
  echo "setup: install them as root: apt-get install ${missing[*]}" >&2
  exit 1
fi

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() { "$@" >"$log" 2>&1 </dev/null || { cat "$log" >&2; echo "setup: '$*' failed" >&2; exit 1; }; }
install() { apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$log" 2>&1 </dev/null; }

echo "setup: installing ${#missing[@]} packages: ${missing[*]}" >&2
# The lists are fetched when they do not know a package, and once more when they are too old to install from.
apt-cache show "${missing[@]}" >/dev/null 2>&1 || quietly apt-get update -qq
install || { quietly apt-get update -qq; quietly apt-get install -y -qq --no-install-recommends "${missing[@]}"; }
echo "setup: done" >&2
