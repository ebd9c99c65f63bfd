# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by what runs in the virtual machine of tests/rdma/rdma.sh. SoftRoCE of this kernel works in one network namespace, so both
# replicas use the device of v0: frames go by RDMA there, and TCP to the same address by lo. When v1 goes down, the
# cable of v0 is cut, and TCP goes on.
cd /tmp || exit 2
ip() { /usr/bin/ip "$@"; }
ip link set lo up
ip link add v0 type veth peer name v1
ip addr add 10.9.0.1/24 dev v0
ip link set v0 up
ip link set v1 up
rdma link add rxe0 type rxe netdev v0
address=10.9.0.1 port=7000
ok() { echo "ok rdma.$1"; }
not_ok() { echo "not ok rdma.$1: $2"; }

seconds() { cut -d. -f1 /proc/uptime; }
# until_true SECONDS COMMAND...: whether it comes true in that time
until_true() {
	local end=$(($(seconds) + $1))
	shift
	while ! "$@" >/dev/null 2>&1; do
		[ "$(seconds)" -lt $end ] || return 1
		usleep 100000
	done
}

index=$(grep -l '0000:0000:0000:0000:0000:ffff:0a09:0001' /sys/class/infiniband/rxe0/ports/1/gids/* 2>/dev/null | head -n 1)
index=${index##*/} # of the GID with this address
options="--no-jail --key-file key --timeout 3000 --hang-timeout 20000 --min-speed 0" # the host may be slow: that is not the matter here

# Whether somebody listens on the port that pingpong and perftest share, 18515.
fabric_serves() { cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q ':4853 [0-9A-F:]* 0A '; }

# ---- pairs ----
# A guest runs until the script stops it, so that no condition has to come true before some time: what is waited for is
# the condition itself, for as long as a very busy host could need.
PATIENCE=60
only_primary= hook= scheme=rdma:
# start NAME [OPTION]: a pair in directory NAME that is protected
start() {
	name=$1
	port=$((port + 1))
	mkdir "$name" "$name/arbiter"
	twinstep arbiter init "file:$name/arbiter" >/dev/null
	env $hook twinstep primary --memory 4M --kernel /guest/guest.elf $options $only_primary --arbiter "file:$name/arbiter" --listen "$scheme$address:$port" \
		--console "$name/a.out" --control "$name/a" --events "$name/a.events" ${2:-} >"$name/a.log" 2>&1 &
	a=$!
	until_true $PATIENCE test -S "$name/a"
	protect ${2:-}
}
# A primary waits 2 s for a handshake, which is too little on a very busy host: a backup that was sent away comes again.
protect() {
	local try
	for try in 1 2 3 4 5; do
		start_backup ${1:-}
		until_true $PATIENCE protected_or_gone
		gone $b || break
	done
	protected
}
start_backup() {
	twinstep backup $options --arbiter "file:$name/arbiter" --connect "$scheme$address:$port" \
		--console "$name/b.out" --control "$name/b" --events "$name/b.events" ${1:-} >"$name/b.log" 2>&1 &
	b=$!
}
protected() { has a '"state": *"protected"'; }
unprotected() { ! protected; }
protected_or_gone() { gone $b || protected; }
has() { twinstep status --json "$name/$1" | grep -q "$2"; }
# path WAY: both go that way, in the end
path() { until_true $PATIENCE has a '"path": *"'"$1"'"' && until_true $PATIENCE has b '"path": *"'"$1"'"'; }
written() { cat "$name"/[ab].out 2>/dev/null | wc -l; }
lines() { [ "$(written)" -ge "$1" ]; }
# more N: the guest writes so many lines from now on
more() { until_true $PATIENCE lines $(($(written) + $1)); }
compared() { [ "$(twinstep status --json "$name/a" | sed -n 's/.*"digests_compared": *\([0-9]*\).*/\1/p')" -ge "$1" ]; }
say() { tail -n 5 "$name"/a.log "$name"/b.log | tr '\n' ' '; }
gone() { ! grep -q "^State:[^Z]*$" "/proc/$1/status" 2>/dev/null; }
