#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the jail costs: the start of a guest that does nothing but end, the speed of the CPU program and of redis, with and
# without it by turns. JAIL_STARTS (25): starts of each side.
if [ "${TWINSTEP_BENCH_INSIDE:-}" != 1 ]; then
	flags=(--net)
	[ "$(id -u)" -eq 0 ] || flags+=(--user --map-root-user)
	TWINSTEP_BENCH_INSIDE=1 exec unshare "${flags[@]}" "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"

# A multiboot program of one instruction sequence: mov al, 0; out 0xf4, al; hlt.
tiny() {
	python3 - "$1" <<'END'
import struct, sys
code = b"\xb0\x00\xe6\xf4\xf4"
at, header = 0x100000, 0x54
entry = at + header + 32
flags = 0x10000
multiboot = struct.pack("<8I", 0x1badb002, flags, -(0x1badb002 + flags) & 0xffffffff, at + header, at, 0, 0, entry)
elf = b"\x7fELF\1\1\1" + bytes(9) + struct.pack("<2H5I6H", 2, 3, 1, entry, 52, 0, 0, 52, 32, 1, 0, 0, 0)
size = header + 32 + len(code)
load = struct.pack("<8I", 1, 0, at, at, size, size, 7, 4096)
open(sys.argv[1], "wb").write(elf + load + multiboot + code)
END
}
tiny "$work/tiny"
# start OUT OPTION...: adds "wall MS" and "cpu MS" of one run to OUT.
start() {
	local TIMEFORMAT='%R %U %S' out=$1
	{ time "$twinstep" run --kernel "$work/tiny" --console none "${@:2}" 2>>"$work/err" </dev/null || echo failed; } 2>&1 |
		awk '/failed/ { print "failed" } NF == 3 { printf "wall %.1f\ncpu %.1f\n", $1 * 1000, ($2 + $3) * 1000 }' >>"$out"
	! grep -q failed "$out" || {
		echo "the tiny guest does not run: $(tail -n 1 "$work/err")" >&2
		exit 1
	}
}
for _ in $(seq "${JAIL_STARTS:-25}"); do
	start "$work/with"
	start "$work/without" --no-jail
done
row "jail" "with" "without" "difference"
for kind in wall cpu; do
	a=$(median_of "$work/with" $kind) b=$(median_of "$work/without" $kind)
	row "  start of a tiny guest, $kind ms" "$a" "$b" "$(awk "BEGIN { printf \"%.1f\", $a - $b }")"
done
row "" "with" "without" "ratio"

# mips OUT OPTION...: million instructions a second of the CPU time that the command takes.
mips() {
	local TIMEFORMAT='%U %S' out=$1 cpu n
	cpu=$({ time timeout 300 "$twinstep" run --kernel "$vmlinuz" --initrd "$initramfs" --memory 256M --clock virtual --console none \
		--json --append "$cmdline twinstep.run=cpubench" "${@:2}" </dev/null >"$work/json" 2>>"$work/err"; } 2>&1 | awk '{ print $1 + $2 }')
	n=$(sed -n 's/.*"instructions":\([0-9]*\).*/\1/p' "$work/json")
	awk -v n="$n" -v t="$cpu" 'BEGIN { printf "%.1f\n", n / t / 1e6 }' >>"$out"
}
for _ in $(seq "$runs"); do
	mips "$work/mips-with"
	mips "$work/mips-without" --no-jail
done
a=$(median <"$work/mips-with") b=$(median <"$work/mips-without")
row "  million instructions a CPU second" "$a" "$b" "$(ratio "$a" "$b")"

command -v redis-benchmark >/dev/null || {
	echo "jail: redis skipped, redis-tools is not installed"
	exit 0
}
ip link set lo up
n=4
for side in with without; do
	ip tuntap add tap$n mode tap && ip addr add 10.77.$n.1/24 dev tap$n && ip link set tap$n up
	option=()
	[ $side = with ] || option=(--no-jail)
	"$twinstep" run --kernel "$vmlinuz" --initrd "$initramfs" --memory 256M --net tap:tap$n --console none \
		--append "$cmdline twinstep.ip=10.77.$n.2/24 twinstep.redis" "${option[@]}" </dev/null >/dev/null 2>>"$work/err" &
	background="$background $!"
	n=$((n + 1))
done
for n in 4 5; do
	for _ in $(seq 600); do
		timeout 1 redis-cli -h 10.77.$n.2 ping >/dev/null 2>&1 && break
		sleep 0.1
	done
done
# Both guests run all the time and are asked by turns.
ask() {
	timeout 120 redis-benchmark -h "10.77.$1.2" -c 10 -n "${BENCH_REQUESTS:-10000}" -t set,get -q 2>/dev/null | tr '\r' '\n' |
		sed -n 's/^\(SET\|GET\): \([0-9.]*\) requests per second.*/\1 \2/p' >>"$work/$1"
}
for _ in $(seq "$runs"); do
	ask 4
	ask 5
done
kill $background
wait 2>/dev/null
background=
for op in SET GET; do
	a=$(median_of "$work/4" $op) b=$(median_of "$work/5" $op)
	row "  redis $op requests a second" "$a" "$b" "$(ratio "$a" "$b")"
done
