#!/usr/bin/env bash
# make-fortunes.sh [FILE]: a corpus of short texts from Debian's package `fortunes`, separated by lines of one %.
# The package's .dat files are indexes and its .u8 files links; what is not UTF-8 is left out, overstriking is removed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=${1:-models/fortunes.txt}
source=${LORAC_FORTUNES:-/usr/share/games/fortunes}
topics=(computers cookie definitions education fortunes humorists law linux literature medicine miscellaneous news
  people platitudes science startrek tao wisdom work)

[[ -s $out ]] && exit 0
if [[ ! -d $source ]]; then
  echo "'$source' is not there; install the Debian package fortunes (make setup)" >&2
  exit 1
fi
mkdir -p "$(dirname "$out")"
part=$out.part
trap 'rm -f "$part"' EXIT
for topic in "${topics[@]}"; do
  file=$source/$topic
  [[ -f $file && ! -L $file ]] || continue
  iconv -f UTF-8 -t UTF-8 "$file" >/dev/null 2>&1 || continue
  # Every file ends in a separator, whether its package wrote one or not.
  LC_ALL=C sed -e $':a; s/[^\b]\b//g; ta; s/\b//g' "$file" | LC_ALL=C awk '{ print; last = $0 } END { if (last != "%") print "%" }'
done >"$part"
# A separator stands between texts, not after the last one.
LC_ALL=C sed -i '$d' "$part"
if [[ ! -s $part ]]; then
  echo "no texts in '$source'" >&2
  exit 1
fi
mv "$part" "$out"
