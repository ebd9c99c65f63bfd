#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Guests with a configuration file: what check-config says, and two hosts that run `twinstep up` again after each crash.
# usage: tests/e2e/up.sh [conf|rounds]; a hundred crashes: tests/pair/pair.sh up.py --count 100
# time limit: 600 s
# waits for the host: rounds up*
. "$(dirname "$0")/lib.sh"
name=up

conf() {
	local good=$work/web.conf bad=$work/bad.conf
	"$twinstep" keygen "$work/key"
	cat >"$good" <<-EOF
		kernel = $vmlinuz
		initrd = $initramfs
		arbiter = file:$work/arbiter
		key-file = $work/key
		[host $(hostname)]
		listen = 127.0.0.2:7777
		[host elsewhere]
		listen = 127.0.0.3:7777
	EOF
	check conf-good "$("$twinstep" check-config "$good" 2>&1)" "$twinstep" check-config "$good"
	sed 's/kernel/kernl/; s|key-file = .*|key-file = /nowhere/key|; s/^listen = 127.0.0.2:7777/listen/' "$good" >"$bad"
	"$twinstep" check-config "$bad" 2>"$work/err"
	check conf-status "status $? for a bad file" [ $? -eq 2 ]
	check conf-unknown "$(cat "$work/err")" grep -q "bad.conf:1:1: unknown option 'kernl': is 'kernel' meant?" "$work/err"
	check conf-file "$(cat "$work/err")" grep -q "bad.conf:4:12: /nowhere/key: .*twinstep keygen" "$work/err"
	check conf-value "$(cat "$work/err")" grep -q "bad.conf:6:1: 'listen' needs a value: listen = ADDR" "$work/err"
	timeout 600 "$twinstep" up "$bad" 2>"$work/err"
	check conf-up "up took a bad file" [ $? -eq 2 ]
	check conf-absent "$("$twinstep" check-config no-such-guest 2>&1)" \
		grep -q 'cannot open configuration /etc/twinstep/no-such-guest.conf' <("$twinstep" check-config no-such-guest 2>&1)
}
rounds() {
	if ! unshare --net --mount --uts true 2>/dev/null && ! unshare --user --map-root-user --net --mount --uts true 2>/dev/null; then
		skip rounds "this host lets nobody make namespaces"
		return
	fi
	BUILD=$build TIMEOUT=${TIMEOUT:-1500} tests/pair/pair.sh up.py --kinds "live up,both" --witness --seen || failed=1
}
need_guest
if [ $# -eq 0 ]; then set -- conf rounds; fi
for part in "$@"; do
	case $part in
	conf) conf ;;
	*) rounds ;;
	esac
done
exit $failed
