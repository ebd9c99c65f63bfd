#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An operator took an interface down, renamed it, deleted it and made it anew, under a machine that used it.
# waits for the host: *
# beside others
. "$(dirname "$0")/../e2e/lib.sh"
need_guest
need_redis
in_namespace "$@"
ip link set lo up
cleanup() { [ -z "$machine" ] || kill "$machine" 2>/dev/null; }

lives() { kill -0 "$machine" 2>/dev/null && "$twinstep" status "$work/control" >/dev/null; }
number() { "$twinstep" status "$work/control" --json | sed "s/.*\"$1\":\([0-9]*\).*/\1/"; }
lost_again() { [ "$(number nic_losses)" -gt "$losses" ]; }
said() { [ "$(grep -c "$1" "$work/err")" -eq "$2" ]; }
lost="down or gone: the guest's NIC is silent"
# The machine's CPU time and sync points within three seconds in which its guest is idle.
quiet() {
	local before after
	before=$(number sync_points)
	sleep 3
	after=$(number sync_points)
	[ $((after - before)) -lt 2000 ]
}

# The keeper of a machine may set up interfaces only where a tap may have to be made anew. CAP_NET_ADMIN is bit 12.
may_set_up() {
	local process inner=$(cat "/proc/$machine/task/$machine/children")
	for process in $(cat "/proc/${inner% }/task/${inner% }/children"); do
		grep -q keeper "/proc/$process/comm" || continue
		[ $((0x$(sed -n 's/^CapEff:[[:space:]]*//p' "/proc/$process/status") >> 12 & 1)) -eq "$1" ]
		return
	done
	return 2
}

make_veth() {
	ip link add veth0 type veth peer name "$1" && ip addr add 10.77.2.1/24 dev veth0
	ip link set veth0 up && ip link set "$1" up
}
make_veth veth1
if serve pcap:veth1 10.77.2.2; then
	ok pcap-serves
	check pcap-no-rights "the keeper has CAP_NET_ADMIN" may_set_up 0
	ip link set veth1 down
	check pcap-down-said "$(cat "$work/err")" wait_for 10 said "$lost" 1
	check pcap-down "the machine ended: $(cat "$work/err")" lives
	ip link set veth1 up
	check pcap-up "no answer after the interface came back" wait_for 10 answers
	ip link set veth1 down
	ip link set veth1 name other1
	ip link set other1 up
	check pcap-renamed "no answer over the renamed interface: $(cat "$work/err")" wait_for 10 answers
	ip link set other1 down
	ip link set other1 up
	check pcap-flap "no answer after a short absence: $(cat "$work/err")" wait_for 10 answers
	losses=$(number nic_losses)
	ip link del veth0
	wait_for 10 lost_again
	check pcap-deleted "the machine ended: $(cat "$work/err")" lives
	make_veth veth1
	check pcap-made-anew "no answer over the new interface: $(cat "$work/err")" wait_for 10 answers
	check pcap-counted "$(number nic_losses) losses" [ "$(number nic_losses)" -ge 1 ]
	stop
	check pcap-end "exit status $status: $(tail -n 3 "$work/err")" [ "$status" -eq 143 ]
else
	not_ok pcap-serves "no answer: $(tail -n 3 "$work/err" "$work/console")"
	stop
fi

make_tap() { ip tuntap add tap0 mode tap "$@" && ip addr add 10.77.1.1/24 dev tap0 && ip link set tap0 up; }
make_tap multi_queue
if serve tap:tap0 10.77.1.2; then
	ok tap-serves-multi-queue
	check tap-rights "the keeper cannot make a tap anew" may_set_up 1
	losses=$(number nic_losses)
	ip link set tap0 down
	wait_for 10 lost_again
	check tap-down "the machine ended: $(cat "$work/err")" lives
	ip link set tap0 up
	check tap-up "no answer after the interface came back" wait_for 10 answers
	losses=$(number nic_losses)
	ip link del tap0
	wait_for 10 lost_again
	check tap-deleted "the machine ended: $(cat "$work/err")" lives
	check tap-deleted-quiet "it spins: $("$twinstep" status "$work/control")" quiet
	make_tap
	check tap-made-anew "no answer over the new interface: $(cat "$work/err")" wait_for 10 answers
	losses=$(number nic_losses)
	ip link del tap0
	wait_for 10 lost_again
	sleep 2
	check tap-not-made-by-us "the machine made a tap interface of its own" eval '! ip link show tap0 2>/dev/null'
	stop
	check tap-end "exit status $status: $(tail -n 3 "$work/err")" [ "$status" -eq 143 ]
else
	not_ok tap-serves-multi-queue "no answer: $(tail -n 3 "$work/err" "$work/console")"
	stop
fi
# The port of a bridge: taken out of it, put back; the bridge deleted and made anew. The tap itself stays up all the time.
make_bridge() {
	ip link add bridge0 type bridge && ip addr add 10.77.3.1/24 dev bridge0 && ip link set bridge0 up && ip link set tap1 master bridge0
}
if ip link add probe0 type bridge 2>/dev/null; then
	ip link del probe0
	ip tuntap add tap1 mode tap
	ip link set tap1 up
	make_bridge
	if serve tap:tap1 10.77.3.2; then
		ok bridge-serves
		ip link set tap1 nomaster
		check port-out "the machine ended: $(cat "$work/err")" lives
		check port-out-quiet "it spins: $("$twinstep" status "$work/control")" quiet
		ip link set tap1 master bridge0
		check port-back "no answer after the port came back" wait_for 10 answers
		ip link del bridge0
		check bridge-deleted "the machine ended: $(cat "$work/err")" lives
		make_bridge
		check bridge-made-anew "no answer over the new bridge: $(cat "$work/err")" wait_for 10 answers
		check bridge-untold "the NIC's own interface was never gone: $(cat "$work/err")" said "$lost" 0
		stop
		check bridge-end "exit status $status: $(tail -n 3 "$work/err")" [ "$status" -eq 143 ]
	else
		not_ok bridge-serves "no answer: $(tail -n 3 "$work/err" "$work/console")"
		stop
	fi
else
	skip bridge "cannot make a bridge here"
fi

# Both hosts of a pair lose theirs for a moment, and the survivor of a failover once more: nobody takes it for a failure.
declare -A pid
cleanup() { [ ${#pid[@]} -eq 0 ] || kill -9 "${pid[@]}" 2>/dev/null; wait 2>/dev/null; }
if ! ${CC:-gcc} -m32 -nostdlib -static -Wl,-Ttext=0x100000,-melf_i386,-n,--build-id=none -o "$work/guest.elf" tests/accidents/chatter.S; then
	not_ok build "cannot build the guest"
	exit 1
fi
"$twinstep" keygen "$work/key"
"$twinstep" arbiter init "file:$work/arbiter" >/dev/null
replica() {
	"$twinstep" "$1" --key-file "$work/key" --arbiter "file:$work/arbiter" --timeout "${TIMEOUT:-10000}" --hang-timeout 30000 --console none \
		--control "$work/$1.sock" --events "$work/$1.events" "${@:2}" 2>"$work/$1.err" </dev/null &
	pid[$1]=$!
}
count() { "$twinstep" status "$work/$1.sock" --json | sed 's/.*"instructions": *\([0-9]*\).*/\1/'; }
# goes_on REPLICA: its guest executes.
goes_on() {
	local before
	before=$(count "$1")
	wait_for 20 eval "[ \$(count $1) -gt $((before + 100000)) ]"
}
told() { [ "$(cat "$work"/*.err | grep -c "$lost")" -ge "$1" ]; }
for host in primary backup; do
	ip link add "v-$host" type veth peer name "$host"
	ip link set "v-$host" up
	ip link set "$host" up
done
replica primary --kernel "$work/guest.elf" --net pcap:primary --listen "unix:$work/peer"
replica backup --net pcap:backup --connect "unix:$work/peer" --connect-wait 30000
check pair-protected "$(cat "$work"/*.err)" wait_for 30 grep -q '"protected"' "$work/primary.events"
for host in primary backup; do ip link set "$host" down; done
check pair-down "$(cat "$work"/*.err)" wait_for 10 told 2
check pair-goes-on "the guest stands still: $(cat "$work"/*.err)" goes_on primary
for host in primary backup; do ip link set "$host" up; done
for host in primary backup; do ip link set "$host" down && ip link set "$host" up; done
check pair-quiet "$(cat "$work"/*.events)" eval '! grep -Eq "\"(unprotected|live|divergence|hang)\"" "$work"/*.events'
kill -9 "$(cat "/proc/${pid[primary]}/task/${pid[primary]}/children")"
check pair-failover "$(cat "$work/backup.err")" wait_for 30 grep -q '"live"' "$work/backup.events"
ip link set backup down
check pair-alone "the survivor stands still: $(cat "$work/backup.err")" goes_on backup
"$twinstep" stop "$work/backup.sock"
wait "${pid[backup]}"
status=$?
check pair-end "exit status $status: $(cat "$work/backup.err")" [ $status -eq 0 ]
exit $failed
