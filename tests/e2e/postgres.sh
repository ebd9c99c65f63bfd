#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# PostgreSQL on ext4 in a protected pair: a failover, and the loss of both hosts. Each kind of fault, and more:
#   ROUNDS=200 tests/e2e/postgres.sh             ROUNDS=20 tests/e2e/postgres.sh --only join-disks,disk-full --seed 7
# time limit: 1800 s
# waits for the host: start end kill-* freeze-* cut-link disk-* join-* switch-* migrate-*
# beside others
set -u
cd "$(dirname "$0")/../.."
export BUILD=${BUILD:-build} TIMEOUT=${TIMEOUT:-1500}
if [ ! -f "$BUILD/guest-postgres/disk.img" ] || [ ! -f "$BUILD/tests/pair/diskdouble.so" ]; then
	echo "skip postgres: no disk with PostgreSQL; run make guest-postgres"
	exit 0
fi
if ! /usr/bin/python3 -c 'import psycopg2' 2>/dev/null; then
	echo "skip postgres: python3-psycopg2 is not installed"
	exit 0
fi
if ! unshare --net --mount true 2>/dev/null && ! unshare --user --map-root-user --net --mount true 2>/dev/null; then
	echo "skip postgres: this host lets nobody make network namespaces"
	exit 0
fi
case ${1:-} in postgres.*) set -- ;; esac # tried again: as the first time
if [ -n "${ROUNDS:-}" ]; then set -- --rounds "$ROUNDS" "$@"; else set -- --only kill-live,kill-both "$@"; fi
exec tests/pair/pair.sh postgres.py "$@"
