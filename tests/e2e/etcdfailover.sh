#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Failovers that three real members of etcd decide, see tests/pair/etcd_failover.py. A hundred: ROUNDS=100 tests/e2e/etcdfailover.sh
# time limit: 600 s
# waits for the host: *
# beside others
. "$(dirname "$0")/lib.sh"
need_guest

if ! unshare --net --mount --uts true 2>/dev/null; then
	skip all "this host lets nobody make namespaces"
	exit 0
fi
if ! ETCD_BIN=$(tests/etcd/fetch.sh "$build" 2>"$work/why"); then
	skip all "no etcd here: $(cat "$work/why")"
	exit 0
fi
export ETCD_BIN BUILD=$build TIMEOUT=${TIMEOUT:-1500}
if [ -n "${ROUNDS:-}" ]; then
	set -- --count "$ROUNDS" "$@"
elif [ $# -eq 0 ]; then
	set -- --kinds lost-answer
fi
tests/pair/pair.sh etcd_failover.py "$@"
