#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The arbiter in etcd, against three real members (Debian's etcd-server) on loopback: the interface's tests, members that
# die, freeze or are slow, no majority, answers lost after they took effect, a login, certificates,
# a pair.
# waits for the host: pair members-die frozen-member slow-links
# beside others
# mostly waits
. "$(dirname "$0")/lib.sh"
need_guest

if ! ETCD_BIN=$(tests/etcd/fetch.sh "$build" 2>"$work/why"); then
	skip all "no etcd here: $(cat "$work/why")"
	exit 0
fi
export ETCD_BIN
python3 tests/e2e/etcd.py "$work" || failed=1
exit $failed
