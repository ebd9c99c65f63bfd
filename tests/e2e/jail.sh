#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The jail, from inside and outside: what it denies, what a jailed process looks like, that its lists are no longer than
# what the threads use (with strace), what it costs at the start.
# waits for the host: dies-together no-jail lists* *-jailed failover*
# beside others
. "$(dirname "$0")/lib.sh"

# Everything that a taken-over device model might try, from each kind of thread.
"$twinstep" jail --test >"$work/test" 2>&1
status=$?
grep '^ok denied' "$work/test" | sed 's/^ok denied \(.*\), \([a-z ]*\): .*/\1/' | sort | uniq -c | while read -r n what; do
	ok "denied ($n times): $what"
done
check escapes "status $status: $(grep -m 2 -v '^ok' "$work/test" | tr '\n' ' ')" [ "$status" -eq 0 ]
n=$("$twinstep" jail --list --json | python3 -c 'import json,sys
print(next(r["count"] for r in json.load(sys.stdin)["roles"] if r["role"] == "vcpu"))')
check vcpu-calls "the vCPU may make $n system calls, more than 45" [ "$n" -le 45 ]

# The same as a user without rights: what root has to give up, he never had, and what needs rights he gets from a user
# namespace. The program is copied to where he can reach it.
as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
if [ "$(id -u)" -eq 0 ] && as_nobody true 2>/dev/null; then
	chmod 755 "$work"
	cp "$twinstep" "$work/twinstep"
	if as_nobody unshare --user true 2>/dev/null; then
		as_nobody "$work/twinstep" jail --test >"$work/test2" 2>&1
		status=$?
		check escapes-unprivileged "status $status: $(grep -m 2 -v '^ok' "$work/test2" | tr '\n' ' ')" [ "$status" -eq 0 ]
	else
		skip escapes-unprivileged "other users may not make user namespaces here"
	fi
else
	skip escapes-unprivileged "needs root, to become somebody else"
fi

need_guest
# A guest of an unprivileged user, from outside: the same layers.
if [ -x "$work/twinstep" ]; then
	install -d -o 65534 -m 700 "$work/theirs"
	cp "$vmlinuz" "$initramfs" "$work/theirs/"
	chmod -R a+rX "$work/theirs"
	chown -R 65534:65534 "$work/theirs"
	as_nobody timeout 600 "$work/twinstep" run --kernel "$work/theirs/vmlinuz" --initrd "$work/theirs/initramfs" --console none \
		--host-file "$work/theirs/host" --control "$work/theirs/sock" --append "$cmdline" --clock host 2>"$work/err" &
	outer=$!
	cleanup() { kill "$outer" 2>/dev/null; }
	wait_for 60 as_nobody "$work/twinstep" status "$work/theirs/sock"
	pid=$(as_nobody "$work/twinstep" status "$work/theirs/sock" --json | sed 's/.*"pid":\([0-9]*\).*/\1/')
	lacks() { grep 'the jail goes without' "$work/err" | grep -oE '[a-z-]+ \(' | grep -vE '^(speculation|core-scheduling|landlock) '; }
	check unprivileged-layers "it goes without: $(lacks)$(cat "$work/err")" eval '[ -n "$pid" ] && [ -z "$(lacks)" ]'
	check unprivileged-caps "capabilities" grep -q '^CapEff:	0000000000000000' "/proc/$pid/status"
	check unprivileged-filter "no filter" grep -q '^Seccomp:	2' "/proc/$pid/status"
	check unprivileged-root "its root is not empty" [ -z "$(ls -A "/proc/$pid/root/")" ]
	kill "$outer"
	wait "$outer" 2>/dev/null
	cleanup() { :; }
fi

run() { timeout 600 "$twinstep" run --kernel "$vmlinuz" --initrd "$initramfs" "$@"; }

# A jailed process from outside.
run --console "unix:$work/console" --control "$work/control" --append "$cmdline" >"$work/out" 2>"$work/err" &
outer=$!
cleanup() { kill "$outer" 2>/dev/null; }
wait_for 30 "$twinstep" status "$work/control"
pid=$("$twinstep" status "$work/control" --json | sed 's/.*"pid":\([0-9]*\).*/\1/')
field() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$pid/status"; }
check no-caps "capabilities $(field CapEff)" [ "$(field CapEff)" = 0000000000000000 ]
check no-new-privs "no_new_privs is not set" [ "$(field NoNewPrivs)" = 1 ]
check filtered "no seccomp filter" [ "$(field Seccomp)" = 2 ]
check not-root "it runs as root" [ "$(field Uid | cut -f1)" -ne 0 ]
all_filtered() { ! grep -L '^Seccomp:	2' /proc/"$pid"/task/*/status | grep -q .; }
check threads-filtered "a thread without a filter" all_filtered
for ns in pid net ipc uts cgroup mnt user; do
	[ "$(readlink "/proc/$pid/ns/$ns")" != "$(readlink "/proc/self/ns/$ns")" ] || not_ok "$ns" "it shares our $ns namespace"
done
check empty-root "its root is not empty: $(ls -A "/proc/$pid/root" | head -n 3)" [ -z "$(ls -A "/proc/$pid/root/")" ]
unlocked=$(grep -A 30 'memfd:twinstep-guest-ram' "/proc/$pid/smaps" | grep -m 1 VmFlags)
check not-dumped "guest memory would be in a core file: $unlocked" grep -q ' dd' <<<"$unlocked"
code=$(grep 'memfd:twinstep-code' "/proc/$pid/maps" | cut -d' ' -f2 | sort | tr '\n' ' ')
check code-twice "translated code is mapped $code" [ "$code" = "r-xs rw-s " ]
check never-both "memory is writable and executable" [ -z "$(grep ' .wx' "/proc/$pid/maps")" ]
elsewhere=$(grep -l 'memfd:twinstep-code' $(printf '/proc/%s/maps ' $(pgrep -P "$(field PPid)"; pgrep -P "$pid")) 2>/dev/null | grep -v "/$pid/")
check code-alone "translated code is mapped in $elsewhere too" [ -z "$elsewhere" ]
kill -9 "$(field PPid)"
wait "$outer" 2>/dev/null
gone() { ! grep -q '^State:	[^ZX]' "/proc/$pid/status" 2>/dev/null; }
check dies-together "the jailed process outlived the one outside" wait_for 3 gone
cleanup() { :; }

"$twinstep" run --no-jail --kernel "$vmlinuz" --console none --append "$cmdline" >"$work/out" 2>"$work/err" &
outer=$!
check no-jail "--no-jail says nothing" wait_for 10 grep -q 'all the rights' "$work/err"
kill "$outer"
wait "$outer" 2>/dev/null
"$twinstep" run --jail maybe --kernel "$vmlinuz" >"$work/out" 2>"$work/err"
check bad-mode "status $?, not 2" [ $? -eq 2 ]

# What the threads really ask for, against the lists.
if ! strace -qq -f -Y -o "$work/probe" true 2>/dev/null; then
	skip lists "no strace here, or it may not trace"
	exit $failed
fi
mkdir "$work/traces" "$work/bin"
ln -s "$PWD/$build/guest" "$work/bin/guest"
cat >"$work/bin/twinstep" <<END
#!/bin/bash
exec strace -D -f -Y -qq -e signal=none -o "$work/traces/\$\$" "$PWD/$twinstep" "\$@"
END
chmod +x "$work/bin/twinstep"
traced() { BUILD="$work/bin" TWINSTEP_TEST_INSIDE= timeout 600 "$@" >>"$work/traced" 2>&1; }
traced tests/e2e/boot.sh
traced tests/e2e/console.sh
traced tests/e2e/virtio.sh
traced tests/e2e/net.sh
traced tests/e2e/snapshot.sh
disk=$work/disk
truncate -s 4M "$disk"
traced "$work/bin/twinstep" run --kernel "$vmlinuz" --initrd "$initramfs" --disk "$disk" --console none --append \
	"$cmdline twinstep.run=\"i=0; while [ \$i -lt 20 ]; do dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=fsync; i=\$((i + 1)); done\""
traced "$work/bin/twinstep" record -o "$work/log" --kernel "$vmlinuz" --initrd "$initramfs" --disk "$disk" --console none \
	--append "$cmdline twinstep.run=\"dd if=/dev/zero of=/dev/vda bs=64k count=16; sync; exit 7\""
traced "$work/bin/twinstep" replay --console none --speed 20 --stats "$work/log"
# A log may be somebody else's: nothing in it is looked at before the last filter is in place.
for command in "log $work/log" "diff $work/log $work/log"; do
	# shellcheck disable=SC2086
	strace -f -qq -o "$work/order" "$twinstep" $command >"$work/out" 2>&1
	check "${command%% *}-jailed" "it reads before the jail has closed, or not at all: $(tail -n 2 "$work/out")" \
		awk '/seccomp\(SECCOMP_SET_MODE_FILTER, 0/ { closed[$1] = 1 }
			/pread64\([0-9]+, "TWINLOG/ { reads++; early += !closed[$1] }
			END { exit !reads || early }' "$work/order"
done
TIMEOUT=1000 traced tests/pair/pair.sh soak.py --count 5
python3 tests/e2e/jail_lists.py "$work"/traces/* < <("$twinstep" jail --list --json) || failed=1
exit $failed
