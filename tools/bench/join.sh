#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a client of the guest sees of a join, by the size of memory (BENCH_SIZES), and of a switch.
set -u
cd "$(dirname "$0")/../.."
export BUILD=${BUILD:-build}
export TIMEOUT=${TIMEOUT:-1500} # no failover, on a busy host either
tests/pair/pair.sh bench_join.py --rounds "${BENCH_RUNS:-5}" --sizes "${BENCH_SIZES:-256,1024,4096}"
