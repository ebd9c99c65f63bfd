#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The OCF agent: what it says of itself, what ocf-tester finds, what it answers for a guest that comes and goes. On two nodes
# of a real Pacemaker: tests/pair/pair.sh pacemaker.py (minutes).
# waits for the host: *
# beside others
. "$(dirname "$0")/lib.sh"
need_guest

agent=$PWD/tools/ocf/twinstep
if [ ! -e /usr/lib/ocf/lib/heartbeat/ocf-shellfuncs ]; then
	skip all "resource-agents is not installed"
	exit 0
fi
if [ "${TWINSTEP_TEST_OWN:-}" != 1 ]; then
	if ! unshare --net --mount --uts true 2>/dev/null; then
		skip all "this host lets nobody make namespaces"
		exit 0
	fi
	rm -rf "$work"
	TWINSTEP_TEST_OWN=1 exec unshare --net --mount --uts "$0" "$@"
fi
cleanup() {
	for p in "$work"/run/twinstep/*/lock; do [ ! -e "$p" ] || kill -9 "$(cat "$p")" 2>/dev/null; done
	umount /run /var/lib/twinstep 2>/dev/null
}
hostname alpha
ip link set lo up
mkdir -p "$work/run/twinstep" "$work/run/resource-agents" "$work/lib" /var/lib/twinstep
chmod 700 "$work/run/twinstep"
mount --bind "$work/lib" /var/lib/twinstep
twinstep=$(realpath "$twinstep") vmlinuz=$(realpath "$vmlinuz") initramfs=$(realpath "$initramfs")
"$twinstep" keygen "$work/key"
"$twinstep" arbiter init "file:$work/arbiter"
cat >"$work/web.conf" <<-END
	kernel = $vmlinuz
	initrd = $initramfs
	append = $cmdline twinstep.run="while sleep 0.2; do echo on; done"
	memory = 128M
	arbiter = file:$work/arbiter
	key-file = $work/key
	[host alpha]
	listen = 127.0.0.2:7777
	[host beta]
	listen = 127.0.0.3:7777
END
mount --bind "$work/run" /run
export OCF_ROOT=/usr/lib/ocf OCF_RESKEY_config=$work/web.conf OCF_RESKEY_binary=$twinstep HA_RSCTMP=$work/run/resource-agents
# answers ACTION STATUS
answers() {
	timeout 100 "$agent" "$1" >"$work/out" 2>&1
	status=$?
	[ $status -eq "$2" ] || { echo "status $status" >>"$work/out" && false; }
}
says() {
	answers "${@:2}"
	local status=$?
	check "$1" "$(cat "$work/out")" [ $status -eq 0 ]
}

"$agent" meta-data >"$work/meta"
check meta-data "no XML" python3 -c 'import sys, xml.etree.ElementTree as e
have = {a.get("name") for a in e.parse(sys.argv[1]).iter("action")}
sys.exit(not have >= {"start", "stop", "monitor", "promote", "demote", "migrate_to", "migrate_from", "validate-all", "meta-data"})' "$work/meta"
says stopped monitor 7
says stop-stopped stop 0
says promote-stopped promote 1
says validate validate-all 0
OCF_RESKEY_config=$work/none.conf says validate-no-file validate-all 6
OCF_RESKEY_binary=/nowhere/twinstep says validate-no-program validate-all 5
OCF_RESKEY_config='' says validate-nothing validate-all 6
says start start 0
says start-again start 0
live() { "$twinstep" status web --json | grep -q '"live": *true'; }
wait_for 60 live
says started monitor 0
says promote promote 0
says promoted monitor 8
says demote demote 0
says demoted monitor 0
says no-target migrate_to 1
says stop stop 0
says stopped-again monitor 7
if command -v ocf-tester >/dev/null; then
	timeout 300 ocf-tester -n web -o "config=$work/web.conf" -o "binary=$twinstep" "$agent" >"$work/out" 2>&1
	status=$?
	check ocf-tester "$(grep '^\*' "$work/out")" [ $status -eq 0 ]
	says stop-tested stop 0
else
	skip ocf-tester "cluster-glue is not installed"
fi
exit $failed
