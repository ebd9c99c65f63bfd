#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Programs of Debian's packages in the guest, beside plain TCG and the host itself. CPU seconds, taken outside; those that
# do what they can in a time of the guest's clock (openssl speed, 7z b) by what they did: CPU seconds for a GB, or for
# 10,000 million instructions by 7z's own count.
. "$(dirname "$0")/lib.sh"
tree=$build/guest-spec/tree
initramfs=$build/guest-spec/initramfs
[ -f "$initramfs" ] || {
	echo "spec: skipped, no guest; run make guest-spec"
	exit 0
}
parts=(7z sha256 aes sqlite3 python3 gcc)
declare -A label=([7z]="7z b -mmt1" [sha256]="openssl speed sha256" [aes]="openssl speed aes-128-cbc" [gcc]="gcc -O2")

# cost OUT NAME CPU WALL RESULT: adds "NAME.cost SECONDS" to OUT
cost() {
	awk -v n="$2" -v cpu="$3" -v wall="$4" -v r="${5%,*}" 'BEGIN {
		if (n == "sha256" || n == "aes") cpu /= r * 8192 / 1e9
		if (n == "7z") cpu /= r * wall / 1e4
		printf "%s.cost %.4f\n", n, cpu }' >>"$1"
	case $2 in 7z | sha256 | aes) ;; *) echo "$2.sum $5" >>"$1" ;; esac
}
# guest SIDE: runs the command in cmd
guest() {
	local name
	rm -f "$work/lines"
	run "$work/lines" 'spec '
	touch "$work/lines"
	for name in "${parts[@]}"; do
		if [ "$(median_of "$work/lines" "$name.sum")" != - ]; then
			cost "$work/$1" "$name" "$(median_of "$work/lines" "$name.cpu")" "$(median_of "$work/lines" "$name.wall")" \
				"$(awk -v n="$name.sum" '$1 == n { print $2 }' "$work/lines")"
		else
			echo "$name.failed 1" >>"$work/$1"
		fi
	done
}
# Here 7z says what it would do with all of a CPU; its lines have rating and that.
native() {
	local name used result TIMEFORMAT='%U %S' flags=()
	[ "$(id -u)" -eq 0 ] || flags=(unshare --user --map-root-user)
	for name in "${parts[@]}"; do
		used=$({ time "${flags[@]}" chroot "$tree" /bin/sh /spec/run "$name" >"$work/line" 2>>"$work/err"; } 2>&1 |
			awk '{ print $1 + $2 }')
		result=$(awk -v n="$name" '$1 == "spec" && $2 == n { print $5 }' "$work/line")
		[ -n "$result" ] || echo "$name.failed 1" >>"$work/native"
		[ "$name" = 7z ] && used=1 result=${result##*,}
		[ -z "$result" ] || cost "$work/native" "$name" "$used" 1 "$result"
	done
}
for _ in $(seq "$runs"); do
	twinstep_command twinstep.run="/spec/run" --memory 512M --clock host
	guest twinstep
	native
	[ -n "$qemu" ] || continue
	tcg_command twinstep.run="/spec/run" -m 512
	guest tcg
done
# value SIDE NAME: the median, "FAILED" when one run failed
value() {
	[ "$(median_of "$work/$1" "$2.failed")" = - ] || { echo FAILED && return; }
	median_of "$work/$1" "$2.cost"
}
table_head "Debian's programs, CPU s"
for name in "${parts[@]}"; do
	table "  ${label[$name]:-$name}" "$(value twinstep "$name")" "$(value tcg "$name")" - "$(value native "$name")"
	for side in twinstep tcg; do
		wrong=$(awk -v k="$name.sum" 'NR == FNR { if ($1 == k) s = $2; next } $1 == k && $2 != s { print $2; exit }' \
			"$work/native" "$work/$side" 2>/dev/null)
		[ -z "$wrong" ] || row "  WRONG RESULT of $name ($side)" "$wrong" "" ""
	done
done
