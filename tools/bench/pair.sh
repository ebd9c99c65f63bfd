#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A protected pair beside the same engine alone: redis requests a second, latency, log bandwidth, outage.
set -u
cd "$(dirname "$0")/../.."
export BUILD=${BUILD:-build}
tests/pair/pair.sh bench.py --rounds "${BENCH_RUNS:-5}" --requests "${BENCH_REQUESTS:-10000}" --outages "${BENCH_OUTAGES:-20}"
