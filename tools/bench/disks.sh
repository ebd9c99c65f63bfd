#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Disks of a protected pair: a join's copy of a new image beside rsync's, fio and pgbench beside the same engine alone.
set -u
cd "$(dirname "$0")/../.."
export BUILD=${BUILD:-build}
only=copy,fio,pgbench
without() { # PART WHAT-IS-MISSING
	echo "disks: no $1: $2"
	only=$(printf %s "$only" | tr , '\n' | grep -vx "$1" | paste -sd ,)
}
command -v rsync >/dev/null || without copy "rsync is not installed"
[ -f "$BUILD/guest-fio/disk.img" ] || without fio "run make guest-fio"
[ -f "$BUILD/guest-postgres/disk.img" ] || without pgbench "run make guest-postgres"
/usr/bin/python3 -c 'import psycopg2' 2>/dev/null || without pgbench "python3-psycopg2 is not installed"
tests/pair/pair.sh bench_disks.py --rounds "${BENCH_RUNS:-5}" --seconds "${BENCH_SECONDS:-10}" --mib "${BENCH_MIB:-512}" --only "$only"
