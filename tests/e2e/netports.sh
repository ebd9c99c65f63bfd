#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# `twinstep net create|delete`: taps as ports of a bridge and of a VLAN, made twice, moved, refused where they are somebody
# else's or in use, removed; and a guest that is reached over one.
# waits for the host: reached in-use
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
need_redis
in_namespace "$@"
ip link set lo up
cleanup() { [ -z "$machine" ] || kill "$machine" 2>/dev/null; }

"$twinstep" keygen "$work/key"
# conf NAME LINE...: its network is these lines.
conf() {
	local file=$work/$1.conf
	shift
	printf '%s\n' "kernel = $vmlinuz" "arbiter = file:$work/arbiter" "key-file = $work/key" "listen = 127.0.0.2:7777" \
		"connect = 127.0.0.3:7777" "$@" >"$file"
}
# net create|delete NAME...: what it says, in $said; its status.
net() {
	said=$("$twinstep" net "$1" "$work/$2.conf" "${@:3}" 2>&1)
}
picture() { ip -o link | sed 's/ qdisc [^ ]*//; s/ state [^ ]*//; s/<[^>]*>//'; }
# refused create|delete NAME "REASON": status 2, for that reason, and nothing changed.
refused() {
	local before
	before=$(picture)
	net "$1" "$2"
	[ $? -eq 2 ] && grep -qF -- "$3" <<<"$said" && [ "$before" = "$(picture)" ]
}
exists() { ip link show dev "$1" >/dev/null 2>&1; }
is_port() { ip link show dev "$1" | grep -q " master $2 " && ip link show dev "$1" | grep -q '[<,]UP[,>]'; }
vlans() { bridge vlan show dev "$1" | tail -n +2 | sed "s/^$1//" | xargs; }

conf web "net = tap:web0,bridge=br0" "net = tap:web1,bridge=br1,vlan=7" "net = none"
refused create web "there is no bridge br0"
check no-bridge "$said" [ $? -eq 0 ]
ip link add br0 type bridge && ip addr add 10.77.3.1/24 dev br0 && ip link set br0 up
ip link add br1 type bridge && ip link set br1 up
refused create web "ip link set br1 type bridge vlan_filtering 1"
check no-vlans "$said" [ $? -eq 0 ]
if ip link set br1 type bridge vlan_filtering 1 2>/dev/null; then
	net create web
	check vlan "$said: $(vlans web1)" [ "$(vlans web1)" = "7 PVID Egress Untagged" ]
	conf web "net = tap:web0,bridge=br0" "net = tap:web1,bridge=br1,vlan=8"
	net create web
	check vlan-moved "$said: $(vlans web1)" [ "$(vlans web1)" = "8 PVID Egress Untagged" ]
else
	skip vlan "bridges of this kernel know no VLANs"
fi
conf web "net = tap:web0,bridge=br0" "net = tap:web1,bridge=br1" "net = none"
net create web
check create "$said" [ $? -eq 0 ]
check ports "$(picture)" eval 'is_port web0 br0 && is_port web1 br1'
before=$(picture)
net create web
check again "$said" eval '[ $? -eq 0 ] && [ "$before" = "$(picture)" ]'
conf web "net = tap:web0,bridge=br0" "net = tap:web1,bridge=br0"
net create web
check moved "$(picture)" is_port web1 br0

conf mail "net = tap:mail0,bridge=br0" "net = tap:web1"
refused create mail "web1 belongs to guest web"
check of-another "$said" [ $? -eq 0 ]
ip tuntap add own0 mode tap
conf mail "net = tap:mail0,bridge=br0" "net = tap:own0,bridge=br0"
refused create mail "own0 was made by somebody else and is not in bridge br0"
check of-nobody "$said" [ $? -eq 0 ]
conf mail "net = tap:mail0,bridge=br0" "net = tap:br1"
refused create mail "br1 exists and is not a tap interface"
check no-tap "$said" [ $? -eq 0 ]
conf mail "net = tap:mail0,bridge=br0" "net = tap:mail1,bridge=own0"
refused create mail "own0 is not a bridge"
check not-a-bridge "$said" [ $? -eq 0 ]
conf mail "net = tap:mail0" "net = tap:own0"
net create mail --user nobody
check left-alone "$said" eval 'grep -q "own0: somebody else" <<<"$said" && ! ip link show dev own0 | grep -q alias'
check user "$(ip -d link show dev mail0)" eval 'ip -d link show dev mail0 | grep -q "user nobody"'
check only-own "$said" eval '! net delete mail && grep -q "own0 was not made by" <<<"$said" && exists own0'
check removed "$said" eval '! exists mail0'
check takes-back "$said" eval '! net create mail --user no-such-user && ! exists mail0'

# A tap that is to be in a bridge is not made in passing, outside of it.
"$twinstep" run --kernel "$vmlinuz" --net tap:new0,bridge=br0 --console none >"$work/out" 2>&1
status=$?
check not-in-passing "$(cat "$work/out")" eval '[ $status -eq 2 ] && grep -q "twinstep net create" "$work/out" && ! exists new0'
if serve tap:web0,bridge=br0 10.77.3.2; then
	ok reached
else
	not_ok reached "no answer: $(tail -n 3 "$work/err" "$work/console")"
fi
refused delete web "web0 is in use"
check in-use "$said" [ $? -eq 0 ]
stop
rm "$work/web.conf"
check delete-without-file "$said" eval 'said=$("$twinstep" net delete web 2>&1) && ! exists web0 && ! exists web1'
check bridges-stay "$(ip link)" eval 'exists br0 && exists br1'
check delete-again "$said" eval 'said=$("$twinstep" net delete web 2>&1) && [ -z "$said" ]'
exit $failed
