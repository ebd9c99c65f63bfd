#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Disks of a protected pair: a join's copy of a new image beside rsync's, pgbench beside the same engine alone.
set -u
cd "$(dirname "$0")/../.."
export BUILD=${BUILD:-build}
only=(--only copy)
[ ! -f "$BUILD/guest-postgres/disk.img" ] || ! /usr/bin/python3 -c 'import psycopg2' 2>/dev/null || only=()
command -v rsync >/dev/null || only=(--only pgbench)
tests/pair/pair.sh bench_disks.py --rounds "${BENCH_RUNS:-5}" --seconds "${BENCH_SECONDS:-10}" --mib "${BENCH_MIB:-512}" "${only[@]}"
