#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# beside others
# The software CPU against golden vectors of an Intel processor; and the tester's own handling of such files: what it
# writes of this host reads back as it was, this host answers the same again, and a damaged file is refused.
set -u
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
isa=$build/tests/isa/isa
golden=tests/isa/golden/intel-C06F2.bin.zst
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

"$isa" --against "$golden" --reports 5 | grep -vE '^ *[0-9]+  ' || true
[ "${PIPESTATUS[0]}" -eq 0 ] || bad=1

# Every record of group differs was a case of the tester's: from its seed the generator makes it again.
if out=$("$isa" --against "$golden" --seeds); then
	echo "ok isa.golden.seeds ($out)"
else
	echo "not ok isa.golden.seeds: $(tail -n 1 <<<"$out")"
	bad=1
fi

# refused NAME: a file that is not whole
refused() {
	local out
	out=$("$isa" --against "$work/$1" 2>&1)
	if [ $? -eq 1 ] && grep -q "^not ok isa.golden: $work/$1: " <<<"$out"; then
		echo "ok isa.golden.refuses_$1"
	else
		echo "not ok isa.golden.refuses_$1: $(tail -n 1 <<<"$out")"
		bad=1
	fi
}
head -c 100000 "$golden" >"$work/cut"
refused cut
zstd -qdc "$golden" | head -c 40000 | zstd -q --content-size --stream-size=40000 >"$work/ended"
refused ended
zstd -qdc "$golden" | sed '1s/648/649/; s/TWGOLD1/TWGOLD2/' | zstd -q --stream-size="$(zstd -qdc "$golden" | wc -c)" >"$work/magic"
refused magic
{ zstd -qdc "$golden" | head -c 60000 && head -c 60000 /dev/zero; } | zstd -q --stream-size=120000 >"$work/zeros"
refused zeros

# round NAME OPTION...: what this host answers, written, read and asked again
round() {
	local name=$1
	shift
	out=$("$isa" --golden "$work/a" --count 0 "$@" && "$isa" --golden "$work/b" --count 0 --against "$work/a")
	local status=$?
	if [[ $out == skip* ]]; then
		echo "skip isa.golden.$name: $(tail -n 1 <<<"${out#skip isa: }" | sed 's/^skip isa: //')"
	elif [ $status -ne 0 ]; then
		echo "not ok isa.golden.$name: $(tail -n 1 <<<"$out")"
		bad=1
	elif cmp -s "$work/a" "$work/b" && grep -q '^ok isa.golden.write ([1-9]' <<<"$out"; then
		echo "ok isa.golden.$name"
	else
		echo "not ok isa.golden.$name: the host's second answers are others: $out"
		bad=1
	fi
}
round writes_grid --kind logic
round writes_sample --group sample --only addps
exit $bad
